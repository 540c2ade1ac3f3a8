"""Lists that the retriever really returned for users whose later events are known: what a ranker learns from.

Legend: B users, K candidates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.batches import Bools, Floats, History, Ints
from recsys.candidates import Candidates, ItemArrays
from recsys.ids import PAD
from recsys.metrics import IdLists, at_k, means
from recsys.recommender import Recommender
from recsys.reranking import best_first

EVIDENCE = ("source_scores", "source_ranks", "candidate_context")  # in the order in which a ranker reads it
BATCH_USERS = 64
LISTS_WITH_NEW = 0.3  # of the training lists
SHOWN_AS_NEW = 0.5  # of the candidates of such a list
SELECTION_K = 10


def selection_ndcg(ranked_BK: Ints, truth: IdLists) -> float:
    """Mean NDCG@10, by which epochs and shares are chosen; a shorter list misses what it lacks."""
    missing = max(SELECTION_K - ranked_BK.shape[1], 0)
    padded_BK = np.pad(ranked_BK, ((0, 0), (0, missing)), constant_values=PAD)
    return means(at_k(padded_BK, truth, [SELECTION_K]))[f"ndcg@{SELECTION_K}"]


@dataclass(frozen=True, kw_only=True)
class RankingTask:
    """Users whose later events are known: a history, and the items that followed it."""

    histories: Sequence[History]
    truth: Sequence[Ints]


@dataclass(frozen=True, kw_only=True)
class RankedLists:
    """What the retriever returned for a task's users, and which of it was right."""

    recommender: Recommender
    histories: Sequence[History]
    user_BD: Floats
    candidates: Candidates
    truth: IdLists
    label_BK: Bools  # padding is never right

    @classmethod
    def of(cls, recommender: Recommender, task: RankingTask, num_candidates: int) -> "RankedLists":
        users, found = [], []
        for start in range(0, len(task.histories), BATCH_USERS):
            histories = task.histories[start : start + BATCH_USERS]
            users.append(recommender.embed(histories))
            found.append(recommender.candidates(users[-1], histories, num_candidates))
        candidates = Candidates.joined(found)
        truth = IdLists.from_lists(task.truth)
        return cls(
            recommender=recommender,
            histories=task.histories,
            user_BD=np.concatenate(users),
            candidates=candidates,
            truth=truth,
            label_BK=truth.contain(candidates.items),
        )

    def joined(self, other: "RankedLists") -> "RankedLists":
        """The lists of both."""
        return RankedLists(
            recommender=self.recommender,
            histories=[*self.histories, *other.histories],
            user_BD=np.concatenate([self.user_BD, other.user_BD]),
            candidates=Candidates.joined([self.candidates, other.candidates]),
            truth=IdLists.joined([self.truth, other.truth]),
            label_BK=np.concatenate([self.label_BK, other.label_BK]),
        )

    @property
    def has_target(self) -> Bools:
        return np.any(self.label_BK, axis=1)

    def batches(self, rows: Ints) -> Iterator[tuple[Ints, dict[str, npt.NDArray[Any]]]]:
        """Rows and the ranker's inputs for them."""
        for part in _parts(rows):
            histories = [self.histories[row] for row in part]
            yield part, self.recommender.rank_inputs(histories, self.user_BD[part], self.candidates.of(part))

    def evidence(self) -> Tensor:
        """What the sources say of the candidates of lists with a target. Shape [candidates, E]."""
        rows = np.flatnonzero(self.has_target)
        parts = [
            np.concatenate([inputs[name] for name in EVIDENCE], axis=-1)[self.candidates.items[part] != PAD]
            for part, inputs in self.batches(rows)
        ]
        return torch.from_numpy(np.concatenate(parts))

    def training_batches(
        self, newcomers: ItemArrays | None, rng: np.random.Generator
    ) -> Iterator[tuple[Ints, Floats, dict[str, npt.NDArray[Any]]]]:
        """Rows with a target in random order, their cosines and inputs, some candidates shown as new."""
        rows = rng.permutation(np.flatnonzero(self.has_target))
        if newcomers is None:
            yield from ((part, self.candidates.cosines[part], inputs) for part, inputs in self.batches(rows))
            return
        for part in _parts(rows):
            yield part, *self._with_new(part, newcomers, rng)

    def _with_new(
        self, rows: Ints, newcomers: ItemArrays, rng: np.random.Generator
    ) -> tuple[Floats, dict[str, npt.NDArray[Any]]]:
        candidate_BK, user_BD = self.candidates.items[rows], self.user_BD[rows]
        is_shown_BK = (rng.random(candidate_BK.shape) < SHOWN_AS_NEW) & (candidate_BK != PAD)
        as_new_BK = is_shown_BK & (rng.random((len(rows), 1)) < LISTS_WITH_NEW)
        new_cosine_BK = np.einsum("bd,bkd->bk", user_BD, newcomers.vectors[candidate_BK])
        cosine_BK = np.where(as_new_BK, new_cosine_BK, self.candidates.cosines[rows]).astype(np.float32)
        shown = replace(self.candidates.of(rows), cosines=cosine_BK)
        histories = [self.histories[row] for row in rows]
        inputs = self.recommender.rank_inputs(histories, user_BD, shown, as_new_BK=as_new_BK)
        where, item = as_new_BK, candidate_BK[as_new_BK]
        inputs["candidate_vector"][where] = newcomers.vectors[item]
        inputs["candidate_tokens"][where] = newcomers.tokens[item]
        inputs["candidate_token_mask"][where] = newcomers.token_mask[item]
        return cosine_BK, inputs

    def ndcg(self, ranker_BK: npt.NDArray[np.floating[Any]] | float) -> float:
        """Mean NDCG@10 of the lists in the order of the retriever's score plus `ranker_BK`."""
        candidate_BK = self.candidates.items
        score_BK = self.recommender.retriever_score(candidate_BK, self.candidates.cosines) + ranker_BK
        ranked_BK = np.take_along_axis(candidate_BK, best_first(score_BK, candidate_BK), 1)
        return selection_ndcg(ranked_BK, self.truth)


def _parts(rows: Ints) -> Iterator[Ints]:
    return (rows[start : start + BATCH_USERS] for start in range(0, len(rows), BATCH_USERS))
