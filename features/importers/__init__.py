"""Public data sets to dataset folders: each importer reads one folder and writes another."""

from features.importers.amazon import import_amazon
from features.importers.layouts import import_layout

__all__ = [
    "import_amazon",
    "import_layout",
]
