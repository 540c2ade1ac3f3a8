"""A trained system with a group of modalities altered at test time; the system itself is not modified.

Items: the item tower's inputs of the group's tokens are altered (for the id its embedding, for a category its
pooled embedding), the catalogue is embedded again and indexed. The ranker and the histories read the altered
vectors and tokens. The cold-start head reads category values instead of embeddings; shuffled values are
exchanged, absent and noisy ones are unknown. The cold ranker finds the neighbours by the altered content,
with the same weights. Candidate sources of the ranker do not change.
Histories: where the user tower reads reviews, the vectors of the group's review modalities are altered
review by review. An event has one text vector: the written review's, or else the spoken review's; with
written reviews absent, spoken ones take their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from features.dataset import Dataset, MediaVectors, MediumVectors
from features.inputs import HistoryBuilder, ReviewVectors
from features.splits import Split
from recsys.arrays import Bools
from recsys.columns import Columns
from recsys.config import Config
from recsys.history import History
from recsys.item_features import ItemArrays
from recsys.models import EMBED_ROWS, Retriever
from recsys.retrieval import ColdRanker
from training.cold_ranker import make_cold_ranker
from training.evaluation import MODEL, System
from training.fitting import Fitted, make_recommender
from training.knockouts.alteration import KINDS, Kind, Pair, altered_media, altered_pairs
from training.knockouts.groups import ModalityGroup, groups_of
from training.knockouts.kept_sources import KeptCandidates

_ITEMS, _REVIEWS = 0, 1  # seeds of two independent random streams
_VALUES = "values of "


@dataclass(frozen=True)
class KnockoutSubject:
    """The trained system of the knock-outs, with the data that it was fitted on."""

    fitted: Fitted
    dataset: Dataset
    vectors: MediaVectors
    split: Split
    config: Config

    @cached_property
    def groups(self) -> tuple[ModalityGroup, ...]:
        return groups_of(self.model.spec)

    @cached_property
    def histories(self) -> Mapping[str, History]:
        """Histories before the test, unaltered."""
        return self.split.before_test(self.fitted.builder)

    @cached_property
    def sources(self) -> tuple[KeptCandidates, ...]:
        """The candidate sources of every altered system: their candidates are those of the full system."""
        return tuple(KeptCandidates(source) for source in self.fitted.recommender.sources)

    @property
    def seed(self) -> int:
        return self.config.train.seed

    @property
    def model(self) -> Retriever:
        return self.fitted.retriever.model

    def full(self) -> System:
        """The system with nothing knocked out."""
        return self._system(MODEL, None, self.histories)

    def without(self, group: ModalityGroup, kind: Kind) -> System:
        """The system with `group` altered; its name is "<group> <kind>"."""
        drawn = [self.seed, KINDS.index(kind)]
        values = self._values(group) if kind == "shuffled" else {}
        rng = np.random.default_rng([*drawn, _ITEMS])
        altered = altered_pairs({**self.pairs(group), **values}, kind, rng)
        tensors = {
            name: (torch.from_numpy(array), torch.from_numpy(has_N))
            for name, (array, has_N) in altered.items()
        }
        items = self.model.item_arrays(
            instead={token: tensors[token] for token in group.tokens},
            values={name.removeprefix(_VALUES): tensors[name][0] for name in values},
        )
        histories = self._histories(group, kind, np.random.default_rng([*drawn, _REVIEWS]))
        return self._system(f"{group.name} {kind}", items, histories, self._cold_ranker(group, altered))

    def num_items(self, group: ModalityGroup) -> int:
        """Items that have any of the group's tokens."""
        return int(np.logical_or.reduce([has_N for _, has_N in self.pairs(group).values()]).sum())

    def num_reviews(self, group: ModalityGroup) -> int:
        """Readable reviews with a vector of the group; 0 where no history is altered."""
        media = self._media(group)
        owners = [medium.owner[self._readable_R[medium.owner]] for medium in media.values()]
        return len(np.unique(np.concatenate(owners))) if owners else 0

    @torch.no_grad()
    def pairs(self, group: ModalityGroup) -> dict[str, Pair]:
        """Inputs of the item tower for the group's tokens, of the whole catalogue."""
        parts = [
            self.model.item_inputs(rows) for rows in torch.arange(self.model.features.size).split(EMBED_ROWS)
        ]
        return {
            token: (
                torch.cat([part.pair(token)[0] for part in parts]).float().cpu().numpy(),
                torch.cat([part.pair(token)[1] for part in parts]).cpu().numpy(),
            )
            for token in group.tokens
        }

    def _values(self, group: ModalityGroup) -> dict[str, Pair]:
        """Ids of the group's category fields, which the cold-start head reads."""
        ids = self.model.category_ids
        return {
            f"{_VALUES}{field}": (ids[field].cpu().numpy(), (ids[field] > 0).any(1).cpu().numpy())
            for field in group.tokens
            if field in ids
        }

    def _cold_ranker(self, group: ModalityGroup, altered: Mapping[str, Pair]) -> ColdRanker | None:
        """The cold ranker over the altered content; absent and noisy category values are unknown."""
        features = self.fitted.features
        dense, present, categories = dict(features.dense), dict(features.present), dict(features.categories)
        for token in group.tokens:
            if token in features.dense:
                dense[token], present[token] = altered[token]
            elif token in features.categories:
                ids_NC = features.categories[token]
                shuffled = altered.get(f"{_VALUES}{token}")
                categories[token] = (
                    np.zeros_like(ids_NC) if shuffled is None else shuffled[0].astype(np.int64)
                )
        altered_features = replace(features, dense=dense, present=present, categories=categories)
        return make_cold_ranker(altered_features, self.fitted.cold_ranker, self.config.model.cold_start)

    def _system(
        self,
        name: str,
        items: ItemArrays | None,
        histories: Mapping[str, History],
        cold_ranker: ColdRanker | None = None,
    ) -> System:
        fitted = self.fitted
        recommender = (
            fitted.recommender
            if items is None
            else make_recommender(
                self.model,
                self.config,
                fitted.ranker,
                items=items,
                sources=self.sources,
                without_events=fitted.without_events,
                cold_ranker=cold_ranker,
                cold_ranks=fitted.recommender.settings.cold_ranks,
            )
        )
        return System.of(fitted, name, recommender, histories, self.config.evaluate)

    def _histories(self, group: ModalityGroup, kind: Kind, rng: np.random.Generator) -> Mapping[str, History]:
        media, builder = self._media(group), self.fitted.builder
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

    def _media(self, group: ModalityGroup) -> dict[str, MediumVectors]:
        """The group's vectors of reviews; none where the user tower reads no reviews."""
        if self.fitted.builder.reviews is None:
            return {}
        return {name: self.vectors.reviews[name] for name in group.tokens if name in self.vectors.reviews}

    @cached_property
    def _readable_R(self) -> Bools:
        rows = self.split.reviews[Columns.ROW].implode()
        readable: Bools = self.dataset.reviews[Columns.ROW].is_in(rows).to_numpy()
        return readable
