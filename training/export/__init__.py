"""A fitted system to ONNX graphs and a bundle, held against torch."""

from training.export.bundle import NUM_CHECKED_USERS, Provenance, export_bundle

__all__ = [
    "NUM_CHECKED_USERS",
    "Provenance",
    "export_bundle",
]
