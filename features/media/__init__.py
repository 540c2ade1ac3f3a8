"""Files of pictures, sound and video to arrays. The home of `av`."""

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
from features.media.prefetch import Decoded, prefetch
from features.media.video import VERSION, load_frames, load_video_sound

__all__ = [
    "MAX_PIXELS",
    "SAMPLE_RATE",
    "VERSION",
    "WINDOW_SECONDS",
    "Decoded",
    "Medium",
    "file_format",
    "load_audio",
    "load_audio_start",
    "load_frames",
    "load_image",
    "load_video_sound",
    "prefetch",
]
