"""`QueryEncoder`: clauses to an `EncodedQuery`, through a bundle's encoders and its transcriber."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from features.queries.clauses import (
    AudioClause,
    Clause,
    ImageClause,
    ItemClause,
    QueryLimits,
    TextClause,
    VideoClause,
    check_weight,
    checked_clauses,
)
from features.queries.media import read_frames, read_picture, read_sound, read_video_sound
from features.queries.models import Device, QueryModels
from features.queries.text import clean_text, has_words
from recsys.arrays import Floats
from recsys.errors import RequestError
from recsys.modalities import EncoderKind
from recsys.search import EncodedClause, EncodedQuery, QueryKind, WordQuery, parse_words

MAX_SHORT: Final = 24  # different words, stop words among them, of a text whose words are encoded one by one
_MEDIA: Final[Mapping[EncoderKind, str]] = {"text": "texts", "image": "pictures", "audio": "sounds"}


@dataclass(frozen=True, kw_only=True)
class ReadQuery:
    """An encoded query, and what its readers should be told."""

    query: EncodedQuery
    notes: tuple[str, ...]  # what was left out of a clause, and why
    transcripts: Mapping[str, str]  # name of a clause with sound -> the words that were heard


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What a clause is compared by."""

    kind: QueryKind
    words: WordQuery | None = None
    vectors: Mapping[EncoderKind, Floats] = field(default_factory=dict)
    word_vectors: Mapping[str, Floats] = field(default_factory=dict)
    whole_words: frozenset[str] | None = None
    item: int | None = None
    notes: tuple[str, ...] = ()
    transcript: str | None = None


class QueryEncoder:
    """Encodes queries; models are loaded at their first use and kept. Safe to use from many threads.

    `directories` has the encoder directory of each kind, `transcriber` a directory or a name of
    `load_transcriber`; None gives sound no words.
    """

    def __init__(
        self,
        directories: Mapping[EncoderKind, Path],
        *,
        transcriber: str | Path | None = None,
        limits: QueryLimits | None = None,
        device: Device = "cpu",
    ) -> None:
        self.limits = limits or QueryLimits()
        self._models = QueryModels(directories, transcriber, device)
        self._decoding = BoundedSemaphore(self.limits.max_media_at_once)

    @property
    def models(self) -> QueryModels:
        """The encoders, for other media than queries."""
        return self._models

    @property
    def kinds(self) -> tuple[EncoderKind, ...]:
        """The kinds that have an encoder."""
        return self._models.kinds

    @property
    def transcribes(self) -> bool:
        """Whether sound has words."""
        return self._models.transcribes

    def encode(
        self, clauses: Sequence[Clause], *, leg_weights: Mapping[str, float] | None = None
    ) -> ReadQuery:
        """The clauses encoded; those with weight 0 are left out.

        Raises `RequestError`, which names the clause and the remedy, for an empty query, a medium that
        cannot be read, a kind that the bundle cannot encode, and a weight that is out of range.
        """
        kept = checked_clauses(clauses, self.limits)
        weights = dict(leg_weights or {})
        for leg, weight in weights.items():
            check_weight(weight, f"modality_weights.{leg}", lowest=0.0)
        parts = {clause.name: self._parts(clause) for clause in kept}
        encoded = tuple(
            EncodedClause(
                kind=each.kind,
                weight=clause.weight,
                words=each.words,
                vectors=each.vectors,
                word_vectors=each.word_vectors,
                whole_words=each.whole_words,
                item=each.item,
            )
            for clause, each in zip(kept, parts.values(), strict=True)
        )
        return ReadQuery(
            query=EncodedQuery(clauses=encoded, modality_weights=weights),
            notes=tuple(f"{name}: {note}" for name, each in parts.items() for note in each.notes),
            transcripts={
                name: each.transcript for name, each in parts.items() if each.transcript is not None
            },
        )

    def _parts(self, clause: Clause) -> _Parts:
        match clause:
            case TextClause():
                return self._text(clause)
            case ImageClause():
                return self._image(clause)
            case AudioClause():
                return self._audio(clause)
            case VideoClause():
                return self._video(clause)
            case ItemClause():
                return _Parts(kind="item", item=clause.item)
        raise AssertionError(f"a clause of an unknown class: {type(clause).__name__}")

    def _text(self, clause: TextClause) -> _Parts:
        text, was_cut = clean_text(clause.text, self.limits.max_characters)
        if not text:
            raise RequestError(clause.name, "is empty; write some words, or leave it out")
        notes: tuple[str, ...] = ()
        if was_cut:
            notes = (f"only the first {len(text):,} of {len(clause.text):,} characters are used",)
        parts = self._of_words(clause, text)
        if parts.words is None or parts.words.is_empty:
            notes += ("has no words, so only its meaning is compared",)
        return replace(parts, notes=notes)

    def _image(self, clause: ImageClause) -> _Parts:
        if "image" not in self.kinds:
            raise self._cannot_encode(clause, "image")
        with self._decoding:
            image = read_picture(clause, self.limits, self._models.side)
            vector = self._models.image_vector([image], clause.name)
        return _Parts(kind="image", vectors={"image": vector})

    def _audio(self, clause: AudioClause) -> _Parts:
        if not self._hears:
            raise self._cannot_encode(clause, "audio")
        with self._decoding:
            samples, was_cut = read_sound(clause, self.limits)
        parts = self._of_sound(clause, samples)
        notes: tuple[str, ...] = ()
        if was_cut:
            notes = (f"only its first {self.limits.max_audio_seconds} seconds are used",)
        if parts.words is None and not parts.vectors:
            raise RequestError(
                clause.name,
                "no words were heard in it, and this bundle has no encoder of sounds; speak closer to the "
                "microphone, or write the words",
            )
        if parts.words is None:
            why = "no words were heard" if self.transcribes else "this bundle has no transcriber"
            notes += (f"{why}, so only its sound is compared",)
        return replace(parts, notes=notes)

    def _video(self, clause: VideoClause) -> _Parts:
        has_pictures = "image" in self.kinds
        if not has_pictures and not self._hears:
            raise self._cannot_encode(clause, "image")
        seen: dict[EncoderKind, Floats] = {}
        with self._decoding:
            if has_pictures:
                seen["image"] = self._models.image_vector(read_frames(clause, self.limits), clause.name)
            samples = read_video_sound(clause, self.limits) if self._hears else None
        parts = _Parts(kind="video") if samples is None else self._of_sound(clause, samples)
        vectors = seen | dict(parts.vectors)
        if parts.words is None and not vectors:
            raise RequestError(
                clause.name,
                "no words were heard in it, and this bundle has no encoder of pictures; write words instead",
            )
        notes = () if has_pictures else ("this bundle has no encoder of pictures, so only its sound counts",)
        return replace(parts, kind="video", vectors=vectors, notes=notes)

    def _of_words(self, clause: Clause, text: str) -> _Parts:
        """The words of a text, the vector of what it does not exclude, and those of a short text's words.

        Raises `RequestError` where it only excludes, and where it has neither words nor a vector.
        """
        words = parse_words(text)
        if words.is_empty and words.excluded and not words.positive:
            raise RequestError(clause.name, "only excludes words; add words that find items", text)
        if words.is_empty and "text" not in self.kinds:
            raise RequestError(
                clause.name,
                "has no words, and this bundle has no encoder of texts to compare its meaning; write words",
            )
        vectors: dict[EncoderKind, Floats] = {}
        if "text" in self.kinds:
            vectors["text"] = self._models.text_vector(words.positive or text, clause.name)
        distinct = _distinct(words) if vectors else []
        return _Parts(
            kind="text",
            words=None if words.is_empty and not words.excluded else words,
            vectors=vectors,
            word_vectors=self._models.word_vectors(distinct, clause.name) if distinct else {},
            whole_words=self._models.whole_words(distinct) if distinct else None,
        )

    def _of_sound(self, clause: Clause, samples: Floats) -> _Parts:
        """The transcript of a sound, its words, and the vectors of both."""
        transcript, parts = None, _Parts(kind="audio")
        if self.transcribes:
            heard = self._models.transcript(samples, clause.name)
            transcript, _ = clean_text(heard, self.limits.max_characters)
            if has_words(transcript):
                parts = self._of_words(clause, transcript)
        vectors = dict(parts.vectors)
        if "audio" in self.kinds:
            vectors["audio"] = self._models.audio_vector(samples, clause.name)
        return replace(parts, kind="audio", vectors=vectors, transcript=transcript)

    @property
    def _hears(self) -> bool:
        return self.transcribes or "audio" in self.kinds

    def _cannot_encode(self, clause: Clause, kind: EncoderKind) -> RequestError:
        known = ["words", *(_MEDIA[each] for each in self.kinds if each != "text"), "items"]
        return RequestError(
            clause.name,
            f"this bundle has no encoder of {_MEDIA[kind]}; search by {', '.join(known)}, or make a bundle "
            f"of a dataset that has {_MEDIA[kind]}",
        )


def _distinct(words: WordQuery) -> list[str]:
    """The words of a short text and its phrases in lower case, each once; none of a longer text."""
    every = [*words.words, *(word for phrase in words.phrases for word in phrase)]
    found = list(dict.fromkeys(word.casefold() for word in every))
    return found if len(found) <= MAX_SHORT else []
