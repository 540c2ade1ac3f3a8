"""What cold ranks cost warm items and bring cold items, expected on validation: a report, not a choice.

The cost is measured on the lists of the whole system: the r-th warm item is a hit at the rate p_r over all
validation users, and a cold item at rank s moves every warm item from rank s on down by one. Expected

    warm NDCG@20 = sum over r of p_r * discount(rank of the r-th warm item)

where p_r is in units of an ideal list's DCG. The gain cannot be measured on real cold items, without an event
before the test. Pseudo-cold items take their part: warm items whose vectors come from their content by models
that were fitted on other items. Ranked among each other, the j-th of them is on average a share q_j of the
pseudo-cold items that a user chose. Expected

    cold Recall@20 = sum of q_j over the cold items that the first 20 ranks hold

Both rates are made to fall with the rank (isotonic regression): few users have a hit at any one rank.

Legend: U users, N items, D width, K ranks.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED
from recsys.metrics import Doubles, IdLists
from recsys.retrieval import cold_places, top_k
from training.cold_start.validation_users import ValidationUsers

K = 20
MAX_SHARE = 0.2  # of the warm items that may be pseudo-cold, so that enough warm ones are left
MAX_USERS = 2000
# Patterns that the report compares the configured one with.
ALTERNATIVES: tuple[tuple[int, ...], ...] = (
    (), (20,), (17, 19), (10, 17, 19), (5, 10, 15, 20), (3, 6, 9, 12, 15, 18), tuple(range(2, 21, 2)),
)  # fmt: skip

_DISCOUNT_K = 1.0 / np.log2(2.0 + np.arange(K))


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A pattern of cold ranks, and what is expected of it on validation."""

    cold_ranks: tuple[int, ...]
    warm_ndcg: float  # NDCG@20 of warm items
    cold_recall: float  # Recall@20 of cold items


@dataclass(frozen=True, kw_only=True)
class WarmColdTradeoff:
    """The configured pattern beside others; the first of `grid` lists warm items alone."""

    configured: OperatingPoint
    grid: tuple[OperatingPoint, ...]

    @property
    def warm_only_ndcg(self) -> float:
        """NDCG@20 of warm items without any cold item among the first 20."""
        return self.grid[0].warm_ndcg

    def warm_loss(self, point: OperatingPoint) -> float:
        """The share of `warm_only_ndcg` that `point` costs."""
        return 1.0 - point.warm_ndcg / self.warm_only_ndcg if self.warm_only_ndcg else 0.0

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
    cold_ranks: tuple[int, ...],
    seed: int = 0,
) -> WarmColdTradeoff | None:
    """The expected cost and gain of `cold_ranks`, and of the patterns of `rank_grid` beside it.

    `item_ND` are the vectors of all items; `pseudo_cold_ND` those of warm items as if they were cold, zeros
    for items that cannot be pseudo-cold. None where nothing is cold, or where no validation user chose a warm
    item or a pseudo-cold one.
    """
    rng = np.random.default_rng(seed)
    cold_N = ~warm_N
    cold_N[:NUM_RESERVED] = False
    num_cold = int(cold_N.sum())
    may_be_cold = np.flatnonzero(warm_N & pseudo_cold_ND.any(1))
    drawn = rng.permutation(len(users.ground_truth))[:MAX_USERS]
    num_pseudo = min(num_cold, int(MAX_SHARE * len(may_be_cold)))
    pseudo_N = np.isin(np.arange(len(warm_N)), rng.choice(may_be_cold, num_pseudo, replace=False))
    ranked_UK = None if users.ordered is None else users.ordered[drawn]
    warm_K = _hit_rates(users, drawn, item_ND, warm_N, ranked_UK)
    cold_K = _recall_rates(users, drawn, pseudo_cold_ND, pseudo_N)
    if not num_cold or warm_K is None or cold_K is None:
        return None

    def point(ranks: tuple[int, ...]) -> OperatingPoint:
        is_cold_K = np.zeros(K, np.bool_)
        places = cold_places(K, min(num_cold, K), ranks)
        is_cold_K[places[places < K]] = True
        num_warm = int((~is_cold_K).sum())
        return OperatingPoint(
            cold_ranks=ranks,
            warm_ndcg=float(warm_K[:num_warm] @ _DISCOUNT_K[~is_cold_K]),
            cold_recall=float(cold_K[: K - num_warm].sum()),
        )

    return WarmColdTradeoff(
        configured=point(cold_ranks), grid=tuple(point(ranks) for ranks in rank_grid(cold_ranks))
    )


def _hit_rates(
    users: ValidationUsers, drawn: Ints, item_ND: Floats, warm_N: Bools, ranked_UK: Ints | None
) -> Doubles | None:
    """How often the warm item of each rank is a hit, in units of an ideal list's DCG. Shape [K]."""
    truth = [_unseen(users, user, warm_N) for user in drawn]
    ranked_UK = _ranked(users, drawn, item_ND, warm_N) if ranked_UK is None else ranked_UK
    asked = [row for row, items in enumerate(truth) if len(items)]
    if not asked:
        return None
    hit_UK = IdLists.from_lists([truth[row] for row in asked]).contain(_first_places(ranked_UK[asked]))
    ideal_U = np.cumsum(_DISCOUNT_K)[[min(len(truth[row]), K) - 1 for row in asked]]
    return _never_rising((hit_UK / ideal_U[:, None]).mean(0))


def _recall_rates(users: ValidationUsers, drawn: Ints, vector_ND: Floats, pseudo_N: Bools) -> Doubles | None:
    """What share of a user's pseudo-cold choices stands at each rank among such items. Shape [K]."""
    truth = [_unseen(users, user, pseudo_N) for user in drawn]
    asked = [row for row, items in enumerate(truth) if len(items)]
    if not asked:
        return None
    ranked_UK = _first_places(_ranked(users, drawn[asked], vector_ND, pseudo_N))
    lists = IdLists.from_lists([truth[row] for row in asked])
    return _never_rising((lists.contain(ranked_UK) / lists.counts[:, None]).mean(0))


def _unseen(users: ValidationUsers, user: int, among_N: Bools) -> Ints:
    """The user's ground truth among these items, without items that are not shown again."""
    truth = users.ground_truth[user]
    return np.setdiff1d(truth[among_N[truth]], users.seen[user])


def _ranked(users: ValidationUsers, drawn: Ints, vector_ND: Floats, among_N: Bools) -> Ints:
    """The K best of these items for each user. Shape [U, K]."""
    excluded = [users.seen[user] for user in drawn]
    return top_k(users.user_UD[drawn] @ vector_ND.T, K, allowed=among_N, excluded=excluded)[0]


def _first_places(ranked_UK: Ints) -> Ints:
    return np.pad(ranked_UK[:, :K], ((0, 0), (0, max(K - ranked_UK.shape[1], 0))))


def _never_rising(mean_K: Doubles) -> Doubles:
    falling: Doubles = isotonic_regression(mean_K, weights=_DISCOUNT_K, increasing=False).x
    return falling
