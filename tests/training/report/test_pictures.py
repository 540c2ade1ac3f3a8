"""Thumbnails: small, JPEG, None where there is no readable picture."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from training.report.pictures import MAX_BYTES, SIDE, thumbnail


def decoded(uri: str | None) -> tuple[Image.Image, int]:
    assert uri is not None
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    raw = base64.b64decode(data)
    return Image.open(io.BytesIO(raw)), len(raw)


def test_noise_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    image, size = decoded(thumbnail(tmp_path / "a.png"))
    assert image.size == (SIDE, round(SIDE * 600 / 900))
    assert size <= MAX_BYTES


def test_a_small_picture_is_not_enlarged(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 10), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert decoded(thumbnail(tmp_path / "a.png"))[0].size == (20, 10)


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("words")
    assert thumbnail(tmp_path / "a.png") is None
    assert thumbnail(tmp_path / "missing.png") is None
