"""Search of a run, evaluated while the test is held out.

The searcher has the parts of a bundle's: the vectors of the evaluated model's catalogue, the words that the
split allows, and the recommender before the refit. The alignment heads are fitted on four fifths of the
items, so that search between modalities is measured on items that the heads have not seen. The settings
that validation chooses here are those of the run's bundle.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from features.dataset import Dataset, MediaVectors
from features.inputs import HistoryBuilder
from features.queries import QueryEncoder, TextClause
from features.splits import Split
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.files import replace_text
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.modalities import EncoderKind
from recsys.progress import Progress, silent
from recsys.retrieval import Recommender
from recsys.search import EncodedQuery, Searcher, SearchSettings, personalizer
from training.alignment import FittedAlignment, cross_modal_recall
from training.fitting import Fitted
from training.search.build import Searchable, align, build_searcher, encoder_directories, query_encoder
from training.search.fit import fit_search
from training.search.known_item import KnownItemQuery, drawn, labelled, review_queries
from training.search.quality.evaluate import evaluate_search, graded
from training.search.quality.files import QueryFiles, graded_queries
from training.search.quality.lists import GradedQuery
from training.search.quality.results import SearchEvaluation

Searched = tuple[SearchEvaluation, tuple[str, ...]]  # results, and what of the files was left out
HELD_OUT_SHARE: Final = 0.2  # of the items, whose pairs of modalities the heads have not seen


@dataclass(frozen=True, kw_only=True)
class SearchSubject:
    """A fitted model, and what the split allows its search to read."""

    searchable: Searchable
    digest: str  # of the model
    split: Split
    config: Config
    recommender: Recommender
    modalities: tuple[str, ...]  # of the item tower's tokens
    histories: Mapping[str, History] | None  # before the test; None: made where they are needed
    builder: HistoryBuilder

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        dataset: Dataset,
        vectors: MediaVectors,
        split: Split,
        config: Config,
        histories: Mapping[str, History] | None = None,
    ) -> "SearchSubject":
        """Search of `fitted`; `histories` are those before the test, where they are known.

        Raises `ConfigError` where the configuration has no search.
        """
        if not config.search.enabled:
            raise ConfigError("the run has no search; train another with search.enabled = true")
        return cls(
            searchable=Searchable(
                dataset=dataset, features=fitted.features, vectors=vectors, reviews=split.reviews
            ),
            digest=fitted.digest(),
            split=split,
            config=config,
            recommender=fitted.recommender,
            modalities=tuple(fitted.retriever.model.spec.token_names),
            histories=histories,
            builder=fitted.builder,
        )


class SearchBeforeTest:
    """Searches the catalogue of `subject`; the chosen settings are kept in the file `kept`."""

    def __init__(
        self, subject: SearchSubject, progress: Progress = silent, *, kept: Path | None = None
    ) -> None:
        self.subject, self.progress, self._kept = subject, progress, kept

    @cached_property
    def encoder(self) -> QueryEncoder:
        """Encodes queries; encoders are converted at first use."""
        return query_encoder(self.subject.config, self._directories)

    @cached_property
    def searcher(self) -> Searcher:
        """With the chosen settings."""
        return self.plain_searcher.with_settings(self.settings)

    @cached_property
    def settings(self) -> SearchSettings:
        """Chosen on queries of validation events; read from the file where model and data are the same.

        The personal share is 0: the ranker has learned from all validation users, so that none can choose it.
        """
        key = self._key()
        if self._kept is not None and self._kept.is_file():
            found = json.loads(self._kept.read_text("utf-8"))
            if found["key"] == key:
                return SearchSettings.model_validate(found["settings"])
        subject = self.subject
        settings = fit_search(
            self.plain_searcher,
            labelled(self._texts("validation"), self._encode),
            encode=self._encode,
            personal_queries=[],
            seed=subject.config.train.seed,
            progress=self.progress,
        )
        if self._kept is not None:
            values = {"key": key, "settings": settings.model_dump(mode="json")}
            replace_text(self._kept, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
        return settings

    def _key(self) -> str:
        """Changes with everything that the settings depend on."""
        subject = self.subject
        config = subject.config
        read = (
            subject.digest,
            subject.searchable.dataset.fingerprint(),
            subject.split.description,
            config.search,
            config.encoders,
            config.train.seed,
        )
        return hashlib.sha256(repr(read).encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def plain_searcher(self) -> Searcher:
        """With default settings."""
        subject = self.subject
        personal = personalizer(subject.recommender, subject.modalities)
        return build_searcher(subject.searchable, self._heads, SearchSettings(), personal)

    def evaluate(self) -> SearchEvaluation | None:
        """Search for the items of held-out reviews by the words of these; None where there are none.

        Without the latency, so that a repeated evaluation has equal results.
        """
        config = self.subject.config
        texts = drawn(
            self._texts("test"),
            config.evaluate.search_queries,
            np.random.default_rng(config.train.seed),
        )
        if not texts:
            return None
        description = "Known items: words of held-out reviews without the title; the reviewed item is sought."
        found = self._evaluated(graded(labelled(texts, self._encode)), description)
        return replace(found, milliseconds={})

    def evaluate_files(self, files: QueryFiles, name: str) -> Searched:
        """Search for the queries of `files`, and what of them was left out."""
        queries, notes = graded_queries(
            files,
            self.subject.searchable.features.item_ids,
            lambda clauses: self.encoder.encode(clauses).query,
            self._histories.get,
        )
        return self._evaluated(queries, name), notes

    def _evaluated(self, queries: list[GradedQuery], description: str) -> SearchEvaluation:
        found = evaluate_search(
            self.searcher,
            queries,
            description=description,
            progress=self.progress,
        )
        return replace(found, cross_modal=self.cross_modal())

    def cross_modal(self) -> tuple[Mapping[str, Any], ...]:
        """Recall between modalities of the items that the heads have not seen; empty without heads."""
        if not self._heads.kinds:
            return ()
        vectors = self.subject.searchable.modality_vectors
        return tuple(cross_modal_recall(self._heads, vectors, self._held_out).to_dicts())

    def _texts(self, part: Literal["validation", "test"]) -> list[KnownItemQuery]:
        """Words of the reviews of that part's events, with histories that end before it."""
        subject, searchable = self.subject, self.subject.searchable
        item_ids, is_test = searchable.features.item_ids, part == "test"
        events = subject.split.test
        if not is_test:  # of a log on disk, only these pairs are in memory
            by_user = subject.split.validation_items(item_ids)
            pairs = [(user, item_ids.external[at - NUM_RESERVED]) for user in by_user for at in by_user[user]]
            events = pl.DataFrame(pairs, {Columns.USER: pl.String, Columns.ITEM: pl.String}, orient="row")
        histories = self._histories if is_test else subject.split.before_validation(subject.builder)
        return review_queries(
            searchable.dataset,
            events,
            item_ids,
            readable=searchable.reviews,
            histories=histories,
            transcripts=searchable.vectors.transcripts,
            seed=self.subject.config.train.seed,
        )

    def _encode(self, text: str) -> EncodedQuery:
        return self.encoder.encode([TextClause(name="query", text=text)]).query

    @cached_property
    def _histories(self) -> Mapping[str, History]:
        """Those before the test."""
        subject = self.subject
        known = subject.histories
        return subject.split.before_test(subject.builder) if known is None else known

    @cached_property
    def _directories(self) -> dict[EncoderKind, Path]:
        return encoder_directories(self.subject.config, self.subject.searchable.features)

    @cached_property
    def _held_out(self) -> Ints:
        """A fifth of the items, drawn."""
        items = self.subject.searchable.items
        rng = np.random.default_rng(self.subject.config.train.seed)
        drawn: Ints = np.sort(rng.permutation(items)[: int(HELD_OUT_SHARE * len(items))])
        return drawn

    @cached_property
    def _heads(self) -> FittedAlignment:
        searchable = self.subject.searchable
        return align(
            searchable,
            self.subject.config,
            self._directories,
            items=np.setdiff1d(searchable.items, self._held_out),
            progress=self.progress,
        )
