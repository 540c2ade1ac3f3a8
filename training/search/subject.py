"""`SearchSubject`: a fitted model, the items that it searches, and queries with known answers for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import polars as pl

from features.dataset import Dataset, MediaVectors
from features.inputs import HistoryBuilder
from features.splits import Split
from recsys.columns import Columns
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.retrieval import Recommender
from training.fitting import Fitted, HeldOutUsers
from training.search.build import Searchable
from training.search.known_item import KnownItemQuery, borrowed_queries, review_queries


@dataclass(frozen=True, kw_only=True)
class SearchSubject:
    """A fitted model, and what the split allows its search to read."""

    searchable: Searchable
    digest: str  # of the model
    split: Split
    config: Config
    recommender: Recommender
    held_out: tuple[HeldOutUsers, ...]  # the validation users, who choose the personal share
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
            held_out=fitted.held_out(),
            modalities=tuple(fitted.retriever.model.spec.token_names),
            histories=histories,
            builder=fitted.builder,
        )

    def texts(self, part: Literal["validation", "test"]) -> list[KnownItemQuery]:
        """Words of the reviews of that part's events, with histories that end before it."""
        item_ids, is_test = self.searchable.features.item_ids, part == "test"
        events = self.split.test
        if not is_test:  # of a log on disk, only these pairs are in memory
            by_user = self.split.validation_items(item_ids)
            pairs = [(user, item_ids.external[at - NUM_RESERVED]) for user in by_user for at in by_user[user]]
            events = pl.DataFrame(pairs, {Columns.USER: pl.String, Columns.ITEM: pl.String}, orient="row")
        histories = self.histories_before_test if is_test else self.split.before_validation(self.builder)
        return review_queries(
            self.searchable.dataset,
            events,
            item_ids,
            readable=self.searchable.reviews,
            histories=histories,
            transcripts=self.searchable.vectors.transcripts,
            seed=self.config.train.seed,
        )

    def borrowed(self) -> tuple[list[KnownItemQuery], pl.DataFrame]:
        """Validation items in other people's words, and the readable reviews without these words."""
        searchable = self.searchable
        return borrowed_queries(
            searchable.dataset,
            self.split.validation_items(searchable.features.item_ids),
            searchable.features.item_ids,
            readable=searchable.reviews,
            histories=self.split.before_validation(self.builder),
            transcripts=searchable.vectors.transcripts,
            seed=self.config.train.seed,
        )

    @cached_property
    def histories_before_test(self) -> Mapping[str, History]:
        """Those before the test."""
        known = self.histories
        return self.split.before_test(self.builder) if known is None else known
