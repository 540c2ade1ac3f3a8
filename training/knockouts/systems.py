"""A trained system with something knocked out at test time; the trained one is read and never written.

Items: what the item tower reads of the knocked-out tokens is altered (of the id its embedding, of a category
its pooled embedding, and of new items, which are placed by its values, those: exchanged, or else unknown),
the catalogue embedded anew, the index built of it; so the ranker, too, reads altered vectors and tokens, and
a history is read through them. Candidate sources that were fitted on events alone stay as they are.
Histories: where the user tower reads the reviews that users left, the vectors of the knocked-out review
modalities are altered review by review, too. An event has one text vector: what was written, and where
nothing was, what was said; with the written ones absent, the spoken ones take their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from features.dataset.tables import (
    Dataset,
    MediaVectors,
    MediumVectors,
)
from features.inputs.histories import HistoryBuilder, ReviewVectors
from features.splits.split import Split
from recsys.arrays import Bools
from recsys.columns import Columns
from recsys.config import Config
from recsys.history import History
from recsys.models.retriever import EMBED_ROWS, Retriever
from recsys.retrieval.candidate_features import ItemArrays
from training.evaluation.system import MODEL, System
from training.fitting.fit import Fitted
from training.fitting.torch_recommender import make_recommender
from training.knockouts.alteration import KINDS, Kind, Pair, altered_media, altered_pairs
from training.knockouts.targets import Target, targets_of

_ITEMS, _REVIEWS = 0, 1  # so that the two are drawn apart
_VALUES = "values of "


@dataclass(frozen=True)
class Patient:
    """What knock-outs are made of: a fit, and what it was made of."""

    fitted: Fitted
    dataset: Dataset
    vectors: MediaVectors
    split: Split
    config: Config

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        return targets_of(self.model.spec)

    @cached_property
    def histories(self) -> Mapping[str, History]:
        """As the trained system reads them before the test."""
        return self.split.before_test(self.fitted.builder)

    @property
    def seed(self) -> int:
        return self.config.train.seed

    @property
    def model(self) -> Retriever:
        return self.fitted.retriever.model

    def whole(self) -> System:
        """With nothing knocked out."""
        return self._system(MODEL, None, self.histories)

    def without(self, target: Target, kind: Kind) -> System:
        """With `target` altered; its name is "<target> <kind>"."""
        drawn = [self.seed, KINDS.index(kind)]
        values = self._values(target) if kind == "shuffled" else {}
        rng = np.random.default_rng([*drawn, _ITEMS])
        tensors = {
            name: (torch.from_numpy(array), torch.from_numpy(has_N))
            for name, (array, has_N) in altered_pairs({**self.pairs(target), **values}, kind, rng).items()
        }
        items = self.model.item_arrays(
            instead={token: tensors[token] for token in target.tokens},
            values={name.removeprefix(_VALUES): tensors[name][0] for name in values},
        )
        histories = self._histories(target, kind, np.random.default_rng([*drawn, _REVIEWS]))
        return self._system(f"{target.name} {kind}", items, histories)

    def num_items(self, target: Target) -> int:
        """Items that have any of the target's tokens."""
        return int(np.logical_or.reduce([has_N for _, has_N in self.pairs(target).values()]).sum())

    def num_reviews(self, target: Target) -> int:
        """Reviews with a vector of the target that may stand in a history; 0 where no history is altered."""
        media = self._media(target)
        owners = [medium.owner[self._readable_R[medium.owner]] for medium in media.values()]
        return len(np.unique(np.concatenate(owners))) if owners else 0

    @torch.no_grad()
    def pairs(self, target: Target) -> dict[str, Pair]:
        """What the item tower reads of the target's tokens, of the whole catalogue."""
        parts = [
            self.model.item_inputs(rows) for rows in torch.arange(self.model.features.size).split(EMBED_ROWS)
        ]
        return {
            token: (
                torch.cat([part.pair(token)[0] for part in parts]).float().cpu().numpy(),
                torch.cat([part.pair(token)[1] for part in parts]).cpu().numpy(),
            )
            for token in target.tokens
        }

    def _values(self, target: Target) -> dict[str, Pair]:
        """Ids of the target's category fields, by which new items are placed."""
        ids = self.model.category_ids
        return {
            f"{_VALUES}{field}": (ids[field].cpu().numpy(), (ids[field] > 0).any(1).cpu().numpy())
            for field in target.tokens
            if field in ids
        }

    def _system(self, name: str, items: ItemArrays | None, histories: Mapping[str, History]) -> System:
        fitted = self.fitted
        recommender = (
            fitted.recommender
            if items is None
            else make_recommender(
                self.model,
                self.config,
                fitted.ranker,
                items=items,
                sources=fitted.recommender.sources,
                without_events=fitted.without_events,
            )
        )
        return System(
            name,
            recommender,
            histories,
            empty=fitted.builder.empty,
            exclude_seen=self.config.evaluate.exclude_seen,
        )

    def _histories(self, target: Target, kind: Kind, rng: np.random.Generator) -> Mapping[str, History]:
        media, builder = self._media(target), self.fitted.builder
        if not media:
            return self.histories
        others = {name: medium for name, medium in self.vectors.reviews.items() if name not in media}
        reviews = others | altered_media(media, self._readable_R, kind, rng)
        altered = HistoryBuilder(
            self.dataset,
            item_ids=builder.item_ids,
            maps=builder.maps,
            reviews=ReviewVectors.of(replace(self.vectors, reviews=reviews)),
            allowed_reviews=self.split.reviews,
        )
        return self.split.before_test(altered)

    def _media(self, target: Target) -> dict[str, MediumVectors]:
        """The target's vectors of reviews, where the user tower reads reviews at all."""
        if self.fitted.builder.reviews is None:
            return {}
        return {name: self.vectors.reviews[name] for name in target.tokens if name in self.vectors.reviews}

    @cached_property
    def _readable_R(self) -> Bools:
        rows = self.split.reviews[Columns.ROW].implode()
        readable: Bools = self.dataset.reviews[Columns.ROW].is_in(rows).to_numpy()
        return readable
