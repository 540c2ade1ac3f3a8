"""The expected cost of cold ranks for warm items and their expected gain for cold items, on validation.

Both are reported, and `model.cold_ranks = "auto"` chooses a pattern by them. The cost is measured on the
lists of the full system. For a depth k of 10 and of 20, let p_r be the mean over validation users of [the
r-th warm item is a hit] / DCG of an ideal list of k. A cold item at rank s moves all warm items from rank s
on down by one rank. The expected

    warm NDCG@k = sum of p_r / log2(1 + rank of the r-th warm item) over the warm items in the first k ranks

The gain cannot be measured on cold items, because these have no event before the test. It is measured on
pseudo-cold items: warm items whose vectors come from their content, by a regression on other items. Let q_j
be the mean over users of [the j-th pseudo-cold item is a hit] / number of pseudo-cold items that the user
chose. The expected

    cold Recall@k = sum of q_j over j = 1 ... number of cold items in the first k ranks

"auto" takes the pattern with the largest sum of cold Recall@5, @10 and @20 of all whose expected loss of warm
NDCG@10 and of NDCG@20, each with its standard error over users added, is at most `model.cold_budget`. Within
the first 5 ranks, the next 5 and the last 10, a number of cold items costs least at the last ranks, so that
only these patterns are compared.

Few users have a hit at any one rank. p_r and q_j are therefore made non-increasing (isotonic regression).

Legend: U users, N items, D width, K ranks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED
from recsys.metrics import Doubles, IdLists, standard_error
from recsys.retrieval import cold_positions, top_k
from training.cold_start.validation_users import ValidationUsers

K = 20
MAX_SHARE = 0.2  # of the warm items; at most as many are pseudo-cold, so that enough warm items are left
MAX_USERS = 2000
MIN_HITS = 50  # of warm items on validation; with fewer "auto" has nothing to weigh and takes FEW_HITS
FEW_HITS = (10, 17, 19)
# Patterns that the report compares the configured one with.
ALTERNATIVES: tuple[tuple[int, ...], ...] = (
    (), (20,), (17, 19), (10, 17, 19), (5, 10, 15, 20), (3, 6, 9, 12, 15, 18), tuple(range(2, 21, 2)),
)  # fmt: skip

_DISCOUNT_K = 1.0 / np.log2(2.0 + np.arange(K))


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A pattern of cold ranks with its expected metrics on validation."""

    cold_ranks: tuple[int, ...]
    warm_ndcg: float  # NDCG@20 of warm items
    cold_recall: float  # Recall@20 of cold items
    warm_ndcg_10: float = 0.0
    cold_recall_10: float = 0.0
    cold_recall_5: float = 0.0


@dataclass(frozen=True, kw_only=True)
class WarmColdTradeoff:
    """The configured pattern and a grid of patterns; the first pattern of `grid` has no cold ranks."""

    configured: OperatingPoint
    grid: tuple[OperatingPoint, ...]

    @property
    def warm_only_ndcg(self) -> float:
        """NDCG@20 of warm items without any cold item among the first 20."""
        return self.grid[0].warm_ndcg

    def warm_loss(self, point: OperatingPoint) -> float:
        """1 - warm NDCG@20 of `point` / warm NDCG@20 without cold items."""
        return 1.0 - point.warm_ndcg / self.warm_only_ndcg if self.warm_only_ndcg else 0.0

    def warm_loss_10(self, point: OperatingPoint) -> float:
        """The same of NDCG@10."""
        most = self.grid[0].warm_ndcg_10
        return 1.0 - point.warm_ndcg_10 / most if most else 0.0

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "WarmColdTradeoff":
        """Reads the result of `to_dict`, JSON in between or not."""
        configured, *grid = (
            OperatingPoint(**point | {"cold_ranks": tuple(point["cold_ranks"])})
            for point in (values["configured"], *values["grid"])
        )
        return cls(configured=configured, grid=tuple(grid))


def rank_grid(configured: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The patterns to compare, from the fewest cold ranks to the most; the first has none."""
    return tuple(sorted({*ALTERNATIVES, configured}, key=lambda ranks: (len(ranks), ranks)))


def measure_tradeoff(
    item_ND: Floats,
    pseudo_cold_ND: Floats,
    warm_N: Bools,
    users: ValidationUsers,
    *,
    cold_ranks: tuple[int, ...] | Literal["auto"],
    budget: float = 0.03,
    seed: int = 0,
) -> WarmColdTradeoff | None:
    """The expected metrics of `cold_ranks` and of the patterns of `rank_grid`; of "auto", the chosen pattern.

    `item_ND` are the vectors of all items, `pseudo_cold_ND` the vectors of warm items as pseudo-cold items,
    with zeros for items that cannot be pseudo-cold. None where no item is cold, or where no validation user
    chose a warm item, or none a pseudo-cold item.
    """
    rng = np.random.default_rng(seed)
    cold_N = ~warm_N
    cold_N[:NUM_RESERVED] = False
    num_cold = int(cold_N.sum())
    can_be_pseudo_cold = np.flatnonzero(warm_N & pseudo_cold_ND.any(1))
    sampled = rng.permutation(len(users.ground_truth))[:MAX_USERS]
    num_pseudo = min(num_cold, int(MAX_SHARE * len(can_be_pseudo_cold)))
    pseudo_N = np.isin(np.arange(len(warm_N)), rng.choice(can_be_pseudo_cold, num_pseudo, replace=False))
    ranked_UK = None if users.ordered is None else users.ordered[sampled]
    hits = _Hits.of(users, sampled, item_ND, warm_N, ranked_UK)
    cold_K = _recall_rates(users, sampled, pseudo_cold_ND, pseudo_N)
    if not num_cold or hits is None or cold_K is None:
        return None
    rates = _Rates(
        hits=hits, warm_20=hits.rates(20), warm_10=hits.rates(10), cold_K=cold_K, num_cold=num_cold
    )
    configured = rates.point(rates.calibrated(budget) if cold_ranks == "auto" else cold_ranks)
    grid = tuple(rates.point(ranks) for ranks in rank_grid(configured.cold_ranks))
    return WarmColdTradeoff(configured=configured, grid=grid)


@dataclass(frozen=True, kw_only=True)
class _Rates:
    """p_r for both depths and q_j of the module's docstring, and the number of cold items."""

    hits: "_Hits"
    warm_20: Doubles  # [K]
    warm_10: Doubles  # [K]
    cold_K: Doubles
    num_cold: int

    def point(self, ranks: tuple[int, ...]) -> OperatingPoint:
        """The expected metrics of a pattern."""
        is_cold_K = self._is_cold(ranks)

        def warm_ndcg(rate_K: Doubles, k: int) -> float:
            discount = _DISCOUNT_K[:k][~is_cold_K[:k]]
            return float(rate_K[: len(discount)] @ discount)

        def cold_recall(k: int) -> float:
            return float(self.cold_K[: int(is_cold_K[:k].sum())].sum())

        return OperatingPoint(
            cold_ranks=ranks,
            warm_ndcg=warm_ndcg(self.warm_20, 20),
            cold_recall=cold_recall(20),
            warm_ndcg_10=warm_ndcg(self.warm_10, 10),
            cold_recall_10=cold_recall(10),
            cold_recall_5=cold_recall(5),
        )

    def _is_cold(self, ranks: tuple[int, ...]) -> Bools:
        """Which of the first K ranks are cold items'. Shape [K]."""
        is_cold_K = np.zeros(K, np.bool_)
        positions = cold_positions(K, min(self.num_cold, K), ranks)
        is_cold_K[positions[positions < K]] = True
        return is_cold_K

    def calibrated(self, budget: float) -> tuple[int, ...]:
        """The pattern of "auto"; of equally good ones the cheapest."""
        if self.hits.hit_UK.sum() < MIN_HITS:
            return FEW_HITS
        free = self.point(())
        best: tuple[float, float] | None = None
        chosen: tuple[int, ...] = ()
        for counts in product(range(6), range(6), range(11)):
            ranks = _last_ranks(counts)
            each = self.point(ranks)
            kept = ((each.warm_ndcg, free.warm_ndcg, 20), (each.warm_ndcg_10, free.warm_ndcg_10, 10))
            is_cold_K = self._is_cold(ranks)
            is_cheap = all(
                1.0 - left / most + self.hits.loss_error(is_cold_K, k) <= budget
                for left, most, k in kept
                if most > 0
            )
            value = (each.cold_recall_5 + each.cold_recall_10 + each.cold_recall, each.warm_ndcg)
            if is_cheap and (best is None or value > best):
                best, chosen = value, ranks
        return chosen


def _last_ranks(counts: Sequence[int]) -> tuple[int, ...]:
    """That many ranks at the end of the ranks 1 to 5, 6 to 10 and 11 to 20."""
    ends = zip(counts, (5, 10, 20), strict=True)
    return tuple(rank for count, end in ends for rank in range(end - count + 1, end + 1))


@dataclass(frozen=True, kw_only=True)
class _Hits:
    """Hits among the first K warm items of the users who chose a warm item."""

    hit_UK: Bools
    num_U: Ints  # warm items that the user chose

    @classmethod
    def of(
        cls, users: ValidationUsers, sampled: Ints, item_ND: Floats, warm_N: Bools, ranked_UK: Ints | None
    ) -> "_Hits | None":
        """None where no user chose a warm item."""
        ground_truth = [_unseen(users, user, warm_N) for user in sampled]
        ranked_UK = _ranked(users, sampled, item_ND, warm_N) if ranked_UK is None else ranked_UK
        rows = [row for row, items in enumerate(ground_truth) if len(items)]
        if not rows:
            return None
        lists = IdLists.from_lists([ground_truth[row] for row in rows])
        return cls(hit_UK=lists.contain(_pad_to_k(ranked_UK[rows])), num_U=lists.counts)

    def rates(self, k: int) -> Doubles:
        """p_r of the module's docstring for the depth k and r = 1 ... K. Shape [K]."""
        ideal_U = np.cumsum(_DISCOUNT_K)[np.minimum(self.num_U, k) - 1]
        return _non_increasing((self.hit_UK / ideal_U[:, None]).mean(0))

    def loss_error(self, is_cold_K: Bools, k: int) -> float:
        """Standard error over users of the loss of NDCG@k, a ratio of means (delta method)."""
        discount_R = _DISCOUNT_K[:k][~is_cold_K[:k]]
        left_U = self.hit_UK[:, : len(discount_R)] @ discount_R
        ideal_U = np.cumsum(_DISCOUNT_K)[np.minimum(self.num_U, k) - 1]
        left_U, whole_U = left_U / ideal_U, self.hit_UK[:, :k] @ _DISCOUNT_K[:k] / ideal_U
        if not is_cold_K[:k].any() or not whole_U.mean() > 0 or len(whole_U) < 2:
            return 0.0
        residual_U = left_U - left_U.mean() / whole_U.mean() * whole_U
        return float(standard_error(residual_U) / whole_U.mean())


def _recall_rates(
    users: ValidationUsers, sampled: Ints, vector_ND: Floats, pseudo_N: Bools
) -> Doubles | None:
    """q_j of the module's docstring, for j = 1 ... K. Shape [K]."""
    ground_truth = [_unseen(users, user, pseudo_N) for user in sampled]
    rows = [row for row, items in enumerate(ground_truth) if len(items)]
    if not rows:
        return None
    ranked_UK = _pad_to_k(_ranked(users, sampled[rows], vector_ND, pseudo_N))
    lists = IdLists.from_lists([ground_truth[row] for row in rows])
    return _non_increasing((lists.contain(ranked_UK) / lists.counts[:, None]).mean(0))


def _unseen(users: ValidationUsers, user: int, among_N: Bools) -> Ints:
    """The user's ground truth among the items `among_N`, without the items that the user has seen."""
    ground_truth = users.ground_truth[user]
    return np.setdiff1d(ground_truth[among_N[ground_truth]], users.seen[user])


def _ranked(users: ValidationUsers, sampled: Ints, vector_ND: Floats, among_N: Bools) -> Ints:
    """For each user the K items of `among_N` with the highest scores, without seen items. Shape [U, K]."""
    excluded = [users.seen[user] for user in sampled]
    return top_k(users.user_UD[sampled] @ vector_ND.T, K, allowed=among_N, excluded=excluded)[0]


def _pad_to_k(ranked_UK: Ints) -> Ints:
    return np.pad(ranked_UK[:, :K], ((0, 0), (0, max(K - ranked_UK.shape[1], 0))))


def _non_increasing(mean_K: Doubles) -> Doubles:
    from scipy.optimize import isotonic_regression  # after the training, which is the peak of memory

    falling: Doubles = isotonic_regression(mean_K, weights=_DISCOUNT_K, increasing=False).x
    return falling
