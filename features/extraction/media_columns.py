"""Columns of media: where they stand, how their files are read, and which modality comes of them."""

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

# JPEGs are decoded at no less than so many times the side that the encoder takes: beside a whole decoding
# the vectors' cosine is above .999 then, and no longer at once the side (benchmarks/extraction.py).
_DRAFT = 2


@dataclass(frozen=True, kw_only=True)
class MediaColumn(Generic[T]):
    modality: str
    table: str
    column: str
    load: Callable[[str], T]
    num_frames: int = 1  # pictures that `load` gives of one file
    # How much of a file is read: joins the encoder's fingerprint in the cache.
    sampling: str = ""


# A picture counts as a video of one frame, and None as a medium without sound, which is no mistake.
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
