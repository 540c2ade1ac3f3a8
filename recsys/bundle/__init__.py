"""The bundle: one directory with everything that serving needs. A damaged or altered bundle is refused."""

from recsys.bundle.compose import Device, Graphs, compose, compose_bundle, item_arrays
from recsys.bundle.load import Bundle
from recsys.bundle.manifest import MANIFEST
from recsys.bundle.store import (
    BUNDLE,
    REPAIR,
    Move,
    Pointer,
    Pruned,
    Store,
    Version,
    bundle_directory,
    is_store,
    now,
    state_directory,
)
from recsys.bundle.write import write_bundle

__all__ = [
    "BUNDLE",
    "MANIFEST",
    "REPAIR",
    "Bundle",
    "Device",
    "Graphs",
    "Move",
    "Pointer",
    "Pruned",
    "Store",
    "Version",
    "bundle_directory",
    "compose",
    "compose_bundle",
    "is_store",
    "item_arrays",
    "now",
    "state_directory",
    "write_bundle",
]
