"""What a model has to beat: chance, popularity, and matrix factorisation. The home of `implicit`.

Every baseline answers by `TopK` of training/evaluation.py and is fitted on training positives only.
`seen` is each user's seen items, left out of the answers; None leaves nothing out.
"""

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.tables import Split
from features.views import view_of
from recsys.batches import Bools, Floats, Ints, ItemFeatures
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.ids import NUM_RESERVED
from recsys.metrics import IdLists
from recsys.progress import Progress, silent
from training.evaluation import evaluate, seen_lists, top_k

logger = logging.getLogger(__name__)

Seen = Mapping[str, Ints] | None


class Random:
    """Chance level: a seeded random order for each user, whoever else is asked along."""

    name = "random"

    def __init__(self, items: ItemFeatures, *, seen: Seen, seed: int = 0) -> None:
        self._num_items = items.size
        self._seen = seen
        self._seed = seed

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        score_UN = np.empty((len(users), self._num_items), np.float32)
        for row, user in enumerate(users):
            rng = np.random.default_rng([self._seed, zlib.crc32(user.encode())])
            score_UN[row] = rng.random(self._num_items, np.float32)
        return top_k(score_UN, k, allowed=allowed, seen=_seen(self._seen, users))


class Popularity:
    """The same order for all: by number of positive training events, ties by id."""

    name = "popularity"

    def __init__(self, split: Split, items: ItemFeatures, *, seen: Seen) -> None:
        self.count_N = view_of(split).facts.item_counts(items.item_ids)[:, 1]
        self.count_N[:NUM_RESERVED] = 0
        self._seen = seen
        # A place instead of a count: no two places tie, so the choice of k is quick.
        self._score_N = np.empty(items.size, np.float32)
        self._score_N[np.argsort(-self.count_N, kind="stable")] = -np.arange(items.size)

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        score_UN = np.repeat(self._score_N[None], len(users), axis=0)
        return top_k(score_UN, k, allowed=allowed, seen=_seen(self._seen, users))


@dataclass(frozen=True, kw_only=True)
class ALSSettings:
    """Hyper-parameters of Hu, Koren and Volinsky 2008; confidence = 1 + alpha * events of the pair."""

    factors: int = 128
    regularization: float = 0.01
    alpha: float = 1.0
    iterations: int = 15
    seed: int = 0


# On MovieLens-small and 1M regularization of 100, 256 factors and alpha of 10 lost; the last is kept for
# data whose events say more of what is liked than films watched once do.
ALS_CANDIDATES = (
    *(
        ALSSettings(factors=factors, regularization=regularization)
        for factors in (64, 128)
        for regularization in (0.01, 1.0, 10.0)
    ),
    ALSSettings(factors=64, regularization=1.0, alpha=10.0),
)


class ALS:
    """Implicit ALS. Items without a positive training event are never recommended.

    The factors of items come from training alone; the factors of a user are solved anew from training
    and validation positives when asked, so that all models know the same history at test time. A user
    without any gets no items.
    """

    name = "als"

    def __init__(
        self,
        split: Split,
        items: ItemFeatures,
        *,
        seen: Seen,
        settings: ALSSettings = ALSSettings(),
        num_threads: int = 0,
    ) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        self.settings = settings
        self._seen = seen
        train = split.train.filter(Columns.POSITIVE)
        if train.is_empty():
            raise DataError("no positive training event: there is nothing to factorise")
        self._known_N = np.zeros(items.size, np.bool_)
        self._known_N[items.item_ids.encode(train[Columns.ITEM].unique())] = True
        self._known_N[:NUM_RESERVED] = False
        _, train_UN = _counts(train, items, self._known_N)
        history = pl.concat([train, split.validation.filter(Columns.POSITIVE)])
        self._row_of, self._history_UN = _counts(history, items, self._known_N)
        with threadpool_limits(1, "blas"):  # its own threads and those of BLAS fight for the cores
            self._model = AlternatingLeastSquares(
                factors=settings.factors,
                regularization=settings.regularization,
                alpha=settings.alpha,
                iterations=settings.iterations,
                random_state=settings.seed,
                num_threads=num_threads,
            )
            self._model.fit(train_UN, show_progress=False)
        self._model.item_factors[~self._known_N] = 0  # left at their random start otherwise

    @property
    def item_factors(self) -> Floats:
        """Shape [N, factors]; zeros for items without a positive training event."""
        factors: Floats = self._model.item_factors
        return factors

    def user_factors(self, users: Sequence[str]) -> Floats:
        """Solved from the users' histories; zeros for a user without one. Shape [U, factors]."""
        history_UN = self._history_of(users)
        with threadpool_limits(1, "blas"):
            factors: Floats = self._model.recalculate_user(np.arange(len(users)), history_UN)
        return factors

    def score(self, users: Sequence[str]) -> Floats:
        """Dot products; -inf for items without a positive training event. Shape [U, N]."""
        score_UN = self.user_factors(users) @ self.item_factors.T
        score_UN[:, ~self._known_N] = -np.inf
        return score_UN

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        score_UN = self.score(users)
        score_UN[np.diff(self._history_of(users).indptr) == 0] = -np.inf
        return top_k(score_UN, k, allowed=allowed, seen=_seen(self._seen, users))

    def _history_of(self, users: Sequence[str]) -> csr_matrix:
        """Histories on known items, an empty row for a user without one."""
        nobody = len(self._row_of)
        return self._history_UN[[self._row_of.get(user, nobody) for user in users]]


def tune_als(
    split: Split,
    items: ItemFeatures,
    *,
    candidates: Sequence[ALSSettings] = ALS_CANDIDATES,
    num_threads: int = 0,
    progress: Progress = silent,
) -> ALSSettings:
    """The candidate of the best validation NDCG@10, the first of equals.

    Fitted on training positives, asked for validation positives on items with training events; the test
    plays no part. Raises `DataError` where validation holds none of those.
    """
    inner = replace(split, test=split.validation, validation=split.validation.clear())
    history = split.train.group_by(Columns.USER).agg(Columns.ITEM)
    seen = {user: items.item_ids.encode(names) for user, names in history.iter_rows()}
    scores: dict[ALSSettings, float] = {}
    for settings in candidates:
        model = ALS(inner, items, seen=seen, settings=settings, num_threads=num_threads)
        warm = evaluate([model], split=inner, items=items, seen=seen, ks=(10,)).views["warm"]
        if not warm.num_users:
            raise DataError("no validation event on an item with training events: give ALS its settings")
        scores[settings] = warm.models[model.name]["ndcg@10"].value
        logger.info("ALS %s: validation NDCG@10 %.4f", settings, scores[settings])
        progress("tune als", len(scores), len(candidates), f"NDCG@10 {max(scores.values()):.4f}")
    return max(scores, key=scores.__getitem__)


def _counts(events: pl.DataFrame, items: ItemFeatures, known_N: Bools) -> tuple[dict[str, int], csr_matrix]:
    """Rows of the users, and how often each had each known item, [U + 1, N]; the last row is empty."""
    row_of = {user: row for row, user in enumerate(events[Columns.USER].unique().sort())}
    row = np.array([row_of[user] for user in events[Columns.USER]], np.int64)
    item = items.item_ids.encode(events[Columns.ITEM])
    keep = known_N[item]
    pairs = (row[keep], item[keep])
    return row_of, csr_matrix((np.ones(keep.sum(), np.float32), pairs), shape=(len(row_of) + 1, items.size))


def _seen(seen: Seen, users: Sequence[str]) -> IdLists | None:
    return None if seen is None else seen_lists(seen, users)
