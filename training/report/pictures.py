"""Thumbnails as data URIs, so that the page needs no image file."""

import base64
import io
from pathlib import Path

from features.media import load_image
from recsys.errors import DataError

SIDE = (
    128  # pixels of the longer side; the page shows 64, so that the image is sharp at 2 pixels per CSS pixel
)
MAX_BYTES = 12_000
QUALITIES = (74, 55, 35)  # of JPEG; the first that keeps within MAX_BYTES is used, else the last


def thumbnail(path: Path) -> str | None:
    """The image as a data URI with JPEG data; None where the file cannot be read."""
    try:
        image = load_image(path)
    except DataError:
        return None
    image.thumbnail((SIDE, SIDE))  # never enlarges
    data = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
