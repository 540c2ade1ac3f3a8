"""The encoders and the transcriber of queries, each loaded at its first use and kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Generic, Literal, TypeVar

import numpy as np
from PIL import Image

from features.encoders import Encoder
from features.extraction import load_transcriber
from recsys.arrays import Floats, unit
from recsys.errors import EncoderError, MissingExtraError, RequestError
from recsys.modalities import EncoderKind

Device = Literal["cpu", "cuda"]
NO_TRANSCRIBER = "none"
MAX_KEPT_WORDS = 10_000  # vectors of single words
T = TypeVar("T")


class QueryModels:
    """One medium to one unit vector, or a sound to words. Safe to use from many threads.

    Every method has the name of the clause as its last argument, for errors about the clause.
    """

    def __init__(
        self, directories: Mapping[EncoderKind, Path], transcriber: str | Path | None, device: Device
    ) -> None:
        self._encoders: dict[EncoderKind, _Once[Encoder]] = {
            kind: _Once(partial(Encoder.load, path, device, 1)) for kind, path in directories.items()
        }
        name = NO_TRANSCRIBER if transcriber is None else str(transcriber)
        self.transcribes = name != NO_TRANSCRIBER
        self._transcriber = _Once(lambda: load_transcriber(name, device=device, num_threads=1))
        self._word_vectors: dict[str, Floats] = {}
        self._transcribing = Lock()  # its model is loaded by its first call

    @property
    def kinds(self) -> tuple[EncoderKind, ...]:
        return tuple(self._encoders)

    def encoder(self, kind: EncoderKind) -> Encoder:
        """The encoder of this kind, loaded by the first call."""
        return self._encoders[kind]()

    @property
    def side(self) -> int:
        """The side to which the encoder of pictures resizes them, in pixels."""
        return self._encoders["image"]().spec.side

    def text_vector(self, text: str, name: str) -> Floats:
        """The unit vector of a text. Shape [D]."""
        encoder = self._encoders["text"]()
        with _about(name):
            return _direction(encoder.encode_texts([text]), name)

    def word_vectors(self, words: Sequence[str], name: str) -> dict[str, Floats]:
        """The unit vector [D] of each word alone; those of frequent words are kept."""
        kept = self._word_vectors
        found = {word: kept[word] for word in words if word in kept}
        new = [word for word in words if word not in found]
        if new:
            encoder = self._encoders["text"]()
            with _about(name):
                made = dict(zip(new, unit(encoder.encode_texts(new)), strict=True))
            if len(kept) + len(made) > MAX_KEPT_WORDS:  # other threads may be reading the former one
                kept = self._word_vectors = {}
            kept |= made
            found |= made
        return found

    def whole_words(self, words: Sequence[str]) -> frozenset[str]:
        """The words that are one token of the encoder of texts."""
        return self._encoders["text"]().whole_words(words)

    def image_vector(self, images: Sequence[Image.Image], name: str) -> Floats:
        """The unit vector of the mean of the pictures' vectors. Shape [D]."""
        encoder = self._encoders["image"]()
        with _about(name):
            return _direction(encoder.encode_images(images), name)

    def audio_vector(self, samples: Floats, name: str) -> Floats:
        """The unit acoustic vector of a sound at 16 kHz. Shape [D]."""
        encoder = self._encoders["audio"]()
        with _about(name):
            return _direction(encoder.encode_audio([samples]), name)

    def transcript(self, samples: Floats, name: str) -> str:
        """The words of a sound at 16 kHz, an empty text without speech."""
        transcriber = self._transcriber()
        try:
            with self._transcribing:
                return transcriber.transcribe([samples])[0]
        except MissingExtraError as error:
            raise RequestError(name, f"speech cannot be transcribed here: {error}") from error


class _Once(Generic[T]):
    """The result of `make`, made by the first call and kept; other calls wait for it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()
        self._made: T | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Turns an encoder's refusal of this medium into an error about the clause `name`."""
    try:
        yield
    except EncoderError as error:
        raise RequestError(name, f"cannot be encoded: {error}; give something else") from error


def _direction(vectors: Floats, name: str) -> Floats:
    """The mean of the vectors [n, D] at unit length. Shape [D]."""
    mean: Floats = vectors.mean(axis=0)
    if not np.linalg.norm(mean):
        raise RequestError(name, "its vector has length 0, so that nothing is similar to it; give another")
    return unit(mean)
