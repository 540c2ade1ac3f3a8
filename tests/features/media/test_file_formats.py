"""Formats by content: an unreadable format is named; a readable file is accepted under any name."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.media.decode import load_audio, load_image
from features.media.file_formats import PICTURE_FORMATS, file_format, text_or_empty, unreadable_format
from features.media.video import load_frames
from recsys.errors import MediumError
from scripts.bad_media import MP4_HEAD, heic, noise, write_video


def saved(format: str) -> bytes:
    out = io.BytesIO()
    noise().save(out, format)
    return out.getvalue()


@pytest.mark.parametrize("format", [name for name in PICTURE_FORMATS if name != "PPM"])
def test_every_readable_picture_format_is_known_by_its_content(format: str) -> None:
    found = file_format(saved(format))
    assert found is not None
    assert found.decoder == format
    assert unreadable_format(found, "picture") is None
    assert load_image(saved(format)).size == (64, 64)


@pytest.mark.parametrize(
    ("brands", "label"),
    [
        (b"heic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"mif1\0\0\0\0mif1heic", "a HEIC picture"),
        (b"mif1\0\0\0\0mif1miaf", "a HEIF picture"),
        (b"mif1\0\0\0\0mif1avif", "an AVIF picture"),
        (b"avif\0\0\0\0mif1miaf", "an AVIF picture"),
        (b"crx \0\0\0\1crx isom", "a camera's raw picture"),
        (b"isom\0\0\2\0isomheic", "an MP4 video"),
    ],
)
def test_a_file_of_boxes_is_told_by_its_brands(brands: bytes, label: str) -> None:
    found = file_format(heic(brands))
    assert found is not None
    assert found.label == label


def test_an_avif_is_unreadable_where_pillow_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)
    monkeypatch.setattr("PIL.features.check", lambda feature: False)
    reason = "an AVIF picture, which cannot be read here; convert it to JPEG or PNG"
    with pytest.raises(MediumError, match=f"not a readable picture: {reason}"):
        load_image(saved("AVIF"))


@pytest.mark.parametrize("head", [b"BMW, the blue one, is fine", b"IDs3 are below", b"WAVE, WAVE WAVE WAVE"])
def test_a_text_is_a_text(head: bytes) -> None:
    assert text_or_empty(head) == f"a text, it begins with {head.decode()!r}"
    with pytest.raises(MediumError, match="not a readable picture: a text, it begins with"):
        load_image(head)


def test_sound_may_be_in_a_video_file() -> None:
    video = file_format(MP4_HEAD)
    assert video is not None
    assert unreadable_format(video, "sound") is None
    assert unreadable_format(video, "picture") == "an MP4 video, where a picture is expected"


def test_sound_of_an_unknown_codec_is_not_called_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "sound.mkv", [(0, 0, 0)], sound=np.full(16_000, 0.5))
    path.write_bytes(path.read_bytes().replace(b"A_PCM", b"A_XYZ"))
    reason = "coded in a way that cannot be read here; convert it to FLAC, Opus or WAV"
    with pytest.raises(MediumError, match=f"not readable sound: a Matroska or WebM video, {reason}"):
        load_audio(path)


def test_a_still_picture_is_no_video(tmp_path: Path) -> None:
    """FFmpeg would give one tile of a HEIC picture as a video."""
    path = tmp_path / "still.mp4"
    path.write_bytes(heic())
    with pytest.raises(MediumError, match="a HEIC picture, where a video is expected"):
        list(load_frames(path, 2))
    Image.new("RGB", (8, 8)).save(tmp_path / "moving.gif")
    assert len(list(load_frames(tmp_path / "moving.gif", 1))) == 1
