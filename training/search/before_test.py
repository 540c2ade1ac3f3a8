"""Search of a run, evaluated while the test is held out.

The searcher has the parts of a bundle's: the vectors of the evaluated model's catalogue, the words that the
split allows, and the recommender before the refit. The alignment heads are fitted on four fifths of the
items, so that search between modalities is measured on items that the heads have not seen. The settings
that validation chooses here are those of the run's bundle.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.inputs import build_item_features
from features.queries import QueryEncoder, TextClause
from recsys.arrays import Ints
from recsys.files import replace_text
from recsys.modalities import EncoderKind
from recsys.progress import Progress, silent
from recsys.retrieval import Owners
from recsys.search import EncodedQuery, Searcher, SearchSettings, personalizer
from training.alignment import FittedAlignment, cross_modal_recall
from training.search.build import (
    WordEncoder,
    align,
    build_searcher,
    encoder_directories,
    query_encoder,
    word_encoder,
)
from training.search.fit import fit_search
from training.search.known_item import drawn, labelled
from training.search.personal_fit import MIN_QUERIES, PersonalTask
from training.search.quality.evaluate import evaluate_search, graded
from training.search.quality.files import QueryFiles, graded_queries
from training.search.quality.lists import GradedQuery
from training.search.quality.results import SearchEvaluation
from training.search.subject import SearchSubject

Searched = tuple[SearchEvaluation, tuple[str, ...]]  # results, and what of the files was left out
METHOD: Final = 6  # of the choice; raised where the same data lead to other settings
HELD_OUT_SHARE: Final = 0.2  # of the items, whose pairs of modalities the heads have not seen


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
        """Chosen on queries of validation events; read from the file where model and data are the same."""
        key = self._key()
        if self._kept is not None and self._kept.is_file():
            found = json.loads(self._kept.read_text("utf-8"))
            if found["key"] == key:
                return SearchSettings.model_validate(found["settings"])
        subject = self.subject
        settings = fit_search(
            self.plain_searcher,
            labelled(self.subject.texts("validation"), self._encode, self._owners),
            encode=self._encode,
            personal_task=self.personal_task(),
            seed=subject.config.train.seed,
            progress=self.progress,
        )
        if self._kept is not None:
            values = {"key": key, "settings": settings.model_dump(mode="json")}
            replace_text(self._kept, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
        return settings

    def personal_task(self) -> PersonalTask:
        """Queries of validation events, each with a recommender that has not learned it (`Fitted.held_out`).

        These are the words of the validation reviews. Where there are fewer than 50, the words of other
        people's reviews of validation items are added, each searched without that review: a person seeks an
        item that they chose next, in words that are not theirs.
        """
        subject, searcher = self.subject, self.plain_searcher
        asked = subject.texts("validation")
        borrowed, left = subject.borrowed() if len(asked) < MIN_QUERIES else ([], None)
        if borrowed and left is not None:
            searchable = subject.searchable
            features = build_item_features(
                searchable.dataset, searchable.vectors, train=subject.split.statistics, reviews=left
            )
            searchable = replace(searchable, features=features, reviews=left)
            searcher = build_searcher(
                searchable, self._heads, SearchSettings(), encode_words=self._encode_words
            )
        labelled_queries = labelled([*asked, *borrowed], self._encode, self._owners)
        return PersonalTask(
            folds=tuple(
                (
                    searcher.with_personalizer(personalizer(fold.recommender, subject.modalities)),
                    [each for each in labelled_queries if fold.includes(each.group)],
                )
                for fold in subject.held_out
            ),
            note=f"The words of {len(borrowed)} of the queries are of other people's reviews"
            * bool(borrowed),
        )

    def _key(self) -> str:
        """Changes with everything that the settings depend on."""
        subject = self.subject
        config = subject.config
        read = (
            METHOD,
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
        return build_searcher(
            subject.searchable,
            self._heads,
            SearchSettings(),
            personal,
            encode_words=self._encode_words,
        )

    def evaluate(self) -> SearchEvaluation | None:
        """Search for the items of held-out reviews by the words of these; None where there are none.

        Without the latency, so that a repeated evaluation has equal results.
        """
        config = self.subject.config
        texts = drawn(
            self.subject.texts("test"),
            config.evaluate.search_queries,
            np.random.default_rng(config.train.seed),
        )
        if not texts:
            return None
        description = "Known items: words of held-out reviews without the title; the reviewed item is sought."
        found = self._evaluated(graded(labelled(texts, self._encode, self._owners)), description)
        return replace(found, milliseconds={})

    def evaluate_files(self, files: QueryFiles, name: str) -> Searched:
        """Search for the queries of `files`, and what of them was left out."""
        queries, notes = graded_queries(
            files,
            self.subject.searchable.features.item_ids,
            lambda clauses: self.encoder.encode(clauses).query,
            self.subject.histories_before_test.get,
            self._owners,
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

    def _encode(self, text: str) -> EncodedQuery:
        return self.encoder.encode([TextClause(name="query", text=text)]).query

    @cached_property
    def _owners(self) -> Owners:
        return Owners(self.subject.searchable.features.owners)

    @cached_property
    def _encode_words(self) -> WordEncoder | None:
        return word_encoder(self._directories)

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
