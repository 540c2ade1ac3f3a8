"""All vectors of a dataset: each distinct medium decoded and encoded once, then found by its content."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import numpy as np
import polars as pl

from features.cache import VectorCache, as_stored, file_key, text_key
from features.conversion import ensure_encoder
from features.encoders import Encoder, EncoderSpec, Kind
from features.image import Pixels
from features.media import SAMPLE_RATE, load_audio, load_image
from features.prefetch import Decoded, prefetch
from features.tables import Dataset, MediaVectors, MediumVectors, SetAside
from features.transcribe import NullTranscriber, Transcriber, load_transcriber
from recsys.batches import Floats
from recsys.columns import Columns, Modality
from recsys.config import EncoderConfig
from recsys.errors import EncoderError

# Vectors that may be lost when the process is killed between two parts of the cache.
_PART_SIZE = 1024
# Speech that is decoded before it is sorted by length: 20 minutes, 77 MB.
_SPEECH_AT_ONCE = 1200 * SAMPLE_RATE
_MEDIA_AHEAD = 64

T = TypeVar("T")
# Where media stand: (row of the owning table, path).
Places = Sequence[tuple[int, str]]


class Progress(Protocol):
    """Told after each batch; `total` counts what has to be encoded, not what the cache already has."""

    def __call__(self, step: str, done: int, total: int) -> None: ...


def extract(
    dataset: Dataset,
    config: EncoderConfig,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> MediaVectors:
    """Vectors of every title, text, picture and review of `dataset`, from the cache where it has them.

    A text longer than the encoder's limit is encoded by its beginning. A medium that cannot be read is
    set aside with its reason, and its item or review lives on without it. Blank texts and clips in
    which nobody speaks have no vector. Interrupted, it keeps what is encoded and goes on from there.
    Encoders are converted at first use (see `ensure_encoder`); `num_threads` defaults to the cores.
    """
    extraction = _Extraction(dataset, config, VectorCache(cache_dir), progress, num_threads)
    items, reviews = dataset.items, dataset.reviews
    item_vectors = {
        Modality.TITLE: extraction.texts(Modality.TITLE, _texts(items, Columns.TITLE)),
        Modality.TEXT: extraction.texts(Modality.TEXT, _texts(items, Columns.TEXT)),
        Modality.IMAGE: extraction.images(_pictures(items)),
    }
    acoustic, transcripts = extraction.speech(list(_texts(reviews, Columns.AUDIO).items()))
    review_vectors = {
        Modality.REVIEW_TEXT: extraction.texts(Modality.REVIEW_TEXT, _texts(reviews, Columns.TEXT)),
        Modality.REVIEW_SPEECH: extraction.texts(Modality.REVIEW_SPEECH, transcripts),
        Modality.REVIEW_AUDIO: acoustic,
    }
    return MediaVectors(
        items={name: vectors for name, vectors in item_vectors.items() if vectors is not None},
        reviews={name: vectors for name, vectors in review_vectors.items() if vectors is not None},
        transcripts=transcripts,
        set_aside=tuple(extraction.set_aside),
        encoded=dict(extraction.encoded),
        cached=dict(extraction.cached),
    )


class _Extraction:
    """One pass over a dataset's media; encoders are loaded when the first medium needs them."""

    def __init__(
        self,
        dataset: Dataset,
        config: EncoderConfig,
        cache: VectorCache,
        progress: Progress | None,
        num_threads: int | None,
    ) -> None:
        self.root = dataset.root
        self.config = config
        self.cache = cache
        self.progress = progress or (lambda step, done, total: None)
        self.num_threads = num_threads or os.cpu_count() or 1
        self.set_aside: list[SetAside] = []
        self.encoded: Counter[str] = Counter()
        self.cached: Counter[str] = Counter()
        self._specs: dict[Kind, EncoderSpec] = {}
        self._encoders: dict[Kind, Encoder] = {}

    def texts(self, step: str, text_of_row: Mapping[int, str]) -> MediumVectors | None:
        """Vectors of the texts by their rows, None where there are none."""
        if not text_of_row:
            return None
        spec = self._spec("text")
        text_of = {text_key(text): text for text in text_of_row.values()}
        found = self.cache.get(spec.fingerprint, text_of)
        missing = sorted(text_of.keys() - found.keys(), key=lambda key: (len(text_of[key]), key))
        self._count(step, len(text_of), len(missing))
        with _Writer(self.cache, spec.fingerprint, found) as writer:
            for batch in _chunks(missing, self.config.batch_size):
                vectors = self._encoder("text").encode_texts([text_of[key] for key in batch])
                writer.add(batch, vectors)
                self.progress(step, writer.num_added, len(missing))
        return _gather([(row, text_key(text)) for row, text in text_of_row.items()], found)

    def images(self, places: Places) -> MediumVectors | None:
        """Vectors of the pictures by their rows, None where there are none."""
        if not places:
            return None
        step, spec = Modality.IMAGE, self._spec("image")
        key_of = self._hash(places, "items", Columns.IMAGE)
        path_of = {key: path for path, key in key_of.items()}
        found = self.cache.get(spec.fingerprint, path_of)
        missing = [key for key in path_of if key not in found]
        self._count(step, len(path_of), len(missing))
        encoder = self._encoder("image") if missing else None

        def prepare(key: str) -> Pixels:
            assert encoder is not None
            return encoder.prepare_image(load_image(path_of[key]))

        pictures = prefetch(missing, prepare, num_threads=self.num_threads, ahead=_MEDIA_AHEAD)
        reasons: dict[str, str] = {}
        with _Writer(self.cache, spec.fingerprint, found) as writer:
            for batch in _chunks(pictures, self.config.batch_size):
                reasons |= {picture.source: picture.reason for picture in batch if picture.reason}
                read = [(picture.source, picture.result) for picture in batch if picture.result is not None]
                if read and encoder:
                    vectors = encoder.encode_pixels([pixels for _, pixels in read])
                    writer.add([key for key, _ in read], vectors)
                self.progress(step, writer.num_added + len(reasons), len(missing))
        self.encoded[step] -= len(reasons)
        self._set_aside(places, key_of, reasons, "items", Columns.IMAGE)
        return _gather([(row, key_of[path]) for row, path in places if path in key_of], found)

    def speech(self, places: Places) -> tuple[MediumVectors | None, dict[int, str]]:
        """Acoustic vectors by their rows, None where there are none, and what is said, by row."""
        if not places:
            return None, {}
        spec, hears = self._spec("audio"), not isinstance(self._transcriber, NullTranscriber)
        key_of = self._hash(places, "reviews", Columns.AUDIO)
        path_of = {key: path for path, key in key_of.items()}
        found = self.cache.get(spec.fingerprint, path_of)
        said = self.cache.get_texts(self._transcriber.fingerprint, path_of)
        missing = [key for key in path_of if key not in found or (hears and key not in said)]
        self._count(Modality.REVIEW_AUDIO, len(path_of), len(missing))
        clips = prefetch(
            missing,
            lambda key: load_audio(path_of[key]),
            num_threads=self.num_threads,
            ahead=_MEDIA_AHEAD,
        )
        reasons: dict[str, str] = {}
        done = 0
        for batch in _stretches(clips):
            reasons |= {clip.source: clip.reason for clip in batch if clip.reason}
            waveforms = {clip.source: clip.result for clip in batch if clip.result is not None}
            self._encode_speech({key: wave for key, wave in waveforms.items() if key not in found}, found)
            if hears:
                self._transcribe({key: wave for key, wave in waveforms.items() if key not in said}, said)
            done += len(batch)
            self.progress(Modality.REVIEW_AUDIO, done, len(missing))
        self.encoded[Modality.REVIEW_AUDIO] -= len(reasons)
        self._set_aside(places, key_of, reasons, "reviews", Columns.AUDIO)
        key_of_row = [(row, key_of[path]) for row, path in places if path in key_of]
        transcripts = {row: said[key] for row, key in key_of_row if said.get(key)}
        return _gather(key_of_row, found), transcripts

    def _encode_speech(self, waveforms: Mapping[str, Floats], found: dict[str, Floats]) -> None:
        if waveforms:
            with _Writer(self.cache, self._spec("audio").fingerprint, found) as writer:
                vectors = self._encoder("audio").encode_audio(list(waveforms.values()))
                writer.add(list(waveforms), vectors)

    def _transcribe(self, waveforms: Mapping[str, Floats], said: dict[str, str]) -> None:
        if waveforms:
            texts = self._transcriber.transcribe(list(waveforms.values()))
            heard = dict(zip(waveforms, texts, strict=True))
            self.cache.put_texts(self._transcriber.fingerprint, heard)
            said |= heard

    def _hash(self, places: Places, table: str, column: str) -> dict[str, str]:
        """sha256 by path; a file that is not there is set aside."""
        paths = dict.fromkeys(path for _, path in places)
        hashed = list(prefetch(paths, file_key, num_threads=self.num_threads, ahead=_MEDIA_AHEAD))
        key_of = {file.source: file.result for file in hashed if file.result is not None}
        reasons = {file.source: file.reason for file in hashed if file.reason}
        self._set_aside(places, {path: path for path in paths}, reasons, table, column)
        return key_of

    def _set_aside(
        self, places: Places, key_of: Mapping[str, str], reasons: Mapping[str, str], table: str, column: str
    ) -> None:
        """Note every place whose medium has a reason not to be read."""
        for row, path in places:
            if reason := reasons.get(key_of.get(path, "")):
                shown = os.path.relpath(path, self.root)
                self.set_aside.append(
                    SetAside(table=table, path=shown, row=row, column=column, value=path, reason=reason)
                )

    def _count(self, step: str, num_media: int, num_missing: int) -> None:
        self.encoded[step] += num_missing
        self.cached[step] += num_media - num_missing

    def _spec(self, kind: Kind) -> EncoderSpec:
        if kind not in self._specs:
            names: Mapping[Kind, str] = {
                "text": self.config.text,
                "image": self.config.image,
                "audio": self.config.audio,
            }
            spec = EncoderSpec.read(ensure_encoder(names[kind]))
            if spec.kind != kind:
                raise EncoderError(f"encoders.{kind} = {names[kind]!r}: that is an encoder of {spec.kind}")
            self._specs[kind] = spec
        return self._specs[kind]

    def _encoder(self, kind: Kind) -> Encoder:
        if kind not in self._encoders:
            self._encoders[kind] = Encoder.open(
                self._spec(kind), device=self.config.device, num_threads=self.num_threads
            )
        return self._encoders[kind]

    @cached_property
    def _transcriber(self) -> Transcriber:
        return load_transcriber(
            self.config.transcriber,
            device=self.config.device,
            batch_size=self.config.batch_size,
            num_threads=self.num_threads,
        )


class _Writer:
    """Collects vectors into parts of the cache; what was added is written even when interrupted."""

    def __init__(self, cache: VectorCache, fingerprint: str, found: dict[str, Floats]) -> None:
        self.num_added = 0
        self._cache = cache
        self._fingerprint = fingerprint
        self._found = found
        self._waiting: dict[str, Floats] = {}

    def add(self, keys: Sequence[str], vectors: Floats) -> None:
        added = dict(zip(keys, as_stored(vectors), strict=True))
        self._found |= added
        self._waiting |= added
        self.num_added += len(added)
        if len(self._waiting) >= _PART_SIZE:
            self._flush()

    def _flush(self) -> None:
        self._cache.put(self._fingerprint, self._waiting)
        self._waiting = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()


def _gather(key_of_row: Iterable[tuple[int, str]], found: Mapping[str, Floats]) -> MediumVectors | None:
    """Vectors in the order of their rows; rows without one are left out."""
    present = [(row, found[key]) for row, key in key_of_row if key in found]
    if not present:
        return None
    return MediumVectors(
        owner=np.array([row for row, _ in present], np.int64),
        vectors=np.stack([vector for _, vector in present]),
    )


def _texts(table: pl.DataFrame, column: str) -> dict[int, str]:
    """The column's values by row, blank ones left out."""
    if column not in table.columns:
        return {}
    values = enumerate(table[column].to_list())
    return {row: value for row, value in values if value is not None and value.strip()}


def _pictures(items: pl.DataFrame) -> list[tuple[int, str]]:
    if Columns.IMAGE not in items.columns:
        return []
    return [(row, path) for row, paths in enumerate(items[Columns.IMAGE].to_list()) for path in paths or ()]


def _stretches(clips: Iterable[Decoded[str, Floats]]) -> Iterator[list[Decoded[str, Floats]]]:
    """Clips in lists of about `_SPEECH_AT_ONCE` samples."""
    stretch: list[Decoded[str, Floats]] = []
    num_samples = 0
    for clip in clips:
        stretch.append(clip)
        num_samples += 0 if clip.result is None else len(clip.result)
        if num_samples >= _SPEECH_AT_ONCE:
            yield stretch
            stretch, num_samples = [], 0
    if stretch:
        yield stretch


def _chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
