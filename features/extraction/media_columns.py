"""The columns of media: their table, the loader of their files, and their modality."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from PIL import Image

from features.media import VERSION, load_audio, load_frames, load_image, load_video_sound
from recsys.arrays import Floats
from recsys.columns import Columns
from recsys.config import EncoderConfig
from recsys.modalities import Modality

T = TypeVar("T", covariant=True)

# A JPEG is decoded at no less than this multiple of the encoder's side. At 2 the cosine to the vector of a
# full decoding is above 0.999, at 1 it is not (benchmarks/extraction.py).
_DRAFT = 2


@dataclass(frozen=True, kw_only=True)
class MediaColumn(Generic[T]):
    """A column of media files with the function that loads one file."""

    modality: str
    table: str
    column: str
    load: Callable[[str], T]
    num_frames: int = 1  # pictures that `load` returns for one file
    # How a file is sampled; a suffix of the encoder's fingerprint in the cache.
    sampling: str = ""


# A picture is loaded as a video of one frame. The sound is None for a video without sound, which is no error.
Pictures = MediaColumn[Iterable[Image.Image]]
Sound = MediaColumn[Floats | None]


def item_pictures(modality: str, column: str, side: int) -> Pictures:
    """Pictures in a column of the items, for an encoder that resizes them to `side` pixels."""
    return MediaColumn(
        modality=modality,
        table="items",
        column=column,
        load=lambda path: [load_image(path, min_side=_DRAFT * side)],
        sampling=f"-draft{_DRAFT}",
    )


def spoken_reviews() -> Sound:
    return MediaColumn(
        modality=Modality.REVIEW_AUDIO,
        table="reviews",
        column=Columns.AUDIO,
        load=lambda path: load_audio(path),
    )


def video_frames(config: EncoderConfig) -> Pictures:
    num_frames = config.video_frames
    return MediaColumn(
        modality=Modality.VIDEO,
        table="items",
        column=Columns.VIDEO,
        load=lambda path: load_frames(path, num_frames),
        num_frames=num_frames,
        sampling=f"-video{VERSION}-{num_frames}-frames",
    )


def video_sound(config: EncoderConfig) -> Sound:
    seconds = config.video_sound_seconds
    return MediaColumn(
        modality=Modality.VIDEO_AUDIO,
        table="items",
        column=Columns.VIDEO,
        load=lambda path: load_video_sound(path, seconds),
        sampling=f"-video{VERSION}-{seconds}-seconds",
    )
