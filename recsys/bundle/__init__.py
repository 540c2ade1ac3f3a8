"""The bundle: one directory with everything that serving needs. A damaged or altered bundle is refused."""

from recsys.bundle.compose import Device, Graphs, compose, compose_bundle
from recsys.bundle.load import Bundle
from recsys.bundle.manifest import MANIFEST
from recsys.bundle.write import write_bundle

__all__ = [
    "MANIFEST",
    "Bundle",
    "Device",
    "Graphs",
    "compose",
    "compose_bundle",
    "write_bundle",
]
