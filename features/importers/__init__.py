"""Public data sets to dataset folders. Each importer reads a folder and writes another."""

from features.importers.amazon import import_amazon
from features.importers.layouts import import_layout

__all__ = [
    "import_amazon",
    "import_layout",
]
