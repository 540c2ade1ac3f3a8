"""Decodes pictures and sound: from a file or its bytes to pixels or samples, or a `MediumError`."""

import errno
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from features.media.file_formats import (
    CONVERT_TO,
    DEMUXERS,
    HEAD_BYTES,
    PICTURE_FORMATS,
    file_format,
    text_or_empty,
    unreadable_format,
)
from features.media.heif import FORMAT as HEIF
from features.media.heif import register_heif
from recsys.arrays import Floats
from recsys.errors import MediumError, RecsysError

if TYPE_CHECKING:  # loaded where a file is opened: its libraries take memory that other processes do not need
    import av.container

Medium = Path | str | bytes

SAMPLE_RATE = 16_000  # Hz, of all decoded sound
WINDOW_SECONDS = 30  # the longest stretch of sound that is encoded at once
MAX_PIXELS = 80_000_000  # below Pillow's own limit, so that this message comes first
MAX_AUDIO_SECONDS = 3600.0
SILENCE = 1e-4  # a lower peak (-80 dB) counts as no sound

_AV_OPTIONS = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
_TIFF_SUBFILE_TYPE = 254  # its lowest bit: a reduced copy of another picture in the file
_TURNS = {  # EXIF's orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXPECTATIONS = {
    "picture": "a readable picture",
    "sound": "readable sound",
    "video": "a readable video",
    "video sound": "a video with readable sound",
}


def load_image(source: Medium, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Image.Image:
    """The picture as 8-bit RGB: its first frame, rotated by its EXIF tag, on white where it is transparent.

    With `min_side` a large JPEG is decoded at a half, quarter or eighth of its size, as long as its short
    side keeps `min_side` pixels; a photograph of 12 megapixels then takes a quarter of the time.
    Raises `MediumError` with the reason if the picture cannot be read, or has more than `max_pixels`,
    which is checked before it is decoded.
    """
    with (
        explained(source, "picture"),
        open_picture(source) as image,
    ):
        refuse_huge(source, image.width, image.height, max_pixels)
        _refuse_preview(source, image)
        if min_side is not None:
            image.draft(None, (min_side, min_side))  # does nothing in other formats
        return as_rgb(_upright(image))


def open_picture(source: Medium) -> ImageFile.ImageFile:
    """The picture file, opened and not decoded; only safe formats are tried."""
    found = file_format(_head(source))
    if found is not None and found.decoder == HEIF and found.is_readable:
        register_heif()
        return Image.open(_open(source), formats=(HEIF,))
    return Image.open(_open(source), formats=PICTURE_FORMATS)


def load_audio(source: Medium, rate: int = SAMPLE_RATE, max_seconds: float = MAX_AUDIO_SECONDS) -> Floats:
    """Samples of the first audio stream, mono, nominally in [-1, 1], at `rate` Hz. Shape [samples].

    Raises `MediumError` with the reason if there is no sound or only silence, if decoding fails, or if the
    sound is longer than `max_seconds`. A length in the header is checked before the sound is decoded.
    """
    import av

    limit = int(max_seconds * rate)
    with explained(source, "sound"), open_container(source) as container:
        is_long = (container.duration or 0) > (max_seconds + 1) * av.time_base
        samples = _first_sound(container, source, rate, 0 if is_long else limit)
    if is_long or len(samples) > limit:
        raise MediumError(name_of(source), f"longer than {max_seconds:g} seconds; cut it")
    return _checked_sound(source, samples)


def load_audio_start(source: Medium, max_seconds: float, rate: int = SAMPLE_RATE) -> tuple[Floats, bool]:
    """The first `max_seconds` of `load_audio`'s samples, and whether the sound goes on after them.

    The time depends on `max_seconds`, not on the length of the sound. Errors as `load_audio`.
    """
    limit = int(max_seconds * rate)
    with explained(source, "sound"), open_container(source) as container:
        samples = _first_sound(container, source, rate, limit)
    return _checked_sound(source, samples[:limit]), len(samples) > limit


def _first_sound(container: "av.container.InputContainer", source: Medium, rate: int, limit: int) -> Floats:
    """`read_sound` of a file with an audio stream; nothing is decoded for a limit of 0."""
    if not container.streams.audio:
        raise MediumError(name_of(source), "no audio stream in it")
    return read_sound(container, rate, limit) if limit else np.empty(0, np.float32)


def _checked_sound(source: Medium, samples: Floats) -> Floats:
    """The samples, or a `MediumError` where they are no sound."""
    name = name_of(source)
    if not len(samples):
        raise MediumError(name, "the audio stream is empty")
    if not np.isfinite(samples).all():
        raise MediumError(name, "the audio stream holds samples that are not numbers")
    if np.abs(samples).max() < SILENCE:
        raise MediumError(name, "silence from beginning to end")
    return samples


def read_sound(container: "av.container.InputContainer", rate: int, limit: int) -> Floats:
    """Samples of the first audio stream from the current position of `container`, mono at `rate` Hz.

    Reading stops at most 30 seconds of sound after `limit` samples.
    """
    import av

    # Frames of 30 seconds, since a call for every packet of 20 ms costs more than the resampling. Channels
    # are averaged here, since the mixing of the library makes two equal channels louder.
    resampler = av.AudioResampler(format="fltp", rate=rate, frame_size=30 * rate)
    pieces: list[Floats] = []
    num_samples = 0
    for frame in container.decode(audio=0):
        frame.pts = None  # gaps and jumps of the time stamps are ignored
        num_samples += frame.samples * rate // frame.sample_rate
        pieces += [piece.to_ndarray().mean(axis=0) for piece in resampler.resample(frame)]
        if num_samples > limit:
            break
    if num_samples:
        pieces += [piece.to_ndarray().mean(axis=0) for piece in resampler.resample(None)]
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)


def open_container(source: Medium) -> "av.container.InputContainer":
    """The sound or video file, opened. Only `DEMUXERS` are tried, and no file that it names is opened.

    Raises ValueError for a still picture, of which FFmpeg would give one tile as a video.
    """
    import av

    found = file_format(_head(source))
    if found is not None and found.medium == "picture" and (found.decoder == HEIF or not found.is_readable):
        raise ValueError(found.label)
    return av.open(_open(source), "r", options=_AV_OPTIONS, metadata_errors="replace")


@contextmanager
def explained(source: Medium, expected: str) -> Iterator[None]:
    """Turns every error of a decoder into a `MediumError` that says why `source` cannot be read.

    `expected` is a key of `_EXPECTATIONS`. Decoders raise errors of any class for broken files, so every
    exception counts as an error of the file.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        reason = _reason(error, source, expected.split()[0])
        raise MediumError(name_of(source), f"not {_EXPECTATIONS[expected]}: {reason}") from error


def refuse_huge(source: Medium, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises `MediumError` if a picture or frame of this size has more than `max_pixels`."""
    if width * height > max_pixels:
        reason = f"{width} x {height} pixels are more than {max_pixels}; shrink it"
        raise MediumError(name_of(source), reason)


def as_rgb(image: Image.Image) -> Image.Image:
    """A copy of any picture in 8-bit RGB, transparent parts white."""
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(white, with_alpha)
    # convert() of an RGB image is a copy, so the result never depends on the file being open.
    return image.convert("RGB")


def name_of(source: Medium) -> str:
    return f"{len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned by its EXIF tag; damaged EXIF counts as none.

    `ImageOps.exif_transpose` raises for it, since it writes the EXIF of the turned picture anew.
    """
    image.load()  # turns a TIFF, and takes the tag away
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))  # type: ignore[arg-type]
    except Exception:
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or floats scaled to 8 bits, where `convert` would clip at 255."""
    grey: npt.NDArray[np.float64] = np.asarray(image).astype(np.float64)
    if not np.isfinite(grey).all():
        raise ValueError("pixels that are not numbers")
    white = (1.0 if grey.max() <= 1.0 else 255.0) if image.mode == "F" else 65535.0
    return Image.fromarray(np.clip(np.rint(grey * (255.0 / white)), 0, 255).astype(np.uint8))


def _open(source: Medium) -> str | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)


def _refuse_preview(source: Medium, image: Image.Image) -> None:
    """Raises `MediumError` for a TIFF whose first picture is a thumbnail of another one in the file."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_TIFF_SUBFILE_TYPE, 0) & 1:
        reason = "a TIFF or raw picture that begins with a thumbnail, which cannot be read here"
        raise MediumError(name_of(source), f"{reason}; convert it to {CONVERT_TO['picture']}")


def _reason(error: Exception, source: Medium, expected: str) -> str:
    """The error in one line, without the name or the address that Pillow and FFmpeg repeat in it."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError) or (isinstance(error, OSError) and error.errno == errno.EACCES):
        return error.strerror or str(error)
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        num_pixels = re.findall(r"\d+", str(error))[0]  # Pillow's own limit comes before the size is known
        return f"{num_pixels} pixels are more than {MAX_PIXELS}; shrink it"
    return _reason_by_content(_head(source), expected) or _reason_by_error(error, source, expected)


def _reason_by_content(head: bytes, expected: str) -> str | None:
    """The reason where the first bytes already give it, as they do for a text or an unreadable format."""
    found = file_format(head)
    if found is None or found.medium not in ("drawing", "document"):  # some drawings are texts, too
        reason = text_or_empty(head)
        if reason is not None:
            return reason
    return unreadable_format(found, expected) if found else None


def _reason_by_error(error: Exception, source: Medium, expected: str) -> str:
    import av.error

    found = file_format(_head(source))
    label = f"{found.label}, " if found else ""
    if isinstance(error, av.error.DecoderNotFoundError):
        return f"{label}coded in a way that cannot be read here; convert it to {CONVERT_TO[expected]}"
    if isinstance(error, av.error.FFmpegError):
        unknown = "cut off or damaged" if found else "cut off, damaged or of an unknown format"
        return f"{label}{unknown} ({error.strerror})"
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    words = " ".join(words.split())
    if "truncated" in words.lower():
        return "cut off; fetch or save it again"
    if isinstance(error, UnidentifiedImageError) and not found:
        return f"cut off or of an unknown format; known: {', '.join(PICTURE_FORMATS)}"
    if isinstance(error, OSError) and error.errno is None and found:
        detail = "" if isinstance(error, UnidentifiedImageError) else f" ({words})"
        return (
            f"{label}cut off or of a variant that cannot be read here{detail}; "
            f"fetch it again or convert it to {CONVERT_TO['picture']}"
        )
    return words


def _head(source: Medium) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD_BYTES]
    with Path(source).open("rb") as file:
        return file.read(HEAD_BYTES)
