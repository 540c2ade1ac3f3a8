"""Converters of models of transformers and torchvision."""
