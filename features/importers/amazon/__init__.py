"""Amazon Reviews 2023 to a dataset folder."""

from features.importers.amazon.importer import AGAIN, import_amazon

__all__ = [
    "AGAIN",
    "import_amazon",
]
