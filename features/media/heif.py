"""HEIC and HEIF, the pictures of most phones, by pillow-heif where it is installed."""

from functools import cache
from importlib.util import find_spec

FORMAT = "HEIF"  # Pillow's name of the format, once it is registered


@cache
def has_heif() -> bool:
    return find_spec("pillow_heif") is not None


@cache
def register_heif() -> None:
    """Let Pillow open HEIF. The library applies the orientation of a picture itself."""
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # pictures are decoded in several threads already
    pillow_heif.register_heif_opener()
