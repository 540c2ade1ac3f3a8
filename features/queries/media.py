"""Pictures, sounds and videos of clauses, decoded within the limits of a query."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from features.media import (
    Medium,
    file_format,
    load_audio_start,
    load_frames,
    load_image,
    load_video_sound,
)
from features.queries.clauses import AudioClause, ImageClause, QueryLimits, VideoClause
from recsys.arrays import Floats
from recsys.errors import MediumError, RequestError

_KIND_OF = {"picture": "image", "sound": "audio", "video": "video"}  # medium of a format -> kind of a clause
_LOUDEST = 8.0  # a peak beyond it is no recording but a file in another unit, whose power would overflow


def read_picture(clause: ImageClause, limits: QueryLimits, side: int) -> Image.Image:
    """The picture in RGB, decoded no larger than an encoder that resizes it to `side` needs."""
    with _about(clause.name, clause.medium, "image"):
        return load_image(clause.medium, max_pixels=limits.max_pixels, min_side=side)


def read_sound(clause: AudioClause, limits: QueryLimits) -> tuple[Floats, bool]:
    """The beginning of the sound at 16 kHz, and whether it goes on after the limit."""
    with _about(clause.name, clause.medium, "audio"):
        samples, was_cut = load_audio_start(clause.medium, limits.max_audio_seconds)
    return _quiet_enough(samples), was_cut


def read_frames(clause: VideoClause, limits: QueryLimits) -> list[Image.Image]:
    """Evenly spaced frames of the video."""
    with _about(clause.name, clause.medium, "video"):
        return list(load_frames(clause.medium, limits.video_frames))


def read_video_sound(clause: VideoClause, limits: QueryLimits) -> Floats | None:
    """The sound of the video at 16 kHz, of a longer one evenly spaced stretches; None if it is silent."""
    with _about(clause.name, clause.medium, "video"):
        samples = load_video_sound(clause.medium, limits.max_audio_seconds)
    return None if samples is None else _quiet_enough(samples)


def _quiet_enough(samples: Floats) -> Floats:
    peak = float(np.abs(samples).max())
    return samples if peak <= _LOUDEST else (samples / peak).astype(np.float32)


@contextmanager
def _about(name: str, medium: Medium, kind: str) -> Iterator[None]:
    """Turns a `MediumError` into a `RequestError` that names the clause and the remedy."""
    try:
        yield
    except MediumError as error:
        found = file_format(_head(medium))
        is_kind = found is not None and found.is_readable and _KIND_OF.get(found.medium, kind)
        if is_kind and is_kind != kind:
            raise RequestError(name, f"{error.reason}; send it as {is_kind}") from error
        remedy = "" if ";" in error.reason else "; give another file"
        raise RequestError(name, f"{error.reason}{remedy}") from error


def _head(medium: Medium) -> bytes:
    if isinstance(medium, bytes):
        return medium[:1024]
    try:
        with Path(medium).open("rb") as file:
            return file.read(1024)
    except OSError:
        return b""
