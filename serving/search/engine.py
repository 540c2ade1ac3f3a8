"""`SearchEngine`: the search part of a bundle, its encoders and the users of an `Engine`, as one answer."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

import numpy as np

from features.queries import Clause, ItemClause, QueryEncoder, QueryLimits
from recsys.arrays import Bools, Floats, Ints
from recsys.bundle import Bundle, Device
from recsys.errors import BundleError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.modalities import EncoderKind
from recsys.retrieval import AnsweredBy, answered_by
from recsys.search import (
    EncodedClause,
    EncodedQuery,
    HitExplanation,
    LexicalIndex,
    QueryKind,
    Scorer,
    Searcher,
    SearchResults,
    Suggestion,
    load_search,
    personalizer,
)
from serving.engine import Engine
from serving.filters import Filters

TRANSCRIBER: Final = "transcriber"  # among the encoders of a manifest
UNKNOWN_USER: Final = "unknown_user: impersonal"
EMPTY_HISTORY: Final = "empty_history: impersonal"
UNKNOWN_ITEMS: Final = "unknown_items: impersonal"
NO_RECOMMENDER: Final = "no_recommender: impersonal"


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What is searched for, for whom, and among which items."""

    clauses: tuple[Clause, ...]
    k: int = 20
    user: str | None = None  # sees the items that they own, and those without an owner
    history: History | None = None
    is_unknown_user: bool = False  # a user was named who has no history; the answer says so
    filters: Filters = field(default_factory=dict)
    exclude: Sequence[str] = ()
    exclude_seen: bool = False
    min_relevance: float | None = None  # None: the one that validation chose
    personal: float | None = None  # likewise
    leg_weights: Mapping[str, float] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One item of an answer."""

    item: int
    score: float
    relevance: float
    explanation: HitExplanation


@dataclass(frozen=True, kw_only=True)
class SearchAnswer:
    """Items, best first, and the circumstances of the answer."""

    hits: tuple[Hit, ...]
    notes: tuple[str, ...]  # what was left out of the query, and why
    transcripts: Mapping[str, str]  # name of a clause with sound -> the words that were heard
    ignored: tuple[str, ...]  # unknown items of the request
    degraded: tuple[str, ...]  # why the order is impersonal, where a user or a history was given
    milliseconds: Mapping[str, float]  # by stage


class SearchEngine:
    """Searches the catalogue of one bundle; safe to use from many threads."""

    def __init__(self, engine: Engine, searcher: Searcher, encoder: QueryEncoder) -> None:
        self.engine, self.searcher, self.encoder = engine, searcher, encoder

    @classmethod
    def of(
        cls, engine: Engine, *, limits: QueryLimits | None = None, device: Device = "cpu"
    ) -> "SearchEngine":
        """Search over the bundle of `engine`; raises `BundleError` where it has no search part."""
        bundle = engine.bundle
        directory, settings = bundle.search_directory, bundle.manifest.search
        if directory is None or settings is None:
            raise BundleError(
                f"{bundle.path}: has no search part; export it again from its run (recsys export RUN), "
                "with search.enabled, or index its dataset (recsys index)"
            )
        searcher = load_search(
            directory,
            settings,
            popularity=bundle.popularity,
            device=device,
        )
        if engine.recommender is not None:
            searcher = searcher.with_personalizer(
                personalizer(engine.recommender, bundle.manifest.modalities)
            )
        return cls(engine, searcher, query_encoder(bundle, limits or QueryLimits(), device))

    def over(self, engine: Engine, scorer: Scorer) -> "SearchEngine":
        """The same encoders and settings over another catalogue of the bundle."""
        personal = (
            None
            if engine.recommender is None
            else personalizer(engine.recommender, engine.bundle.manifest.modalities)
        )
        return type(self)(engine, self.searcher.over(scorer, personal), self.encoder)

    @property
    def query_kinds(self) -> tuple[QueryKind, ...]:
        """Kinds of query, items left out, that can be compared with anything in this catalogue."""
        scorer, encoders = self.searcher.scorer, self.engine.bundle.manifest.encoders
        shared = () if scorer.heads is None else scorer.heads.kinds
        known = {leg.kind for leg in scorer.legs} | set(shared)
        text = scorer.words is not None or ("text" in encoders and "text" in known)
        image = "image" in encoders and "image" in known
        audio = ("audio" in encoders and "audio" in known) or (TRANSCRIBER in encoders and text)
        answered: dict[QueryKind, bool] = {
            "text": text,
            "image": image,
            "audio": audio,
            "video": image or audio,
        }
        return tuple(kind for kind, is_answered in answered.items() if is_answered)

    def search(self, request: SearchRequest) -> SearchAnswer:
        """The items for `request`, best first; the items of its item clauses are left out.

        Raises `RequestError` that names the wrong clause or field.
        """
        start = time.perf_counter()
        read = self.encoder.encode(request.clauses, leg_weights=request.leg_weights)
        encoded = time.perf_counter()
        allowed, ignored = self._allowed(request)
        found = self.searcher.search(
            read.query,
            request.k,
            allowed=allowed,
            min_relevance=request.min_relevance,
            history=request.history,
            personal=request.personal,
        )
        notes = list(read.notes)
        if allowed is not None and not allowed.any():
            notes.append("no item passes the filters and exclusions; widen them")
        return SearchAnswer(
            hits=_hits(found),
            notes=tuple(notes),
            transcripts=read.transcripts,
            ignored=tuple(ignored),
            degraded=self._degraded(request),
            milliseconds={"encoding": 1000 * (encoded - start), **found.milliseconds},
        )

    def similar(self, item: int, k: int, *, user: str | None = None) -> tuple[Ints, Floats]:
        """The `k` other items that are most like `item`, and their scores, best first."""
        query = EncodedQuery(clauses=(EncodedClause(kind="item", item=item),))
        visible = self.engine.owners.visible(user)
        found = self.searcher.search(query, k, allowed=visible, min_relevance=0.0, personal=0.0)
        return found.items, found.scores

    def suggest(self, prefix: str, k: int, *, user: str | None = None) -> list[Suggestion]:
        """Titles, words and categories of items that `user` may see, which complete what is typed."""
        words, reader = self.searcher.scorer.words, self.engine.reader_of(user)
        if not isinstance(words, LexicalIndex):
            return []
        # An item that was removed has no document any more.
        allowed = reader.visible if self.engine.owners.has_owners else None
        return words.suggest(prefix, k, allowed=allowed, is_category=reader.has_category)

    def item_clause(
        self, item_id: str, name: str, weight: float = 1.0, *, user: str | None = None
    ) -> ItemClause:
        """A clause "like this item"; raises `RequestError` for an item that is unknown to `user`."""
        return ItemClause(name=name, weight=weight, item=self.engine.reader_of(user).item(item_id, name))

    def _allowed(self, request: SearchRequest) -> tuple[Bools | None, list[str]]:
        """Which items may be found [N], None where all may, and the unknown items of the request."""
        allowed, ignored = self.engine.reader_of(request.user).allowed(
            None, request.filters, request.exclude, strict=request.strict
        )
        if request.exclude_seen and request.history is not None:
            if allowed is None:
                allowed = np.ones(self.engine.bundle.item_ids.size, np.bool_)
                allowed[:NUM_RESERVED] = False
            allowed = allowed.copy()
            allowed[request.history.seen] = False
        return allowed, ignored

    def _degraded(self, request: SearchRequest) -> tuple[str, ...]:
        """Why the order is impersonal although a user was named."""
        history, recommender = request.history, self.engine.recommender
        if request.is_unknown_user:
            return (UNKNOWN_USER,)
        if history is None:
            return ()
        if recommender is None:
            return (NO_RECOMMENDER,) if request.personal != 0 else ()
        if answered_by(history, recommender.settings) is not AnsweredBy.POPULARITY:
            return ()
        return (UNKNOWN_ITEMS if len(history) else EMPTY_HISTORY,)


def query_encoder(bundle: Bundle, limits: QueryLimits, device: Device = "cpu") -> QueryEncoder:
    """The encoders of `bundle`; videos are sampled as at extraction."""
    encoders = bundle.manifest.encoders
    frames = bundle.manifest.config.get("encoders", {}).get("video_frames", limits.video_frames)
    directories = {
        cast(EncoderKind, kind): bundle.path / path for kind, path in encoders.items() if kind != TRANSCRIBER
    }
    return QueryEncoder(
        directories,
        transcriber=bundle.path / encoders[TRANSCRIBER] if TRANSCRIBER in encoders else None,
        limits=replace(limits, video_frames=frames),
        device=device,
    )


def _hits(found: SearchResults) -> tuple[Hit, ...]:
    rows = zip(
        found.items.tolist(),
        found.scores.tolist(),
        found.relevance.tolist(),
        found.explanations,
        strict=True,
    )
    return tuple(
        Hit(item=item, score=score, relevance=relevance, explanation=explanation)
        for item, score, relevance, explanation in rows
    )
