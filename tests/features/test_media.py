"""Pictures and sound decoded; what cannot be read says why."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.media import load_audio, load_image
from recsys.errors import DataError


def png(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """`samples` [n, channels] in [-1, 1] as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_a_plain_picture_is_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = load_image(png(Image.fromarray(pixels)))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_transparency_lies_on_white() -> None:
    image = load_image(png(Image.new("RGBA", (2, 2), (255, 0, 0, 0))))
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putdata([0, 1])
    loaded = load_image(png(image, transparency=0))
    assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 20, 30)]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16))
    np.testing.assert_array_equal(np.asarray(load_image(png(grey)))[0, :, 0], [0, 100, 255])


def test_cmyk() -> None:
    out = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(out, "JPEG", quality=95)
    red, green, blue = load_image(out.getvalue()).getpixel((8, 8))
    assert red > 240
    assert max(green, blue) < 20


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    loaded = load_image(tmp_path / "turned.png")
    assert loaded.size == (2, 4)
    assert loaded.getpixel((1, 0)) == (255, 255, 255)


def test_too_many_pixels() -> None:
    with pytest.raises(DataError, match="30 x 10 pixels are more than 299"):
        load_image(png(Image.new("RGB", (30, 10))), max_pixels=299)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot identify image file"),
        (b"no picture at all", "cannot identify image file"),
        (png(Image.effect_noise((50, 50), 9))[:400], "truncated|Truncated|broken"),
    ],
)
def test_an_unreadable_picture(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.png: not a readable picture: .*({reason})"):
        load_image(path)


def test_no_such_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.png: not a readable picture: no such file"):
        load_image(tmp_path / "none.png")


def test_sound_is_resampled_and_mixed_down(tmp_path: Path) -> None:
    seconds = np.arange(44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    path = write_wav(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), 44_100)
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16_000) <= 16
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(spectrum.argmax() * 16_000 / len(samples) - 440) < 2
    assert 0.45 < np.abs(samples).max() < 0.55
    np.testing.assert_array_equal(load_audio(path.read_bytes()), samples)


def test_sound_longer_than_the_limit(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", np.zeros((16_000, 1)), 8_000)
    assert len(load_audio(path, max_seconds=2.1)) == 32_000
    with pytest.raises(DataError, match=r"long\.wav: longer than 1\.9 seconds"):
        load_audio(path, max_seconds=1.9)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable sound"),
        (b"no sound at all" * 50, "not readable sound"),
        (png(Image.new("RGB", (9, 9))), "no audio stream"),
    ],
)
def test_unreadable_sound(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.opus"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.opus: .*{reason}"):
        load_audio(path)


def test_sound_without_samples(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "empty.wav", np.zeros((0, 1)), 16_000)
    with pytest.raises(DataError, match=r"empty\.wav: "):
        load_audio(path)


def test_no_such_sound(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not readable sound: no such file"):
        load_audio(tmp_path / "none.opus")
