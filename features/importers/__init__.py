"""Importers of public data sets. Each reads a downloaded folder and writes a dataset folder."""

from features.importers.amazon import import_amazon
from features.importers.layouts import import_layout

__all__ = [
    "import_amazon",
    "import_layout",
]
