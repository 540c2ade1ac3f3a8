"""Resampling of users against drawing them one by one, and against the normal approximation."""

import math

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.metrics.bootstrap import Sampled, clustered_means, resamples, weighted_means
from recsys.metrics.ranking import Doubles


def bootstrap(values: Doubles, num: int, seed: int = 0) -> Doubles:
    parts = [
        weighted_means(part.astype(np.float64), values) for part in resamples(len(values), num=num, seed=seed)
    ]
    return np.concatenate(parts)


def test_equals_drawing_users_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    rng = np.random.default_rng(7)
    slow = [values[rng.integers(3, size=3)].mean(0) for _ in range(20)]
    assert bootstrap(values, 20, seed=7) == pytest.approx(np.array(slow))
    # In parts of 2 resamples the draws are the same.
    monkeypatch.setattr("recsys.metrics.bootstrap._DRAWS_AT_ONCE", 6)
    assert [len(part) for part in resamples(3, num=20, seed=7)] == [2] * 10
    assert [len(part) for part in resamples(3, num=3, seed=7, width=6)] == [1] * 3, "as wide as is asked for"
    assert bootstrap(values, 20, seed=7) == pytest.approx(np.array(slow))


def test_the_spread_is_the_standard_error() -> None:
    values = np.random.default_rng(0).random((400, 1))
    drawn = bootstrap(values, 2000, seed=1)
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(400), rel=0.1)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.003)


def test_a_user_without_a_value_does_not_count() -> None:
    values = np.array([[1.0, 1.0], [3.0, np.nan], [8.0, 5.0]])
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0], [0.0, 3.0, 0.0]])
    found = weighted_means(weights, values)
    assert found[:, 0] == pytest.approx([4.0, 14 / 3, 3.0])
    assert found[:2, 1] == pytest.approx([3.0, 5.0])
    assert math.isnan(found[2, 1]), "nobody with a value was drawn"


def test_an_interval_leaves_resamples_without_a_value_out() -> None:
    drawn = np.append(np.linspace(0, 1, 41), np.nan)
    found = Sampled(value=0.5, drawn_R=drawn).estimate()
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.025, 0.975))


def test_differences_are_paired() -> None:
    values = np.random.default_rng(0).random((30, 1))
    one, two = (
        Sampled(value=float(v.mean()), drawn_R=bootstrap(v, 50)[:, 0]) for v in (values, values + 0.25)
    )
    gap = (two - one).estimate()
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.25, 0.25, 0.25)), "more for everybody alike"
    assert one.drawn_R.std() > 0


def test_centred_on_the_value_and_within_its_bounds() -> None:
    found = Sampled(value=0.9, drawn_R=np.array([0.4, 0.5, 0.6, 0.7])).centred(0.0, 1.0)
    assert found.drawn_R == pytest.approx([0.75, 0.85, 0.95, 1.05])
    assert found.estimate().high == pytest.approx(0.95 + 0.925 * 0.05), "between 0.95 and 1, not 1.05"


def test_a_difference_is_taken_before_bounds_are_kept() -> None:
    drawn = np.array([0.4, 0.5, 0.6, 0.7])
    more, less = (Sampled(value=value, drawn_R=drawn).centred(0.0, 1.0) for value in (0.95, 0.85))
    gap = (more - less).estimate()
    assert (gap.low, gap.high) == pytest.approx((0.1, 0.1)), (
        "in every resample, in which one is 1.1 and 1.0 too"
    )


def test_an_interval_holds_its_value_where_one_resample_stands_far_below_the_others() -> None:
    drawn = np.full(1000, 0.9)
    drawn[0] = 0.5
    found = Sampled(value=0.9, drawn_R=drawn).centred(0.0, 1.0)
    assert np.nanquantile(found.drawn_R, 0.025) > 0.9
    estimate = found.estimate()
    assert (estimate.low, estimate.value) == (0.9, 0.9)
    assert estimate.high == pytest.approx(0.9004)
    mirrored = Sampled(value=0.1, drawn_R=1.0 - drawn).centred(0.0, 1.0).estimate()
    assert (mirrored.high, mirrored.value) == (0.1, 0.1)


def test_nobody_to_draw_from_is_refused() -> None:
    with pytest.raises(DataError, match="no users"):
        next(resamples(0))


def test_rows_of_a_cluster_are_drawn_together() -> None:
    values = np.array([[1.0, 0.0], [3.0, np.nan], [8.0, 5.0], [2.0, 1.0], [4.0, np.nan]])
    clusters = np.array([0, 0, 1, 2, 2])
    found = clustered_means(values, clusters, num=40, seed=3)
    rng = np.random.default_rng(3)
    slow = []
    for _ in range(40):
        rows = np.concatenate([np.flatnonzero(clusters == drawn) for drawn in rng.integers(3, size=3)])
        drawn = [column[~np.isnan(column)] for column in values[rows].T]
        slow.append([column.mean() if len(column) else np.nan for column in drawn])
    assert np.stack([each.drawn_R for each in found], 1) == pytest.approx(np.array(slow), nan_ok=True)
    assert [each.value for each in found] == pytest.approx([18 / 5, 6 / 3])
    alone = clustered_means(values, num=40, seed=3)
    assert alone[0].drawn_R == pytest.approx(bootstrap(values, 40, seed=3)[:, 0])


def test_clusters_widen_an_interval_of_alike_rows() -> None:
    values = np.repeat(np.random.default_rng(0).random((40, 1)), 5, axis=0)
    together = clustered_means(values, np.repeat(np.arange(40), 5))[0].estimate()
    apart = clustered_means(values)[0].estimate()
    assert together.high - together.low > 1.7 * (apart.high - apart.low)  # the square root of 5 is 2.2


def test_a_column_without_values_and_no_rows() -> None:
    (found,) = clustered_means(np.full((3, 1), np.nan))
    assert math.isnan(found.value)
    with pytest.raises(DataError, match="no users to draw from"):
        clustered_means(np.empty((0, 1)))
