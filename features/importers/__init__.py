"""Importers of public data sets and of photo libraries. Each reads a folder and writes a dataset folder."""

from features.importers.amazon import import_amazon
from features.importers.layouts import import_layout
from features.importers.photos import import_photos

__all__ = [
    "import_amazon",
    "import_layout",
    "import_photos",
]
