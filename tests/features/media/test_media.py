"""Decoding of pictures and sound, and the reasons of files that cannot be read."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from features.media import decode as media
from features.media.decode import MAX_PIXELS, load_audio, load_audio_start, load_image
from recsys.errors import MediumError
from scripts.bad_media import write_huge_png, write_ten_hours, write_video, write_wav


def png(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


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


@pytest.mark.parametrize(
    ("min_side", "size"), [(None, (640, 480)), (481, (640, 480)), (240, (320, 240)), (60, (80, 60))]
)
def test_a_large_jpeg_is_decoded_reduced(min_side: int | None, size: tuple[int, int]) -> None:
    """Its pixels are means of pixels of the full picture."""
    rows, columns = np.mgrid[:480, :640]
    pixels = np.stack([rows / 480, columns / 640, (rows + columns) / 1120], axis=-1) * 255
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG", quality=95)
    image = load_image(out.getvalue(), min_side=min_side)
    assert image.size == size
    whole = load_image(out.getvalue()).resize(size, Image.Resampling.BOX)
    np.testing.assert_allclose(np.asarray(image, float), np.asarray(whole, float), atol=6)


def test_other_formats_are_decoded_whole() -> None:
    assert load_image(png(Image.new("RGB", (64, 48))), min_side=6).size == (64, 48)


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
    with pytest.raises(MediumError, match="30 x 10 pixels are more than 299"):
        load_image(png(Image.new("RGB", (30, 10))), max_pixels=299)


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((50, 50), 90).convert("RGB").save(out, "JPEG", **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"no picture at all", "a text, it begins with 'no picture at all'"),
        (
            b" <html><body>Not found</body>",
            "a web page, perhaps an error message of the server; download the file again",
        ),
        (b"<svg/>", "an SVG, which is a drawing and no bitmap; convert it to PNG or JPEG"),
        (b"\xef\xbb\xbf<?xml?>\n<!-- x --><svg/>", "an SVG, which is a drawing and no bitmap; convert it"),
        (png(Image.effect_noise((50, 50), 9))[:400], "cut off"),
        (png(Image.effect_noise((50, 50), 9))[:12], "a PNG picture, cut off or of a variant that cannot be"),
        (jpeg()[:-50], "cut off; fetch or save it again"),
        (bytes(range(256)), "cut off or of an unknown format; known: JPEG, PNG, "),
    ],
)
def test_an_unreadable_picture(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(MediumError) as caught:
        load_image(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert caught.value.reason.startswith(f"not a readable picture: {reason}")
    assert str(path) not in caught.value.reason, "equal reasons can be counted"


def test_whatever_a_decoder_raises_is_the_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise RuntimeError("decoding of colour planes failed")

    monkeypatch.setattr("features.media.decode.as_rgb", stumble)
    with pytest.raises(MediumError, match="not a readable picture: decoding of colour planes failed"):
        load_image(png(Image.new("RGB", (2, 2))))


@pytest.mark.parametrize(
    ("side", "size"),
    [
        (9_000, "9000 x 9000"),
        (30_000, "900000000"),  # beyond the limit of Pillow, which does not tell the sides
    ],
)
def test_a_huge_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    write_huge_png(tmp_path / "huge.png", side)
    with pytest.raises(MediumError, match=rf"{size} pixels are more than {MAX_PIXELS}; shrink it"):
        load_image(tmp_path / "huge.png")


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    assert load_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


def test_no_such_picture(tmp_path: Path) -> None:
    with pytest.raises(MediumError, match=r"none.png: not a readable picture: no such file"):
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


def test_stereo_at_96_khz(tmp_path: Path) -> None:
    left, right = np.full(96_000, 0.5), np.full(96_000, 0.25)
    samples = load_audio(write_wav(tmp_path / "fine.wav", np.stack([left, right], axis=1), 96_000))
    assert abs(len(samples) - 16_000) <= 16
    np.testing.assert_allclose(samples[1000:-1000], 0.375, atol=1e-3)


def test_sound_longer_than_the_limit(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", np.full((16_000, 1), 0.1), 8_000)
    assert len(load_audio(path, max_seconds=2.1)) == 32_000
    with pytest.raises(MediumError, match=r"long\.wav: longer than 0\.9 seconds"):
        load_audio(path, max_seconds=0.9)


def test_a_length_in_the_header_is_enough_to_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_sound(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(media, "read_sound", read_sound)
    write_ten_hours(tmp_path / "hours.wav")
    with pytest.raises(MediumError, match=r"hours\.wav: longer than 3600 seconds; cut it"):
        load_audio(tmp_path / "hours.wav")


def test_sound_whose_header_does_not_tell_is_decoded_up_to_the_limit(tmp_path: Path) -> None:
    sound = np.full(5 * 16_000, 0.1)
    path = write_video(tmp_path / "live.mkv", [(0, 0, 0)], sound=sound, options={"live": "1"})
    assert len(load_audio(path)) == len(sound)
    with pytest.raises(MediumError, match="longer than 2 seconds"):
        load_audio(path, max_seconds=2)


@pytest.mark.parametrize(("seconds", "goes_on"), [(0.5, True), (1.0, False), (9.0, False)])
def test_the_start_of_a_sound_is_the_start_of_its_samples(
    tmp_path: Path, seconds: float, goes_on: bool
) -> None:
    tone = np.random.default_rng(0).uniform(-1, 1, (16_000, 1))
    path = write_wav(tmp_path / "one second.wav", tone, 16_000)
    samples, was_cut = load_audio_start(path, seconds)
    np.testing.assert_array_equal(samples, load_audio(path)[: int(seconds * 16_000)])
    assert was_cut is goes_on


def test_of_ten_hours_only_the_start_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hours.wav"
    write_ten_hours(path)
    with pytest.raises(MediumError, match="silence from beginning to end"):
        load_audio_start(path, 1.0)


def test_silence_is_no_sound(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "silence.wav", np.zeros((1000, 1)), 16_000)
    with pytest.raises(MediumError, match=r"silence\.wav: silence from beginning to end"):
        load_audio(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable sound: the file is empty (0 bytes)"),
        (b"no sound at all" * 50, "not readable sound: a text, it begins with 'no sound at all"),
        (bytes(range(256)), "not readable sound: cut off, damaged or of an unknown format ("),
        (png(Image.new("RGB", (9, 9))), "not readable sound: a PNG picture, where sound is expected"),
        (b"OggS" + bytes(99), "not readable sound: an Ogg file, cut off or damaged ("),
    ],
)
def test_unreadable_sound(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.opus"
    path.write_bytes(content)
    with pytest.raises(MediumError) as caught:
        load_audio(path)
    assert caught.value.reason.startswith(reason)


def test_a_file_that_names_others_is_not_followed(tmp_path: Path) -> None:
    """A playlist with a byte that is no text: FFmpeg would read the sound file that it names."""
    write_wav(tmp_path / "secret.wav", np.full((1000, 1), 0.5), 16_000)
    path = tmp_path / "list.opus"
    path.write_bytes(b"ffconcat version 1.0\nfile secret.wav\n#\x01\n")
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 1000
    with pytest.raises(MediumError, match="of an unknown format"):
        load_audio(path)


def test_sound_without_samples(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "empty.wav", np.zeros((0, 1)), 16_000)
    with pytest.raises(MediumError, match=r"empty\.wav: the audio stream is empty"):
        load_audio(path)


def test_no_such_sound(tmp_path: Path) -> None:
    with pytest.raises(MediumError, match="not readable sound: no such file"):
        load_audio(tmp_path / "none.opus")
