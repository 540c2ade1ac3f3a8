"""A fitted system to ONNX graphs and a bundle, held against torch."""
