"""Encoder directories: raw media to vectors through ONNX Runtime."""
