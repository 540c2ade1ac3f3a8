"""Item-item BM25 against dense arithmetic; BPR: seeded, items independent of validation."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from baseline_parts import (
    CHECKERBOARD,
    ITEMS,
    SEEN,
    Pairs,
    make_events,
    make_items,
    make_split,
    names_of,
    only,
)

from recsys.arrays import Floats
from recsys.config import EASEConfig, ItemItemConfig
from recsys.errors import DataError
from training.baselines import BPR, EASE, BPRSettings, ItemItem

FAST = BPRSettings(factors=4, learning_rate=0.1, epochs=50)


class TestItemItem:
    # Counts of three users and three items; "cold" has no event and "z" only a validation event.
    TRAIN: ClassVar[Pairs] = [
        ("1", "a"), ("1", "b"), ("2", "a"), ("2", "a"), ("2", "c"), ("3", "b"), ("3", "c"), ("3", "a"),
    ]  # fmt: skip
    ITEMS = make_items("a b c z cold")
    SETTINGS = ItemItemConfig(neighbors=3, k1=1.5, b=0.6)

    def weights(self) -> Floats:
        """BM25 of each item (row) and user, by its formula."""
        count = np.array([[1, 2, 1], [1, 0, 1], [0, 1, 1]], float)
        idf = np.log(3) - np.log1p([2, 2, 3])
        length = 0.4 + 0.6 * count.sum(1) / count.sum(1).mean()
        return count * 2.5 / (1.5 * length[:, None] + count) * idf

    def test_scores_are_those_of_the_formula(self) -> None:
        model = ItemItem(make_split(self.TRAIN), self.ITEMS, seen=None, settings=self.SETTINGS)
        similarity = self.weights() @ self.weights().T
        assert model.similarity.toarray() == pytest.approx(similarity, rel=1e-5)
        history = np.array([[1, 1, 0], [2, 0, 1], [1, 1, 1]], float)
        assert model.score(["1", "2", "3"])[:, 2:5] == pytest.approx(history @ similarity, rel=1e-5)

    def test_only_so_many_neighbours_vote(self) -> None:
        settings = self.SETTINGS.model_copy(update={"neighbors": 2})
        model = ItemItem(make_split(self.TRAIN), self.ITEMS, seen=None, settings=settings)
        similarity = self.weights() @ self.weights().T
        kept = [sorted(row.indices.tolist()) for row in model.similarity]
        assert kept == [sorted(np.argsort(-row)[:2].tolist()) for row in similarity]

    def test_validation_votes_at_test_time_and_changes_no_similarity(self) -> None:
        plain = ItemItem(make_split(self.TRAIN), self.ITEMS, seen=None, settings=self.SETTINGS)
        reported = ItemItem(
            make_split(self.TRAIN, [("1", "c"), ("new", "b"), ("1", "z")], [("3", "z")]),
            self.ITEMS, seen=None, settings=self.SETTINGS,
        )  # fmt: skip
        assert (reported.similarity != plain.similarity).nnz == 0
        expected = np.array([1, 1, 1]) @ (self.weights() @ self.weights().T)
        assert reported.score(["1"])[0, 2:5] == pytest.approx(expected, rel=1e-5)
        assert names_of(reported, self.ITEMS, "new", 5)

    def test_cold_items_and_strangers_get_nothing(self) -> None:
        model = ItemItem(make_split(self.TRAIN), self.ITEMS, seen=None, settings=self.SETTINGS)
        assert set(names_of(model, self.ITEMS, "1", 5)) <= {"a", "b", "c"}
        assert not model.recommend(["1"], 2, allowed=only(self.ITEMS, "z cold")).any()
        assert not model.recommend(["stranger"], 3, allowed=None).any()

    def test_more_items_without_events_change_nothing(self) -> None:
        many = make_items("a b c z cold " + " ".join(f"more{at}" for at in range(50)))
        small, large = (
            ItemItem(make_split(self.TRAIN), items, seen=None, settings=self.SETTINGS)
            for items in (self.ITEMS, many)
        )
        assert (small.similarity != large.similarity).nnz == 0


class TestEASE:
    TRAIN = TestItemItem.TRAIN
    ITEMS = make_items("a b c z cold")
    SETTINGS = EASEConfig(regularization=2.0)

    def test_scores_are_those_of_the_closed_form(self) -> None:
        model = EASE(make_split(self.TRAIN), self.ITEMS, seen=None, settings=self.SETTINGS)
        ones = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], float)
        inverse = np.linalg.inv(ones.T @ ones + 2.0 * np.eye(3))
        weight = -inverse / np.diag(inverse)
        np.fill_diagonal(weight, 0.0)
        found = model.score(["1", "2", "3"])
        assert found[:, 2:5] == pytest.approx(ones @ weight, abs=1e-6)
        assert np.isneginf(found[:, [0, 1, 5, 6]]).all()

    def test_validation_is_read_at_test_time_and_changes_no_weight(self) -> None:
        plain = EASE(make_split(self.TRAIN), self.ITEMS, seen=None, settings=self.SETTINGS)
        reported = EASE(
            make_split(self.TRAIN, [("1", "c"), ("new", "b")]), self.ITEMS, seen=None, settings=self.SETTINGS
        )
        assert (reported.weight == plain.weight).all()
        assert reported.score(["1"])[0, 2:5] == pytest.approx(plain.weight.sum(0), abs=1e-6)
        assert names_of(reported, self.ITEMS, "new", 5)

    def test_cold_items_and_strangers_get_nothing(self) -> None:
        model = EASE(make_split(self.TRAIN), self.ITEMS, seen=None, settings=self.SETTINGS)
        assert not model.recommend(["1"], 2, allowed=only(self.ITEMS, "z cold")).any()
        assert not model.recommend(["stranger"], 3, allowed=None).any()


class TestBPR:
    def test_a_seed_repeats_and_another_differs(self) -> None:
        def factors(seed: int) -> Floats:
            split = make_split(CHECKERBOARD)
            return BPR.fit(split, ITEMS, seen=None, settings=replace(FAST, seed=seed)).item_factors

        assert (factors(0) == factors(0)).all()
        assert (factors(0) != factors(1)).any()

    def test_a_course_is_one_fit_looked_at_on_its_way(self) -> None:
        split = make_split(CHECKERBOARD)
        models = list(BPR.snapshots(split, ITEMS, seen=None, settings=FAST, epochs=(5, 20, 50)))
        assert [model.settings.epochs for model in models] == [5, 20, 50]
        again = list(BPR.snapshots(split, ITEMS, seen=None, settings=FAST, epochs=(5, 20, 50)))
        for one, other in zip(models, again, strict=True):
            assert (one.item_factors == other.item_factors).all()
        assert (models[0].item_factors != models[2].item_factors).any()

    def test_item_factors_know_nothing_of_validation_and_test(self) -> None:
        later = [(f"u{n}", f"i{n}") for n in range(8)]
        blind = BPR.fit(make_split(CHECKERBOARD), ITEMS, seen=None, settings=FAST)
        reported = BPR.fit(make_split(CHECKERBOARD, later, later), ITEMS, seen=None, settings=FAST)
        assert (blind.item_factors == reported.item_factors).all()
        assert (blind.score(["u0"]) != reported.score(["u0"])).any(), "the user's own vector has gone on"

    def test_a_user_met_in_validation_gets_items_of_their_colour(self) -> None:
        settings = replace(FAST, epochs=200)
        split = make_split(CHECKERBOARD, validation=[("new", "i0"), ("new", "i2")])
        seen = {"new": ITEMS.item_ids.encode(["i0", "i2"])}
        assert set(names_of(BPR.fit(split, ITEMS, seen=seen, settings=settings), ITEMS, "new", 2)) == {
            "i4",
            "i6",
        }

    def test_cold_items_and_strangers_get_nothing(self) -> None:
        model = BPR.fit(make_split(CHECKERBOARD, [("v", "cold")]), ITEMS, seen=SEEN, settings=FAST)
        assert "cold" not in names_of(model, ITEMS, "u0", 9)
        assert not model.recommend(["stranger", "v"], 3, allowed=None).any()

    def test_nothing_to_fit_on_is_refused(self) -> None:
        with pytest.raises(DataError, match="no positive training event"):
            BPR.fit(make_split([]), ITEMS, seen=None, settings=FAST)


def test_negative_events_teach_nothing() -> None:
    split = make_split(TestItemItem.TRAIN)
    disliked = make_events([("1", "cold"), ("2", "z")], positive=False)
    reported = replace(split, train=split.train.vstack(disliked))
    items = TestItemItem.ITEMS
    settings = TestItemItem.SETTINGS
    assert (
        ItemItem(reported, items, seen=None, settings=settings).similarity
        != ItemItem(split, items, seen=None, settings=settings).similarity
    ).nnz == 0
