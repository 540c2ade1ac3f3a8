"""Items that come, change and go while the server runs: encoded, stored, and part of the next answer."""

from serving.items.content import Content
from serving.items.encoder import ItemEncoder
from serving.items.fields import ItemFields, ItemSchema
from serving.items.following import ItemFollower
from serving.items.live import LiveItems, View
from serving.items.media import MEDIA
from serving.items.reading import ItemEntry, Stored

__all__ = [
    "MEDIA",
    "Content",
    "ItemEncoder",
    "ItemEntry",
    "ItemFields",
    "ItemFollower",
    "ItemSchema",
    "LiveItems",
    "Stored",
    "View",
]
