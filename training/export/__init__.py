"""Export of a fitted system as ONNX graphs and a bundle, verified against torch."""

from training.export.bundle import NUM_CHECKED_USERS, Provenance, export_bundle

__all__ = [
    "NUM_CHECKED_USERS",
    "Provenance",
    "export_bundle",
]
