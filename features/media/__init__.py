"""Files of pictures, sound and video to arrays. The home of `av` and `pillow_heif`."""

from features.media.decode import (
    MAX_PIXELS,
    SAMPLE_RATE,
    WINDOW_SECONDS,
    Medium,
    load_audio,
    load_audio_start,
    load_image,
)
from features.media.file_formats import file_format
from features.media.metadata import MediumMetadata, picture_metadata, position, video_metadata
from features.media.prefetch import Decoded, prefetch
from features.media.video import VERSION, load_frames, load_video_sound
from features.media.xmp import iso_time, read_xmp

__all__ = [
    "MAX_PIXELS",
    "SAMPLE_RATE",
    "VERSION",
    "WINDOW_SECONDS",
    "Decoded",
    "Medium",
    "MediumMetadata",
    "file_format",
    "iso_time",
    "load_audio",
    "load_audio_start",
    "load_frames",
    "load_image",
    "load_video_sound",
    "picture_metadata",
    "position",
    "prefetch",
    "read_xmp",
    "video_metadata",
]
