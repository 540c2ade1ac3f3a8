"""A folder tree of pictures and videos to a dataset of items alone, and its updates."""

from features.importers.photos.photo_library import import_photos

__all__ = ["import_photos"]
