"""What runs on a GPU, piece by piece, on a machine that has PyTorch and little else (docs/gpu.md)."""
