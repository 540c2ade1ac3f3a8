"""Samples of videos: evenly spaced frames and stretches of sound, found by seeking.

An hour of video costs as much as a few minutes. One frame is in memory at a time.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from features.media.decode import (
    MAX_PIXELS,
    SAMPLE_RATE,
    SILENCE,
    WINDOW_SECONDS,
    Medium,
    as_rgb,
    explained,
    name_of,
    open_container,
    read_sound,
    refuse_huge,
)
from features.media.file_formats import CONVERT_TO
from recsys.arrays import Floats
from recsys.errors import MediumError

if TYPE_CHECKING:  # loaded where a file is opened
    import av.container
    from av.video.frame import VideoFrame

VERSION = 1  # raised when the same video may give other frames or sound
# Key frames are a few seconds apart. A nearer time is reached by decoding on, a later one by seeking.
_SEEK_SECONDS = 5.0
# Frames decoded at most to reach one time; with rarer key frames an earlier frame is taken.
_MAX_DECODED = 600


def load_frames(source: Medium, num_frames: int) -> Iterator[Image.Image]:
    """The middle frame of each of `num_frames` equal stretches, as upright 8-bit RGB pictures.

    There are fewer frames if the video ends before its stated end. In formats with coarse seeking
    (MPEG-TS) a frame may be the next key frame. Raises `MediumError` if the video has no pictures, cannot
    be read, or fewer than half of the frames can be decoded.
    """
    start, seconds = _span(source)
    times = start + (np.arange(num_frames) + 0.5) * (seconds / num_frames)
    num_found = 0
    with explained(source, "video"), open_container(source) as container:
        stream = _picture_stream(container, source)
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # a later frame may be larger
        for frame in _frames_at(container, stream, times):
            num_found += 1
            yield _picture(frame)
    if 2 * num_found < num_frames:
        reason = f"cut off: only {num_found} of {num_frames} frames can be read; fetch or save it again"
        raise MediumError(name_of(source), reason)


def load_video_sound(source: Medium, max_seconds: int, rate: int = SAMPLE_RATE) -> Floats | None:
    """The sound of a video, mono at `rate` Hz, shape [samples]; None if it has none or only silence.

    Of sound longer than `max_seconds`: evenly spaced stretches of 30 seconds, joined, `max_seconds` in all.
    Raises `MediumError` if the sound exists and cannot be read.
    """
    with explained(source, "video sound"), open_container(source) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        start, seconds = _stated_span(container, stream)
        if seconds is None or seconds <= max_seconds:
            pieces = [read_sound(container, rate, max_seconds * rate)[: max_seconds * rate]]
        else:
            num_pieces = max(max_seconds // WINDOW_SECONDS, 1)
            length = max_seconds / num_pieces
            begin = start + (np.arange(num_pieces) + 0.5) * (seconds / num_pieces) - length / 2
            pieces = []
            for time in begin:
                _seek(container, stream, time)
                pieces.append(read_sound(container, rate, int(length * rate))[: int(length * rate)])
        samples = np.concatenate(pieces)
        if not np.isfinite(samples).all():
            raise MediumError(name_of(source), "its sound holds samples that are not numbers")
    return samples if len(samples) and np.abs(samples).max() >= SILENCE else None


def _frames_at(
    container: "av.container.InputContainer", stream: "av.VideoStream", times: np.ndarray
) -> Iterator["VideoFrame"]:
    """The frame shown at each of the ascending `times`, as long as the stream has one."""
    frames = container.decode(stream)
    shown: VideoFrame | None = None
    coming = next(frames, None)
    for time in times:
        reached = coming or shown
        if reached is None or time - _time(reached) > _SEEK_SECONDS:
            _seek(container, stream, time)
            frames, shown = container.decode(stream), None
            coming = next(frames, None)
        for _ in range(_MAX_DECODED):
            if coming is None or (shown is not None and _time(coming) > time):
                break
            shown, coming = coming, next(frames, None)
        if shown is not None:
            yield shown


def _span(source: Medium) -> tuple[float, float]:
    """Start and length of the pictures in seconds, found by reading all packets if the file states none."""
    with explained(source, "video"), open_container(source) as container:
        stream = _picture_stream(container, source)
        start, seconds = _stated_span(container, stream)
        if seconds is not None:
            return start, seconds
        stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        if not stamps or stream.time_base is None:
            raise MediumError(name_of(source), "a video without times; put it into an MP4 or WebM file")
        return min(stamps) * float(stream.time_base), (max(stamps) - min(stamps)) * float(stream.time_base)


def _stated_span(
    container: "av.container.InputContainer", stream: "av.VideoStream | av.AudioStream"
) -> tuple[float, float | None]:
    import av

    base = float(stream.time_base or 0)
    start = (stream.start_time or 0) * base
    if stream.duration:
        return start, stream.duration * base
    return start, container.duration / av.time_base if container.duration else None


def _picture_stream(container: "av.container.InputContainer", source: Medium) -> "av.VideoStream":
    """The first video stream that is not album art. Raises `MediumError` if its frames are too large."""
    from av.stream import Disposition

    moving = (one for one in container.streams.video if not one.disposition & Disposition.attached_pic)
    stream = next(moving, None)
    if stream is None:
        raise MediumError(name_of(source), "no pictures in it, only sound")
    if stream.codec_context is None or not stream.width * stream.height:  # FFmpeg leaves both open
        reason = "cut off, or its frames are coded in a way that cannot be read here"
        raise MediumError(name_of(source), f"{reason}; fetch it again or convert it to {CONVERT_TO['video']}")
    refuse_huge(source, stream.width, stream.height)
    return stream


def _seek(
    container: "av.container.InputContainer", stream: "av.VideoStream | av.AudioStream", time: float
) -> None:
    """Go to the last key frame of `stream` at or before `time` seconds."""
    assert stream.time_base is not None
    container.seek(int(time / stream.time_base), stream=stream)


def _time(frame: "VideoFrame") -> float:
    if frame.time is None:
        raise ValueError("a frame without a time; put the video into an MP4 or WebM file")
    return frame.time


def _picture(frame: "VideoFrame") -> Image.Image:
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(format="rgba" if has_alpha else "rgb24")
    image = as_rgb(Image.fromarray(pixels))
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
