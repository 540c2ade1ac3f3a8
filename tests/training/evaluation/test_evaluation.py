"""Evaluation on five items; every value is computed by hand."""

import dataclasses
import json
import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluation_parts import ITEMS, NUM, SEEN, TEST, Fixed, evaluated, make_events, make_split

from recsys.arrays import Bools, Ints
from recsys.errors import DataError, RecsysError
from recsys.metrics.ranking import METRICS
from training.evaluation.evaluate import Evaluation, TopK


def run(model: TopK, test: Sequence[tuple[str, str]] = TEST, **options: object) -> Evaluation:
    options = {"split": make_split(test), "items": ITEMS, "seen": SEEN, "ks": (2,)} | options
    return evaluated([model], **options)  # type: ignore[arg-type]


def value(evaluation: Evaluation, view: str, metric: str) -> float:
    return evaluation.views[view].models["fixed"][metric].value


class TestViews:
    def test_users_and_pairs_of_each_view(self) -> None:
        evaluation = run(Fixed("abcxy"))
        sizes = {name: (v.num_users, v.num_pairs, v.num_ranked) for name, v in evaluation.views.items()}
        # Warm: 1-b, 3-a, 3-b. Cold: 1-x, 2-y, 2-x.
        assert sizes == {"warm": (2, 3, 5), "cold_full": (2, 3, 5), "cold_pool": (2, 3, 2)}
        assert evaluation.counts["cold_items"] == 2
        assert evaluation.counts["users_counted"] == 3

    def test_hand_computed_means(self) -> None:
        evaluation = run(Fixed("bxacy"))
        # Answers: 1: b x; 2: x a; 3: b x.
        assert value(evaluation, "warm", "recall@2") == pytest.approx((1 + 1 / 2) / 2)
        second = 1 / math.log2(3)
        assert value(evaluation, "warm", "ndcg@2") == pytest.approx((1 + 1 / (1 + second)) / 2)
        assert value(evaluation, "cold_full", "recall@2") == pytest.approx((1 + 1 / 2) / 2)
        assert value(evaluation, "cold_full", "mrr@2") == pytest.approx((1 / 2 + 1) / 2)
        # In the pool both cold items are found by both.
        assert value(evaluation, "cold_pool", "recall@2") == 1
        assert value(evaluation, "cold_pool", "mrr@2") == 1

    def test_the_whole_catalogue_is_ranked_once_and_the_pool_by_its_users_alone(self) -> None:
        model = Fixed("abcxy")
        run(model)
        assert model.asked == [(["1", "2", "3"], False), (["1", "2"], True)]

    def test_an_item_of_validation_or_of_negative_training_events(self) -> None:
        # y has a training event, if a negative one, z one in validation: neither is new. x is.
        split = make_split([("1", "x"), ("2", "y"), ("2", "c")])
        train = pl.concat([split.train, make_events([("3", "y")], positive=False)])
        split = dataclasses.replace(split, train=train, validation=make_events([("3", "c")]))
        evaluation = run(Fixed("abcxy"), split=split)
        assert [view.num_pairs for view in evaluation.views.values()] == [2, 1, 1]
        assert evaluation.views["cold_pool"].num_ranked == 1

    def test_a_view_without_truth_is_empty(self) -> None:
        evaluation = run(Fixed("abcxy"), [("1", "b")])
        assert evaluation.views["cold_full"].models == {}
        assert evaluation.views["cold_pool"].num_users == 0
        assert evaluation.views["warm"].num_users == 1


class TestSeen:
    REPEAT = (*TEST, ("1", "a"))  # 1 has seen a

    def test_repeats_are_dropped_and_counted(self) -> None:
        evaluation = run(Fixed("abcxy"), self.REPEAT)
        assert evaluation.counts["test_pairs"] == 7
        assert evaluation.counts["repeats_dropped"] == 1
        assert evaluation.views["warm"].num_pairs == 3
        assert value(evaluation, "warm", "recall@2") == value(run(Fixed("abcxy")), "warm", "recall@2")

    def test_a_user_with_repeats_only_is_not_counted(self) -> None:
        evaluation = run(Fixed("abcxy"), [("1", "a"), ("2", "c")])
        assert (evaluation.counts["users_in_test"], evaluation.counts["users_counted"]) == (2, 1)

    def test_repeats_count_where_seen_items_may_come(self) -> None:
        evaluation = run(Fixed("abcxy", seen=None), self.REPEAT, exclude_seen=False)
        assert evaluation.counts["repeats_dropped"] == 0
        assert evaluation.counts["repeats"] == 1
        assert evaluation.views["warm"].num_pairs == 4

    def test_a_model_that_recommends_a_seen_item_is_refused(self) -> None:
        with pytest.raises(RecsysError, match="fixed: recommended item 2 to '1', who has seen it"):
            run(Fixed("abcxy", seen=None))

    def test_a_user_without_a_history_is_counted(self) -> None:
        assert run(Fixed("abcxy"), [("new", "a")]).views["warm"].models["fixed"]["hr@2"].value == 1


class TestChecks:
    def test_an_item_outside_the_pool_is_refused(self) -> None:
        class Deaf(Fixed):
            def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
                return super().recommend(users, k, allowed=None)

        with pytest.raises(RecsysError, match=r"recommended item \d to '1', which is not allowed"):
            run(Deaf("abcxy"))

    @pytest.mark.parametrize("item", [1, NUM, -1])
    def test_an_id_that_is_no_item_is_refused(self, item: int) -> None:
        class Wrong(Fixed):
            def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
                return np.full((len(users), k), item)

        with pytest.raises(RecsysError, match=f"recommended item {item} to '1'"):
            run(Wrong("a"))

    def test_a_wrong_shape_is_refused(self) -> None:
        class Short(Fixed):
            def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
                return np.zeros((len(users), k - 1), np.int64)

        with pytest.raises(RecsysError, match=r"shape \(3, 1\); expected \(3, 2\)"):
            run(Short("a"))

    def test_an_item_twice_is_refused(self) -> None:
        with pytest.raises(DataError, match="is repeated"):
            run(Fixed("bb"))

    def test_two_models_of_one_name_are_refused(self) -> None:
        with pytest.raises(RecsysError, match="the names must be distinct"):
            evaluated([Fixed("a"), Fixed("b")], split=make_split(TEST), items=ITEMS, seen=SEEN)

    def test_a_test_item_outside_the_catalogue_is_refused(self) -> None:
        with pytest.raises(DataError, match="test item 'z' is not in the catalogue"):
            run(Fixed("a"), [("1", "z")])


def test_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(Fixed("bxacy"))
    monkeypatch.setattr(import_module("training.evaluation.evaluate"), "_USERS_AT_ONCE", 1)
    model = Fixed("bxacy")
    steps: list[tuple[int, int]] = []
    parts = run(model, progress=lambda step, done, total, note="": steps.append((done, total)))
    assert parts == whole
    assert [len(users) for users, _ in model.asked] == [1] * 5
    assert steps == [(done, 5) for done in range(1, 6)]


def test_intervals_hold_the_mean_repeat_with_the_seed_and_are_paired() -> None:
    users = [str(n) for n in range(40)]
    test = [(user, "a" if int(user) % 4 else "c") for user in users]
    split = make_split(test, train=[("x", "a"), ("x", "b"), ("x", "c")])
    models = [Fixed("abc", {}, "one"), Fixed("abc", {}, "two")]
    first, again = (evaluated(models, split=split, items=ITEMS, seen={}, ks=(1,)) for _ in range(2))
    estimate = first.views["warm"].models["one"]["recall@1"]
    assert first == again
    assert estimate == first.views["warm"].models["two"]["recall@1"]
    assert estimate.value == 0.75
    # The normal approximation: 1.96 * sqrt(.75 * .25 / 40) = 0.134 to each side.
    assert estimate.low == pytest.approx(0.75 - 0.134, abs=0.03)
    assert estimate.high == pytest.approx(0.75 + 0.134, abs=0.03)


def test_json_round_trip_and_flat_names() -> None:
    evaluation = run(Fixed("abcxy"))
    text = evaluation.to_json()
    assert Evaluation.from_json(text) == evaluation
    assert json.loads(text)["views"]["warm"]["models"]["fixed"]["recall@2"]["value"] == value(
        evaluation, "warm", "recall@2"
    )
    assert evaluation.flat()["cold_pool/fixed/ndcg@2"] == value(evaluation, "cold_pool", "ndcg@2")


class TestBeyondAccuracy:
    MODELS = (Fixed("bxacy", name="main"), Fixed("abcxy", name="als"))
    DENSE = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1], [3, 1], [2, 2]], np.float32)
    WITH_TITLES = dataclasses.replace(
        ITEMS,
        dense={"title": DENSE},
        present={"title": np.arange(NUM) >= 2},
        popularity=np.array([0, 0, 5, 3, 1, 0, 0], np.float32),
    )

    def evaluation(self, test: Sequence[tuple[str, str]] = TEST, **options: Any) -> Evaluation:
        options = {"items": self.WITH_TITLES, "main_model": "main", "beyond_accuracy": True} | options
        return evaluated(self.MODELS, split=make_split(test), seen=SEEN, ks=(2,), **options)

    def test_figures_of_every_view(self) -> None:
        evaluation = self.evaluation()
        assert evaluation.content == ("title",)
        for view in evaluation.views.values():
            names = [name.removesuffix("@2") for name in view.models["als"]]
            assert names == [*METRICS, "novelty", "ild", "arp", "coverage", "gini"]
        # main: b x for 1 and 3, who count in warm; x a for 2.
        warm, pool = evaluation.views["warm"].models["main"], evaluation.views["cold_pool"].models["main"]
        assert warm["coverage@2"].value == 2 / 5
        assert warm["arp@2"].value == (3 + 0) / 2
        assert warm["novelty@2"].value == pytest.approx((math.log2(9 / 3) + math.log2(9 / 1)) / 2)
        assert pool["coverage@2"].value == 1.0, "of the two that may be recommended there"
        assert pool["arp@2"].value == 0.0

    def test_differences_of_the_main_model_from_every_other(self) -> None:
        evaluation = self.evaluation()
        for view in evaluation.views.values():
            assert list(view.differences) == ["als"]
            for metric, gap in view.differences["als"].items():
                main, als = (view.models[name][metric].value for name in ("main", "als"))
                assert gap.value == pytest.approx(main - als)
        # User 3 has the ground truth a and b: main lists one of them, als both. User 1 has b, listed by both.
        # Of four drawings of the two one is 1 twice and one 3 twice.
        recall = evaluation.views["warm"].differences["als"]["recall@2"]
        assert (recall.value, recall.low, recall.high) == (-0.25, -0.5, 0.0)
        assert all(not view.differences for view in self.evaluation(main_model=None).views.values())
        with pytest.raises(RecsysError, match="main_model = 'theirs' is not among the models"):
            self.evaluation(main_model="theirs")

    def test_slices_have_every_metric_of_every_model(self) -> None:
        evaluation = self.evaluation()
        sizes = {
            kind: {name: (part.num_users, part.num_pairs) for name, part in parts.items()}
            for kind, parts in evaluation.slices.items()
        }
        # Warm ground truth: b of 1 and 3, a of 3. b has three events, a five; no user has five known items.
        assert sizes == {
            "items": {"hot": (1, 1), "warm": (0, 0), "tail": (2, 2), "cold": (2, 3)},
            "users": {"no history": (0, 0), "new": (2, 3), "light": (0, 0), "heavy": (0, 0)},
        }
        views, slices = evaluation.views, evaluation.slices
        assert slices["items"]["cold"].models == views["cold_full"].models
        assert slices["users"]["new"].models == views["warm"].models
        assert slices["users"]["new"].differences == views["warm"].differences
        assert slices["items"]["hot"].models["als"]["recall@2"].value == 1.0
        assert slices["items"]["warm"].models == {}

    def test_accuracy_alone_is_the_same_without_the_rest(self) -> None:
        whole, alone = self.evaluation(), self.evaluation(main_model=None, beyond_accuracy=False)
        assert alone.slices == {}
        for name, view in alone.views.items():
            for model, by_metric in view.models.items():
                assert [metric.removesuffix("@2") for metric in by_metric] == list(METRICS)
                assert by_metric.items() <= whole.views[name].models[model].items()

    def test_json_round_trip(self) -> None:
        evaluation = self.evaluation()
        assert Evaluation.from_json(evaluation.to_json()) == evaluation
        assert "NaN" not in evaluation.to_json()


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (make_events([]), "the split has no test event"),
        (make_events([("1", "b")], positive=False), "none of the 1 test events is positive"),
        (
            make_events([("1", "a"), ("2", "b")]),
            "all 2 test pairs are repeats of items that their users",
        ),
    ],
)
def test_where_no_test_user_is_left_the_result_says_why(test: pl.DataFrame, reason: str) -> None:
    found = evaluated(
        [Fixed("abcxy")], split=dataclasses.replace(make_split([]), test=test), beyond_accuracy=True
    )
    assert reason in found.not_measured
    assert found.counts["users_counted"] == 0
    assert all(not view.num_users and not view.models for view in found.views.values())
    assert Evaluation.from_json(found.to_json()) == found


def test_where_a_test_user_is_left_there_is_no_reason() -> None:
    assert evaluated([Fixed("abcxy")], split=make_split(TEST)).not_measured == ""
