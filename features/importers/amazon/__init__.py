"""The importer of Amazon Reviews 2023."""

from features.importers.amazon.importer import REPEATED_REVIEW, import_amazon

__all__ = [
    "REPEATED_REVIEW",
    "import_amazon",
]
