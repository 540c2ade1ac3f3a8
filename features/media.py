"""Decoding of pictures and sound: a file or its bytes in, pixels or samples out, or a `DataError`."""

import io
import os
import struct
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from recsys.batches import Floats
from recsys.errors import DataError

Medium = Path | str | bytes

SAMPLE_RATE = 16_000  # Hz, of every waveform inside
MAX_PIXELS = 80_000_000  # below Pillow's own limit, so that this message comes first
MAX_AUDIO_SECONDS = 3600.0


def load_image(source: Medium, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture as 8-bit RGB: upright by its EXIF tag, transparency laid on white, first frame.

    Raises `DataError` with the reason where it cannot be read or has more than `max_pixels`.
    """
    name = _name(source)
    try:
        with Image.open(_open(source)) as image:
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"{name}: {image.width} x {image.height} pixels are more than {max_pixels}; shrink it"
                )
            return _rgb(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        TypeError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(f"{name}: not a readable picture: {_reason(error)}") from error


def load_audio(source: Medium, rate: int = SAMPLE_RATE, max_seconds: float = MAX_AUDIO_SECONDS) -> Floats:
    """Samples of the first audio stream, mono, nominally in [-1, 1], at `rate` Hz. Shape [samples].

    Raises `DataError` with the reason where there is no sound in it, it breaks off with an error, or
    it is longer than `max_seconds`.
    """
    name = _name(source)
    try:
        pieces = _decode_audio(_open(source), name, rate, max_seconds)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: not readable sound: {_reason(error)}") from error
    samples = np.concatenate(pieces) if pieces else np.empty(0, np.float32)
    if not len(samples):
        raise DataError(f"{name}: the audio stream is empty")
    if not np.isfinite(samples).all():
        raise DataError(f"{name}: the audio stream holds samples that are not numbers")
    return samples


def _decode_audio(source: str | io.BytesIO, name: str, rate: int, max_seconds: float) -> list[Floats]:
    with av.open(source, "r") as container:
        if not container.streams.audio:
            raise DataError(f"{name}: no audio stream in it")
        # One output frame a half minute: handing over each 20 ms packet costs more than resampling it.
        # Channels are kept and averaged here: the library's own mixing makes two equal ones louder.
        resampler = av.AudioResampler(format="fltp", rate=rate, frame_size=30 * rate)
        pieces: list[Floats] = []
        limit = int(max_seconds * rate)
        num_samples = 0
        for frame in container.decode(audio=0):
            frame.pts = None  # gaps and jumps of the clock are no concern of ours
            num_samples += frame.samples * rate // frame.sample_rate
            if num_samples > limit:
                raise DataError(f"{name}: longer than {max_seconds:g} seconds; cut it")
            pieces += [piece.to_ndarray().mean(axis=0) for piece in resampler.resample(frame)]
        pieces += (
            [piece.to_ndarray().mean(axis=0) for piece in resampler.resample(None)] if num_samples else []
        )
        return pieces


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(white, with_alpha)
    # convert() of an RGB image is a copy, so the result never depends on the file being open.
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or floats to 8; `convert` would clip at 255 instead of scaling."""
    grey: npt.NDArray[np.float64] = np.asarray(image).astype(np.float64)
    if not np.isfinite(grey).all():
        raise ValueError("pixels that are not numbers")
    white = (1.0 if grey.max() <= 1.0 else 255.0) if image.mode == "F" else 65535.0
    return Image.fromarray(np.clip(np.rint(grey * (255.0 / white)), 0, 255).astype(np.uint8))


def _open(source: Medium) -> str | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)


def _name(source: Medium) -> str:
    return f"{len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)


def _reason(error: BaseException) -> str:
    """The error in one line; Pillow repeats the address of a buffer in it, which helps nobody."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(" <_io.BytesIO")[0]
