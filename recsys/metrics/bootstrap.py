"""Bootstrap over users: the distribution of a metric over resamples of the users. Numpy only.

Shape suffixes: U users, M metrics, R resamples, Q queries, C clusters.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Ints
from recsys.errors import DataError
from recsys.metrics.ranking import Doubles

# Constants, so that intervals of different runs compare.
NUM_RESAMPLES = 1000
INTERVAL = (0.025, 0.975)
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The value of a metric and its 95% bootstrap interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """The value of a metric, and its value in every resample; NaN in a resample without a value.

    Values of the same users and seed share their resamples, so that their difference is a paired comparison,
    provided that the same users have a value in both. `bounds` limit the interval only; a difference is
    computed without them.
    """

    value: float
    drawn_R: Doubles
    bounds: tuple[float, float] | None = None

    def __sub__(self, other: "Sampled") -> "Sampled":
        return Sampled(value=self.value - other.value, drawn_R=self.drawn_R - other.drawn_R)

    def estimate(self) -> Estimate:
        """The percentile interval (Efron and Tibshirani 1993, chapter 13), extended to contain the value.

        Nearly equal resamples may exclude the value: `centred` moves their mean to the value, and a single
        resample far below the others lowers the mean below all the others.
        """
        drawn_R = self.drawn_R if self.bounds is None else self.drawn_R.clip(*self.bounds)
        low, high = np.nanquantile(drawn_R, INTERVAL)
        return Estimate(value=self.value, low=min(float(low), self.value), high=max(float(high), self.value))

    def centred(self, low: float, high: float) -> "Sampled":
        """The resamples shifted so that their mean is the value; the interval is cut to `low` and `high`.

        For a metric that depends on the number of different users: a resample has only 63% of the users.
        scripts/interval_coverage.py measures the coverage of the interval.
        """
        moved_R = self.drawn_R - np.nanmean(self.drawn_R) + self.value
        return Sampled(value=self.value, drawn_R=moved_R, bounds=(low, high))


def resamples(num_users: int, *, num: int = NUM_RESAMPLES, seed: int = 0, width: int = 0) -> Iterator[Ints]:
    """How often each user is drawn in samples of `num_users` users with replacement. Parts of [R, U].

    The number of resamples in a part limits the size of the part and of an array [R, `width`]. The draws
    depend on `num_users` and `seed` only.
    """
    if num_users == 0:
        raise DataError("no users to draw from: a view without ground truth has no interval")
    rng = np.random.default_rng(seed)
    step = max(_DRAWS_AT_ONCE // max(num_users, width), 1)
    for start in range(0, num, step):
        size = min(step, num - start)
        draws = rng.integers(num_users, size=(size, num_users)) + np.arange(size)[:, None] * num_users
        yield np.bincount(draws.ravel(), minlength=size * num_users).reshape(size, num_users)


def weighted_means(weight_RU: Doubles, value_UM: Doubles) -> Doubles:
    """Mean of every column over the drawn users; a user whose value is NaN does not count. Shape [R, M]."""
    missing_UM = np.isnan(value_UM)
    if not missing_UM.any():
        return np.asarray(weight_RU @ value_UM / weight_RU.sum(1, keepdims=True))
    sum_RM, num_RM = weight_RU @ np.where(missing_UM, 0.0, value_UM), weight_RU @ ~missing_UM
    return np.divide(sum_RM, num_RM, out=np.full_like(sum_RM, np.nan), where=num_RM > 0)


def clustered_means(
    value_QM: Doubles, cluster_Q: Ints | None = None, *, num: int = NUM_RESAMPLES, seed: int = 0
) -> list[Sampled]:
    """The mean of every column, and its means in resamples of whole clusters. M values.

    The rows of a cluster, such as the queries of one user, are drawn together, because they are not
    independent (Davison and Hinkley 1997, section 3.8). `cluster_Q` numbers the clusters from 0; without it
    every row is a cluster. A row whose value is NaN does not count; a column without a value has the value
    NaN. Raises `DataError` without a row.
    """
    cluster_Q = np.arange(len(value_QM)) if cluster_Q is None else cluster_Q
    num_clusters = int(cluster_Q.max(initial=-1)) + 1
    known_QM = ~np.isnan(value_QM)
    sum_CM, num_CM = np.zeros((2, num_clusters, value_QM.shape[1]))
    np.add.at(sum_CM, cluster_Q, np.where(known_QM, value_QM, 0.0))
    np.add.at(num_CM, cluster_Q, known_QM)
    drawn = [
        _ratio(drawn_RC @ sum_CM, drawn_RC @ num_CM)
        for drawn_RC in resamples(num_clusters, num=num, seed=seed)
    ]
    drawn_RM, value_M = np.concatenate(drawn), _ratio(sum_CM.sum(0), num_CM.sum(0))
    return [Sampled(value=float(value), drawn_R=drawn_RM[:, at]) for at, value in enumerate(value_M)]


def _ratio(total: Doubles, count: Doubles) -> Doubles:
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
