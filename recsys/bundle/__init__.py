"""The bundle: what serving needs, in one directory that is whole and unaltered or refused."""

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
