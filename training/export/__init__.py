"""Export of a fitted system as ONNX graphs and a bundle, verified against torch."""

from training.export.bundle import NUM_CHECKED_USERS, Provenance, export_bundle
from training.export.items_alone import index_items
from training.export.once import export_key, export_once
from training.export.search_part import Searchable

__all__ = [
    "NUM_CHECKED_USERS",
    "Provenance",
    "Searchable",
    "export_bundle",
    "export_key",
    "export_once",
    "index_items",
]
