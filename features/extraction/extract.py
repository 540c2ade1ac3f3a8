"""All vectors of a dataset. Each distinct medium is decoded and encoded once, and found by its content."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from features.conversion import convert_missing, ensure_encoder
from features.dataset import Dataset, MediaVectors, MediumVectors, Rejected
from features.encoders import Encoder, EncoderSpec, Kind, Pixels, chunks
from features.extraction.cache import CacheWriter, VectorCache, file_key, text_key
from features.extraction.media_columns import (
    MediaColumn,
    Pictures,
    Sound,
    item_pictures,
    spoken_reviews,
    video_frames,
    video_sound,
)
from features.extraction.timing import StepClock
from features.extraction.transcriber import NullTranscriber, Transcriber, load_transcriber
from features.media import SAMPLE_RATE, Decoded, prefetch
from recsys.arrays import Floats
from recsys.columns import Columns
from recsys.config import EncoderConfig
from recsys.errors import EncoderError
from recsys.modalities import BY_NAME, Modality

# Samples of speech that are decoded before they are sorted by length: 10 minutes, 38 MB.
_SPEECH_AT_ONCE = 600 * SAMPLE_RATE
# Texts that are cut into batches together, in units of `batch_size`: several batches for every core.
_TEXT_BATCHES = 8
_MEDIA_AHEAD = 64
_CLIPS_AHEAD = 8  # an hour of sound takes 230 MB

# Media of a table, as pairs (row, path).
Places = Sequence[tuple[int, str]]
Clip = Decoded[str, Floats | None]


class Progress(Protocol):
    """Called after each batch; `total` counts the media to encode, without those in the cache."""

    def __call__(self, step: str, done: int, total: int) -> None: ...


def extract(
    dataset: Dataset,
    config: EncoderConfig,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> MediaVectors:
    """Vectors of every title, text, picture, video and review of `dataset`, from the cache where it has them.

    A text longer than the encoder's limit is cut. A medium that cannot be read is rejected with its reason;
    its item or review is kept. Blank texts, transcripts of clips without speech and the sound of silent
    videos have no vector. Vectors are cached as they are made, so that an interrupted call can be repeated at
    little cost. Encoders are converted at first use (see `ensure_encoder`). `num_threads` defaults to the
    number of cores.
    """
    extraction = _Extraction(dataset, config, VectorCache(cache_dir), progress, num_threads)
    items, reviews = dataset.items, dataset.reviews
    extraction.convert_missing(reviews)
    item_vectors = {
        Modality.TITLE: extraction.texts(Modality.TITLE, _texts(items, Columns.TITLE)),
        Modality.TEXT: extraction.texts(Modality.TEXT, _texts(items, Columns.TEXT)),
        Modality.IMAGE: extraction.pictures(Modality.IMAGE),
    }
    videos, video_transcripts = extraction.videos(_paths(items, Columns.VIDEO))
    acoustic, transcripts = extraction.speech(spoken_reviews(), list(_texts(reviews, Columns.AUDIO).items()))
    review_vectors = {
        Modality.REVIEW_TEXT: extraction.texts(Modality.REVIEW_TEXT, _texts(reviews, Columns.TEXT)),
        Modality.REVIEW_SPEECH: extraction.texts(Modality.REVIEW_SPEECH, transcripts),
        Modality.REVIEW_AUDIO: acoustic,
    }
    return MediaVectors(
        items={name: vectors for name, vectors in (item_vectors | videos).items() if vectors is not None},
        reviews={name: vectors for name, vectors in review_vectors.items() if vectors is not None},
        transcripts=transcripts,
        video_transcripts=video_transcripts,
        rejected=tuple(extraction.rejected),
        encoded=dict(extraction.encoded),
        cached=dict(extraction.cached),
        times=extraction.clock.times,
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
        self.root, self.items = dataset.root, dataset.items
        self.config = config
        self.cache = cache
        self.progress = progress or (lambda step, done, total: None)
        self.num_threads = num_threads or os.cpu_count() or 1
        self.rejected: list[Rejected] = []
        self.encoded: Counter[str] = Counter()
        self.cached: Counter[str] = Counter()
        self.clock = StepClock()
        self._key_of: dict[str, str] = {}  # sha256 by path: a video is read for its pictures and its sound
        self._specs: dict[Kind, EncoderSpec] = {}
        self._encoders: dict[Kind, Encoder] = {}

    def convert_missing(self, reviews: pl.DataFrame) -> None:
        """Convert the encoders of the dataset's media, several at the same time where several are missing."""
        config = self.config
        has_sound = _has(self.items, Columns.VIDEO) or _has(reviews, Columns.AUDIO)
        needed: dict[Kind, str] = {}
        if has_sound or any(
            _has(table, column)
            for table, column in (
                (self.items, Columns.TITLE),
                (self.items, Columns.TEXT),
                (reviews, Columns.TEXT),
            )
        ):
            needed["text"] = config.text
        if _has(self.items, Columns.VIDEO) or _has(self.items, Columns.IMAGE):
            needed["image"] = config.image
        if has_sound:
            needed["audio"] = config.audio
        convert_missing(needed, num_processes=self.num_threads, progress=self.progress)

    def texts(self, step: str, text_of_row: Mapping[int, str]) -> MediumVectors | None:
        """Vectors of the texts by their rows, None where there are none."""
        if not text_of_row:
            return None
        spec = self._spec("text")
        text_of = {text_key(text): text for text in text_of_row.values()}
        found = self.cache.get(spec.fingerprint, text_of)
        missing = sorted(text_of.keys() - found.keys(), key=lambda key: (len(text_of[key]), key))
        self._count(step, len(text_of), len(missing))
        with (
            self.clock.step(step, len(missing)),
            CacheWriter(self.cache, spec.fingerprint, found) as writer,
        ):
            for batch in chunks(missing, _TEXT_BATCHES * self.config.batch_size):
                vectors = self._encoder("text").encode_texts([text_of[key] for key in batch])
                writer.add(batch, vectors)
                self.progress(step, writer.num_added, len(missing))
        return _gather([(row, text_key(text)) for row, text in text_of_row.items()], found)

    def pictures(self, modality: str) -> MediumVectors | None:
        """Vectors of the items' pictures by their rows, None where there are none."""
        column = BY_NAME[modality].column
        assert column is not None, "a modality of pictures has a column"
        places = _paths(self.items, column)
        return (
            self.images(item_pictures(modality, column, self._spec("image").side), places) if places else None
        )

    def videos(self, places: Places) -> tuple[dict[str, MediumVectors | None], dict[int, str]]:
        """Vectors of the videos' frames, sound and transcripts, by modality; the transcripts by row."""
        pictures = self.images(video_frames(self.config), places)
        unreadable = {entry.value for entry in self.rejected if entry.column == Columns.VIDEO}
        acoustic, transcript_of = self.speech(
            video_sound(self.config), [place for place in places if place[1] not in unreadable]
        )
        words = self.texts(Modality.VIDEO_SPEECH, transcript_of)
        vectors = {Modality.VIDEO: pictures, Modality.VIDEO_AUDIO: acoustic, Modality.VIDEO_SPEECH: words}
        return vectors, transcript_of

    def images(self, column: Pictures, places: Places) -> MediumVectors | None:
        """Vectors of pictures, or of videos as the mean of their frames, by row; None if there are none."""
        if not places:
            return None
        step, spec = column.modality, self._spec("image")
        fingerprint = spec.fingerprint + column.sampling
        key_of = self._hash(column, places)
        path_of = {key: path for path, key in key_of.items()}
        found = self.cache.get(fingerprint, path_of)
        missing = [key for key in path_of if key not in found]
        self._count(step, len(path_of), len(missing))
        encoder = self._encoder("image") if missing else None

        def prepare(key: str) -> list[Pixels]:
            assert encoder is not None
            return [encoder.prepare_image(frame) for frame in column.load(path_of[key])]

        ahead = max(_MEDIA_AHEAD // column.num_frames, self.num_threads)
        pictures = prefetch(missing, prepare, num_threads=self.num_threads, ahead=ahead)
        reasons: dict[str, str] = {}
        with self.clock.step(step, len(missing)), CacheWriter(self.cache, fingerprint, found) as writer:
            for batch in chunks(pictures, max(self.config.batch_size // column.num_frames, 1)):
                reasons |= {picture.source: picture.reason for picture in batch if picture.reason}
                read = [(picture.source, picture.result) for picture in batch if picture.result is not None]
                if read and encoder:
                    vectors = self._encode_frames(encoder, [frames for _, frames in read])
                    writer.add([key for key, _ in read], vectors)
                self.progress(step, writer.num_added + len(reasons), len(missing))
        self.encoded[step] -= len(reasons)
        self._rejected(column, places, key_of, reasons)
        return _gather([(row, key_of[path]) for row, path in places if path in key_of], found)

    def _encode_frames(self, encoder: Encoder, frames_of: Sequence[Sequence[Pixels]]) -> Floats:
        """The mean vector of each medium's frames. Shape [n, D]."""
        frames = [frame for frames in frames_of for frame in frames]
        vectors = encoder.encode_pixels(frames)
        count = np.array([len(frames) for frames in frames_of])
        sums = np.add.reduceat(vectors, np.cumsum(count) - count)
        return np.asarray(sums / count[:, None], np.float32)

    def speech(self, column: Sound, places: Places) -> tuple[MediumVectors | None, dict[int, str]]:
        """Acoustic vectors by row (None if there are none), and transcripts by row."""
        if not places:
            return None, {}
        spec, transcribes = self._spec("audio"), not isinstance(self._transcriber, NullTranscriber)
        key_of = self._hash(column, places)
        path_of = {key: path for path, key in key_of.items()}
        found = self.cache.get(spec.fingerprint + column.sampling, path_of)
        transcript_of = self.cache.get_texts(self._transcriber.fingerprint + column.sampling, path_of)
        missing = [key for key in path_of if key not in found or (transcribes and key not in transcript_of)]
        clips = prefetch(
            missing,
            lambda key: column.load(path_of[key]),
            num_threads=self.num_threads,
            ahead=_CLIPS_AHEAD,
        )
        reasons: dict[str, str] = {}
        done = num_read = 0
        for batch in self._decoded(column, clips):
            reasons |= {clip.source: clip.reason for clip in batch if clip.reason}
            waveforms = {clip.source: clip.result for clip in batch if clip.result is not None}
            new = {key: wave for key, wave in waveforms.items() if key not in found}
            with self.clock.step(f"{column.modality}: vectors", len(new)):
                self._encode_speech(new, found, column.sampling)
            if transcribes:
                new = {key: wave for key, wave in waveforms.items() if key not in transcript_of}
                with self.clock.step(f"{column.modality}: words", len(new)):
                    self._transcribe(new, transcript_of, column.sampling)
            done, num_read = done + len(batch), num_read + len(waveforms)
            self.progress(column.modality, done, len(missing))
        self._count(column.modality, len(path_of) - len(missing) + num_read, num_read)
        self._rejected(column, places, key_of, reasons)
        key_of_row = [(row, key_of[path]) for row, path in places if path in key_of]
        transcripts: dict[int, str] = {}
        for row, key in key_of_row:
            if text := transcript_of.get(key):
                transcripts[row] = f"{transcripts[row]}\n\n{text}" if row in transcripts else text
        return _gather(key_of_row, found), transcripts

    def _decoded(self, column: Sound, clips: Iterable[Clip]) -> Iterator[list[Clip]]:
        """`_stretches`, with the time of waiting for the decoders recorded."""
        stretches = _stretches(clips)
        name = f"{column.modality}: decoding"
        while True:
            with self.clock.step(name):
                stretch = next(stretches, [])
            if not stretch:
                return
            self.clock.count(name, len(stretch))
            yield stretch

    def _encode_speech(
        self, waveforms: Mapping[str, Floats], found: dict[str, Floats], sampling: str
    ) -> None:
        if waveforms:
            with CacheWriter(self.cache, self._spec("audio").fingerprint + sampling, found) as writer:
                vectors = self._encoder("audio").encode_audio(list(waveforms.values()))
                writer.add(list(waveforms), vectors)

    def _transcribe(
        self, waveforms: Mapping[str, Floats], transcript_of: dict[str, str], sampling: str
    ) -> None:
        if waveforms:
            texts = self._transcriber.transcribe(list(waveforms.values()))
            new = dict(zip(waveforms, texts, strict=True))
            self.cache.put_texts(self._transcriber.fingerprint + sampling, new)
            transcript_of |= new

    def _hash(self, column: MediaColumn[object], places: Places) -> dict[str, str]:
        """sha256 by path; a file that cannot be opened is rejected."""
        paths = dict.fromkeys(path for _, path in places)
        new = [path for path in paths if path not in self._key_of]
        hashed = list(prefetch(new, file_key, num_threads=self.num_threads, ahead=_MEDIA_AHEAD))
        self._key_of |= {file.source: file.result for file in hashed if file.result is not None}
        reasons = {file.source: file.reason for file in hashed if file.reason}
        self._rejected(column, places, {path: path for path in paths}, reasons)
        return {path: self._key_of[path] for path in paths if path in self._key_of}

    def _rejected(
        self,
        column: MediaColumn[object],
        places: Places,
        key_of: Mapping[str, str],
        reasons: Mapping[str, str],
    ) -> None:
        """Record a rejection for every place of a medium that has a reason."""
        for row, path in places:
            if reason := reasons.get(key_of.get(path, "")):
                shown = os.path.relpath(path, self.root)
                self.rejected.append(
                    Rejected(
                        table=column.table,
                        path=shown,
                        row=row,
                        column=column.column,
                        value=path,
                        reason=reason,
                    )
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
            spec = EncoderSpec.read(ensure_encoder(names[kind], kind=kind))
            if spec.kind != kind:
                raise EncoderError(
                    f"encoders.{kind} = {names[kind]!r} is an encoder of {spec.kind}; name one of {kind}"
                )
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


def _gather(key_of_row: Iterable[tuple[int, str]], found: Mapping[str, Floats]) -> MediumVectors | None:
    """Vectors in the order of their rows, without the rows that have none."""
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


def _has(table: pl.DataFrame, column: str) -> bool:
    """Whether any row has a value."""
    if column not in table.columns:
        return False
    values = table[column].drop_nulls()
    return len(values) > 0 and (not isinstance(values.dtype, pl.List) or bool((values.list.len() > 0).any()))


def _paths(items: pl.DataFrame, column: str) -> list[tuple[int, str]]:
    """Every path in the column's lists with its row."""
    if column not in items.columns:
        return []
    return [(row, path) for row, paths in enumerate(items[column].to_list()) for path in paths or ()]


def _stretches(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    """Clips in lists of about `_SPEECH_AT_ONCE` samples."""
    stretch: list[Clip] = []
    num_samples = 0
    for clip in clips:
        stretch.append(clip)
        num_samples += 0 if clip.result is None else len(clip.result)
        if num_samples >= _SPEECH_AT_ONCE:
            yield stretch
            stretch, num_samples = [], 0
    if stretch:
        yield stretch
