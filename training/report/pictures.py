"""Pictures small enough to stand in the page itself."""

import base64
import io
from pathlib import Path

from features.media import load_image
from recsys.errors import DataError

SIDE = 128  # pixels of the longer side; shown at half of it, so that it is crisp on dense screens
MAX_BYTES = 12_000
QUALITIES = (74, 55, 35)


def thumbnail(path: Path) -> str | None:
    """The picture as a data URI, None where it cannot be read."""
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
