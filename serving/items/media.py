"""`MediaEncoder`: the files of an item to vectors, decoded and encoded as extraction does."""

from collections.abc import Mapping
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Final

import numpy as np

from features.extraction import as_stored
from features.queries import (
    ImageClause,
    QueryLimits,
    QueryModels,
    VideoClause,
    has_words,
    read_frames,
    read_picture,
    read_video_sound,
)
from recsys.arrays import Floats
from recsys.modalities import EncoderKind, Modality
from serving.items.content import Content

IMAGE: Final = "image"
VIDEO: Final = "video"
MEDIA: Final = (IMAGE, VIDEO)  # the files that an item can have, one each
_DRAFT: Final = 2  # as extraction decodes pictures
_SOUND_SECONDS: Final = 120  # of a video, where the configuration does not say


class MediaEncoder:
    """Files to vectors by the encoders `models`; safe to use from many threads."""

    def __init__(self, models: QueryModels, limits: QueryLimits, sound_seconds: int | None = None) -> None:
        self._models = models
        self._limits = replace(limits, max_audio_seconds=sound_seconds or _SOUND_SECONDS)
        self._decoding = BoundedSemaphore(limits.max_media_at_once)

    def content(self, files: Mapping[str, bytes], place: str = "") -> Content:
        """The vectors of the files by name, of those that the bundle has an encoder for.

        `place` goes before the name of a file in errors. Raises `RequestError` for one that cannot be read.
        """
        found = Content()
        if IMAGE in files and IMAGE in self._models.kinds:
            found = found.joined(self._picture(files[IMAGE], f"{place}{IMAGE}"))
        if VIDEO in files:
            found = found.joined(self._video(files[VIDEO], f"{place}{VIDEO}"))
        return found

    def _picture(self, file: bytes, name: str) -> Content:
        with self._decoding:
            clause = ImageClause(name=name, medium=file)
            image = read_picture(clause, self._limits, _DRAFT * self._models.side)
            vector = as_stored(self._models.encoder("image").encode_images([image]))[0]
        return self._made(Modality.IMAGE, "image", vector)

    def _video(self, file: bytes, name: str) -> Content:
        clause, found = VideoClause(name=name, medium=file), Content()
        with self._decoding:
            if "image" in self._models.kinds:
                frames = read_frames(clause, self._limits)
                vectors = self._models.encoder("image").encode_images(frames)
                found = found.joined(
                    self._made(Modality.VIDEO, "image", as_stored(vectors.mean(axis=0, keepdims=True))[0])
                )
            hears = "audio" in self._models.kinds or self._models.transcribes
            samples = read_video_sound(clause, self._limits) if hears else None
        return found if samples is None else found.joined(self._sound(samples, name))

    def _sound(self, samples: Floats, name: str) -> Content:
        found = Content()
        if "audio" in self._models.kinds:
            vector = as_stored(self._models.encoder("audio").encode_audio([samples]))[0]
            found = found.joined(self._made(Modality.VIDEO_AUDIO, "audio", vector))
        if self._models.transcribes:
            words = self._models.transcript(samples, name)
            if has_words(words):
                found = found.joined(Content(transcript=words))
                if "text" in self._models.kinds:
                    vector = as_stored(self._models.encoder("text").encode_texts([words]))[0]
                    found = found.joined(self._made(Modality.VIDEO_SPEECH, "text", vector))
        return found

    def _made(self, modality: str, kind: EncoderKind, vector: Floats) -> Content:
        fingerprint = self._models.encoder(kind).fingerprint
        return Content(vectors={modality: np.asarray(vector)}, encoders={modality: fingerprint})
