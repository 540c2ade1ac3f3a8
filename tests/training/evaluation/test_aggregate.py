"""All results of a part of a test, against resampling its users one by one."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from report_parts import IDS, answers, lists, ranked

from recsys.arrays import Ints
from recsys.item_features import ItemFeatures
from recsys.metrics.beyond_accuracy import Content, Exposure, coverage, gini
from recsys.metrics.bootstrap import NUM_RESAMPLES
from recsys.metrics.ranking import Doubles, IdLists
from training.evaluation.aggregate import Aggregate, Results, aggregate, compare_lists, with_beyond_accuracy
from training.evaluation.ground_truth import Part

KS = (1, 3)
ITEMS = ItemFeatures(
    item_ids=IDS,
    dense={"title": np.random.default_rng(0).normal(size=(IDS.size, 4)).astype(np.float32)},
    present={"title": np.array([0, 0, 1, 1, 1, 1, 0, 1, 0], np.bool_)},
    categories={},
    category_ids={},
    trained=np.ones(IDS.size, np.bool_),
    popularity=np.array([0, 0, 9, 5, 3, 2, 1, 0, 0], np.float32),
)
CONTENT = Content.of(ITEMS)
MODELS = {"one": ["abc", "dc", "xab", "", "ea"], "two": ["abc", "abc", "ab", "ab", "a"]}
PART = Part(
    description="five", rows=np.arange(5), ground_truth=lists(["ab", "c", "x", "e", "e"]), num_ranked=7
)


def measured(
    models: Mapping[str, list[str]] = MODELS, part: Part = PART, main_model: str | None = None
) -> Aggregate:
    lists = {name: with_beyond_accuracy(ranked(each), KS, ITEMS, CONTENT) for name, each in models.items()}
    return aggregate(part, lists, KS, main_model=main_model)


def results(models: Mapping[str, list[str]] = MODELS, part: Part = PART) -> Mapping[str, Results]:
    return measured(models, part).models


def test_every_metric_of_every_model() -> None:
    names = [f"{name}@{k}" for k in KS for name in ("recall", "hr", "ndcg", "mrr", "map")]
    names += [f"{name}@{k}" for k in KS for name in ("novelty", "ild", "arp")]
    names += [f"{name}@{k}" for k in KS for name in ("coverage", "gini")]
    assert list(results()["one"]) == [name for name in names if name != "ild@1"], "one item makes no pair"


def test_values_by_hand() -> None:
    found = results()
    assert found["one"]["recall@3"].value == pytest.approx((1 + 1 + 1 + 0 + 1) / 5)
    # Of a to e, x and y the first model lists all but y, the second a, b and c.
    assert found["one"]["coverage@3"].value == 6 / 7
    assert found["two"]["coverage@3"].value == 3 / 7
    assert found["two"]["coverage@1"].value == 1 / 7
    assert found["two"]["gini@1"].value == pytest.approx(1.0), "a has every place"
    # a 5 lists, b 4, c 2: (0 + 0 + 0 + 0 + 2 * 2 + 4 * 4 + 6 * 5) / (6 * 11)
    assert found["two"]["gini@3"].value == pytest.approx(50 / 66)
    assert found["one"]["arp@1"].value == pytest.approx((9 + 2 + 0 + 1) / 4), "user 4 has no list"


def test_intervals_are_those_of_users_drawn_one_by_one() -> None:
    found = results()["one"]
    rng = np.random.default_rng(0)
    rows = ranked(MODELS["one"])
    draws = [rng.integers(5, size=5) for _ in range(NUM_RESAMPLES)]
    recall = np.array([1.0, 1, 1, 0, 1])
    assert found["recall@3"].drawn_R == pytest.approx(np.array([recall[draw].mean() for draw in draws]))
    for name, of in (("coverage@3", coverage), ("gini@3", gini)):
        slow = np.array([of_lists(rows[draw], of) for draw in draws])
        expected = slow - np.nanmean(slow) + found[name].value
        assert found[name].drawn_R == pytest.approx(expected, nan_ok=True), "user 4, who has no list, alone"
        low, high = np.nanquantile(expected.clip(0, 1), (0.025, 0.975))
        estimate = found[name].estimate()
        assert (estimate.low, estimate.high) == pytest.approx((low, high))
        assert low < estimate.value < high


def of_lists(drawn: Ints, of: Callable[[Ints, int], Doubles]) -> float:
    return float(of(np.bincount(drawn[drawn > 0], minlength=IDS.size)[2:], 7))


def test_parts_of_the_resamples_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = results()
    monkeypatch.setattr("recsys.metrics.bootstrap._DRAWS_AT_ONCE", 500)
    parts = results()
    for metric, each in whole["one"].items():
        assert np.allclose(each.drawn_R, parts["one"][metric].drawn_R, rtol=0, atol=1e-12, equal_nan=True)


def test_a_model_without_any_list_has_no_value_beyond_accuracy_but_covers_nothing() -> None:
    found = results({"none": [""] * 5})["none"]
    assert {name.partition("@")[0] for name in found} == {"recall", "hr", "ndcg", "mrr", "map", "coverage"}
    assert all(each.value == 0 for each in found.values())


def test_nobody_to_count_is_empty() -> None:
    nobody = Part(
        description="", rows=np.empty(0, np.int64), ground_truth=IdLists.from_lists([]), num_ranked=7
    )
    assert measured({"one": []}, nobody, main_model="one") == Aggregate(models={}, differences={})


# Recall@3 by hand, and what the lists of each user come to at 3 places: user 4 has none of the first model.
RECALL = {"one": [1, 1, 1, 0, 1], "two": [1, 1, 0, 0, 0]}
ARP = {
    "one": [(9 + 5 + 3) / 3, (2 + 3) / 2, (0 + 9 + 5) / 3, math.nan, (1 + 9) / 2],
    "two": [(9 + 5 + 3) / 3, (9 + 5 + 3) / 3, (9 + 5) / 2, (9 + 5) / 2, 9],
}


def test_differences_are_paired_over_the_users_who_have_both() -> None:
    gaps = measured(main_model="one").differences["two"]
    assert set(gaps) == set(results()["one"])
    rng = np.random.default_rng(0)
    draws = [rng.integers(5, size=5) for _ in range(NUM_RESAMPLES)]
    for metric, by_model in (("recall@3", RECALL), ("arp@3", ARP)):
        gap_U = np.array(by_model["one"]) - np.array(by_model["two"])
        slow = [gap_U[draw][~np.isnan(gap_U[draw])] for draw in draws]
        slow_means = [each.mean() if len(each) else math.nan for each in slow]
        assert gaps[metric].value == pytest.approx(np.nanmean(gap_U))
        assert gaps[metric].drawn_R == pytest.approx(np.array(slow_means), nan_ok=True)
    one, two = (ranked(each) for each in MODELS.values())
    apart = np.array([of_lists(one[draw], coverage) - of_lists(two[draw], coverage) for draw in draws])
    assert gaps["coverage@3"].value == pytest.approx(6 / 7 - 3 / 7)
    assert gaps["coverage@3"].drawn_R == pytest.approx(apart - apart.mean() + 3 / 7)


def test_a_user_who_lacks_one_list_moves_no_difference() -> None:
    """Both lists of a user are equal where both exist; a list without the other does not count."""
    gaps = measured(
        {"one": ["abc", "xy", "cd", "ab", ""], "two": ["abc", "xy", "cd", "ab", "a"]}, main_model="one"
    )
    for metric in ("novelty@3", "arp@3", "ild@3"):
        gap = gaps.differences["two"][metric].estimate()
        assert (gap.value, gap.low, gap.high) == (0.0, 0.0, 0.0), metric


def test_where_nobody_has_both_there_is_no_difference() -> None:
    gaps = measured({"one": ["ab", "", "", "", ""], "two": ["", "a", "b", "c", "d"]}, main_model="one")
    assert "arp@3" not in gaps.differences["two"]
    assert "recall@3" in gaps.differences["two"]


class TestCompareLists:
    def test_users_without_truth_do_not_count(self) -> None:
        kept = answers()
        found = compare_lists(kept.models["recsys"], kept.models["popularity"], kept.cold, KS)
        assert found["recall@3"].value == 1.0, "only user 3 seeks a cold item, and recsys alone finds it"
        warm = compare_lists(kept.models["recsys"], kept.models["popularity"], kept.warm, KS, items=ITEMS)
        # recsys 1, 1, 0, 0; popularity 0, 1, 0, 1
        assert warm["recall@3"].value == 0.0
        assert warm["recall@3"].low < 0 < warm["recall@3"].high
        # recsys lists a, b, c, d and x, popularity a, b, c, d and e.
        assert warm["coverage@3"].value == 0.0
        assert "novelty@3" in warm

    def test_nobody_with_truth_no_difference(self) -> None:
        kept = answers()
        one = kept.models["recsys"]
        assert compare_lists(one, one, lists(["", "", "", ""]), KS) == {}


def test_exposure_holds_no_more_than_it_counts() -> None:
    assert Exposure(ranked(MODELS["one"]), KS).dtype == np.int16
    assert Exposure(np.zeros((2**15, 1), np.int64), (1,)).dtype == np.int32
