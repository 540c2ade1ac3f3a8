"""Files of pictures, sound and video to arrays. The home of `av`."""

from features.media.decode import SAMPLE_RATE, WINDOW_SECONDS, load_audio, load_image
from features.media.prefetch import Decoded, prefetch
from features.media.video import VERSION, load_frames, load_video_sound

__all__ = [
    "SAMPLE_RATE",
    "VERSION",
    "WINDOW_SECONDS",
    "Decoded",
    "load_audio",
    "load_frames",
    "load_image",
    "load_video_sound",
    "prefetch",
]
