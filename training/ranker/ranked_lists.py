"""Retrieved lists of users with their held-out items: the training data of the ranker.

Legend: B users, K candidates, E candidate features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.metrics import Doubles, IdLists, at_k
from recsys.retrieval import Candidates, Recommender, best_first

CANDIDATE_FEATURES = ("source_scores", "source_ranks", "candidate_context")  # in the ranker's order
BATCH_USERS = 64
SELECTION_K = 10


def selection_ndcg(ranked_BK: Ints, ground_truth: IdLists) -> float:
    """Mean NDCG@10, by which choices are made. Shorter lists are padded without hits."""
    return float(selection_ndcg_by_user(ranked_BK, ground_truth).mean())


def selection_ndcg_by_user(ranked_BK: Ints, ground_truth: IdLists) -> Doubles:
    """As `selection_ndcg`, for each user. Shape [B]."""
    missing = max(SELECTION_K - ranked_BK.shape[1], 0)
    padded_BK = np.pad(ranked_BK, ((0, 0), (0, missing)), constant_values=PAD)
    return at_k(padded_BK, ground_truth, [SELECTION_K])[f"ndcg@{SELECTION_K}"]


@dataclass(frozen=True, kw_only=True)
class RankingTask:
    """Users with a history and the held-out items that followed it."""

    histories: Sequence[History]
    ground_truth: Sequence[Ints]
    exclude_seen: bool = True  # whether the items that a history has seen are left out of its list


@dataclass(frozen=True, kw_only=True)
class RankedLists:
    """The retrieved lists of a task's users, with a label for each candidate in the ground truth."""

    recommender: Recommender
    histories: Sequence[History]
    user_BD: Floats
    candidates: Candidates
    ground_truth: IdLists
    label_BK: Bools  # whether a candidate is in the ground truth; False for padding

    @classmethod
    def of(cls, recommender: Recommender, task: RankingTask) -> "RankedLists":
        users, found = [], []
        for start in range(0, len(task.histories), BATCH_USERS):
            histories = task.histories[start : start + BATCH_USERS]
            users.append(recommender.embed(histories))
            found.append(recommender.candidates(users[-1], histories, exclude_seen=task.exclude_seen))
        candidates = Candidates.joined(found)
        ground_truth = IdLists.from_lists(task.ground_truth)
        return cls(
            recommender=recommender,
            histories=task.histories,
            user_BD=np.concatenate(users),
            candidates=candidates,
            ground_truth=ground_truth,
            label_BK=ground_truth.contain(candidates.items),
        )

    def joined(self, other: "RankedLists") -> "RankedLists":
        """The lists of both."""
        return RankedLists(
            recommender=self.recommender,
            histories=[*self.histories, *other.histories],
            user_BD=np.concatenate([self.user_BD, other.user_BD]),
            candidates=Candidates.joined([self.candidates, other.candidates]),
            ground_truth=IdLists.joined([self.ground_truth, other.ground_truth]),
            label_BK=np.concatenate([self.label_BK, other.label_BK]),
        )

    @cached_property
    def rankable_BK(self) -> Bools:
        """Candidates that the ranker orders: warm items. Shape [B, K]."""
        return self.recommender.is_rankable(self.candidates.items)

    @property
    def has_target(self) -> Bools:
        """Lists with a rankable candidate of the ground truth; the others have no gradient. Shape [B]."""
        return np.any(self.label_BK & self.rankable_BK, axis=1)

    def batches(self, rows: Ints) -> Iterator[tuple[Ints, dict[str, npt.NDArray[Any]]]]:
        """Rows and the ranker's inputs for them."""
        for part in _parts(rows):
            histories = [self.histories[row] for row in part]
            yield part, self.recommender.rank_inputs(histories, self.user_BD[part], self.candidates.of(part))

    def candidate_features(self) -> Tensor:
        """Features of the rankable candidates of all lists with a target. Shape [candidates, E]."""
        rows = np.flatnonzero(self.has_target)
        parts = [
            np.concatenate([inputs[name] for name in CANDIDATE_FEATURES], axis=-1)[self.rankable_BK[part]]
            for part, inputs in self.batches(rows)
        ]
        return torch.from_numpy(np.concatenate(parts))

    def training_batches(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[Ints, dict[str, npt.NDArray[Any]]]]:
        """Rows with a target and the ranker's inputs for them, in random order."""
        return self.batches(rng.permutation(np.flatnonzero(self.has_target)))

    def ndcg(self, ranker_BK: npt.NDArray[np.floating[Any]]) -> Doubles:
        """NDCG@10 of each list in the order of the retriever's score plus `ranker_BK`. Shape [B]."""
        return selection_ndcg_by_user(self.ordered(ranker_BK), self.ground_truth)

    def ordered(self, ranker_BK: npt.NDArray[np.floating[Any]]) -> Ints:
        """The candidates, best first. Shape [B, K]."""
        candidate_BK = self.candidates.items
        score_BK = self.recommender.retriever_score(self.candidates.cosines) + ranker_BK.astype(np.float32)
        return np.take_along_axis(candidate_BK, best_first(score_BK, candidate_BK), 1)


def _parts(rows: Ints) -> Iterator[Ints]:
    return (rows[start : start + BATCH_USERS] for start in range(0, len(rows), BATCH_USERS))
