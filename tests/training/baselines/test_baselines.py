"""Baselines on data small enough to know the right lists."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from baseline_parts import CHECKERBOARD, ITEMS, SEEN, make_events, make_items, make_split, names_of, only

from features.dataset.tables import Dataset, InMemoryDataset
from recsys.arrays import Ints
from recsys.config import ALSConfig, ItemItemConfig
from recsys.errors import DataError, RequestError
from recsys.ids import NUM_RESERVED
from training.baselines import (
    ALS,
    BPR,
    BPRSettings,
    ItemItem,
    Popularity,
    PopularitySettings,
    Random,
    RecentPopularity,
)
from training.evaluation.evaluate import TopK
from training.evaluation.oracle import Oracle

SETTINGS = ALSConfig(factors=2, regularization=0.01, iterations=10)  # two colours, two factors


def make_oracle(folder: Path, seen: dict[str, Ints] | None) -> Oracle:
    """Vectors of users and items on two axes, one for each colour of the checkerboard; item 8 is cold."""
    axis = [[1.0, 0.0], [0.0, 1.0]]
    users = {"user_id": [f"u{n}" for n in range(8)], "vector": [axis[n % 2] for n in range(8)]}
    names = [*(f"i{n}" for n in range(8)), "cold"]
    item_vectors = [*(axis[n % 2] for n in range(8)), [-1.0, -1.0]]
    paths = folder / "users.parquet", folder / "items.parquet"
    pl.DataFrame(users).write_parquet(paths[0])
    pl.DataFrame({"item_id": names, "vector": item_vectors}).reverse().write_parquet(paths[1])
    return Oracle(make_dataset(paths), ITEMS, seen=seen)


def make_dataset(oracle_files: tuple[Path, Path] | None) -> Dataset:
    empty = make_events([])
    return InMemoryDataset(
        name="made", root=Path(), items=empty, interactions=empty, reviews=empty, users=empty,
        has_clock=False, oracle_files=oracle_files,
    )  # fmt: skip


BPR_SETTINGS = BPRSettings(factors=4, learning_rate=0.1, epochs=200)
MODELS: dict[str, Callable[[dict[str, Ints] | None, Path], TopK]] = {
    "random": lambda seen, _: Random(ITEMS, seen=seen),
    "popularity": lambda seen, _: Popularity(make_split(CHECKERBOARD), ITEMS, seen=seen),
    "als": lambda seen, _: ALS(make_split(CHECKERBOARD), ITEMS, seen=seen, settings=SETTINGS),
    "popularity by age": lambda seen, _: RecentPopularity(
        make_split(CHECKERBOARD), ITEMS, seen=seen, settings=PopularitySettings(half_life_days=1)
    ),
    "bpr": lambda seen, _: BPR.fit(make_split(CHECKERBOARD), ITEMS, seen=seen, settings=BPR_SETTINGS),
    "item_item": lambda seen, _: ItemItem(
        make_split(CHECKERBOARD), ITEMS, seen=seen, settings=ItemItemConfig(neighbors=8)
    ),
    "oracle": lambda seen, folder: make_oracle(folder, seen),
}


@pytest.fixture(params=MODELS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, Ints] | None], TopK]:
    return lambda seen: MODELS[request.param](seen, tmp_path)


class TestContract:
    """The contract of `TopK`."""

    def test_shape_padding_and_distinct_items(self, make: Callable[..., TopK]) -> None:
        ranked = make(None).recommend(["u0", "u1", "u2"], 12, allowed=None)
        assert ranked.shape == (3, 12)
        assert ranked.dtype == np.int64
        for row in ranked:
            real = row[row != 0]
            assert len(real) >= 4  # of a user's own colour, at least
            assert len(set(real.tolist())) == len(real)
            assert real.min() >= NUM_RESERVED
            assert (row[len(real) :] == 0).all()

    def test_seen_items_are_left_out(self, make: Callable[..., TopK]) -> None:
        for user, ranked in zip(SEEN, make(SEEN).recommend(list(SEEN), 9, allowed=None), strict=True):
            assert not set(ranked.tolist()) & set(SEEN[user].tolist())
            assert (ranked != 0).any()

    def test_only_allowed_items(self, make: Callable[..., TopK]) -> None:
        assert set(names_of(make(None), ITEMS, "u0", 9, only(ITEMS, "i2 i4"))) == {"i2", "i4"}

    def test_the_same_answer_again_and_whoever_is_asked_along(self, make: Callable[..., TopK]) -> None:
        together = make(SEEN).recommend(["u3", "u0", "u5"], 5, allowed=None)
        alone = make(SEEN).recommend(["u0"], 5, allowed=None)
        assert (together[1] == alone[0]).all()


@pytest.mark.parametrize("name", ["als", "bpr", "item_item", "oracle"])
def test_checkerboard(name: str, tmp_path: Path) -> None:
    """The held-out item of a user's colour has rank 1."""
    model = MODELS[name](SEEN, tmp_path)
    ranked = model.recommend(list(SEEN), 1, allowed=None)[:, 0]
    assert ITEMS.item_ids.decode(ranked) == [f"i{user}" for user in range(8)]


def test_random_orders_differ_between_users_and_seeds() -> None:
    items = make_items(" ".join(map(str, range(50))))
    first, second = Random(items, seen=None).recommend(["a", "b"], 50, allowed=None)
    assert (first != second).any()
    assert (first != Random(items, seen=None, seed=1).recommend(["a"], 50, allowed=None)[0]).any()


class TestPopularity:
    ITEMS = make_items("a b c d")

    def test_by_positive_training_events_ties_by_id(self) -> None:
        split = make_split([("1", "c"), ("2", "c"), ("1", "b"), ("2", "a")])
        assert names_of(Popularity(split, self.ITEMS, seen=None), self.ITEMS, "1", 4) == ["c", "a", "b", "d"]

    def test_validation_test_and_negative_events_do_not_count(self) -> None:
        split = make_split([("1", "b")], validation=[("1", "c")] * 5, test=[("1", "d")] * 9)
        disliked = make_events([("2", "a")] * 7, positive=False)
        split = dataclasses.replace(split, train=pl.concat([split.train, disliked]))
        model = Popularity(split, self.ITEMS, seen=None)
        assert model.count_N.tolist() == [0, 0, 0, 1, 0, 0]
        assert names_of(model, self.ITEMS, "1", 2) == ["b", "a"]


class TestALS:
    def test_cold_items_are_never_recommended_and_places_stay_empty(self) -> None:
        split = make_split(CHECKERBOARD, validation=[("u0", "cold")], test=[("u1", "cold")] * 3)
        model = ALS(split, ITEMS, seen=SEEN, settings=SETTINGS)
        assert "cold" not in names_of(model, ITEMS, "u0", 9)
        assert model.recommend(["u0"], 3, allowed=only(ITEMS, "cold")).tolist() == [[0, 0, 0]]
        assert not model.item_factors[ITEMS.item_ids.strict("cold")].any()

    def test_item_factors_know_nothing_of_validation_and_test(self) -> None:
        later = [(f"u{n}", f"i{n}") for n in range(8)]
        blind = ALS(make_split(CHECKERBOARD), ITEMS, seen=None, settings=SETTINGS)
        reported = ALS(make_split(CHECKERBOARD, later, later), ITEMS, seen=None, settings=SETTINGS)
        assert (blind.item_factors == reported.item_factors).all()

    def test_validation_enters_the_user_at_test_time_and_test_never(self) -> None:
        # A user first met in validation, with even items: the rest of the even ones come first.
        fresh = [("new", "i0"), ("new", "i2")]
        split = make_split(CHECKERBOARD, validation=fresh, test=[("new", "i1"), ("new", "i3")])
        seen = {"new": ITEMS.item_ids.encode(["i0", "i2"])}
        model = ALS(split, ITEMS, seen=seen, settings=SETTINGS)
        assert set(names_of(model, ITEMS, "new", 2)) == {"i4", "i6"}

    def test_a_user_without_a_history_gets_nothing(self) -> None:
        model = ALS(make_split(CHECKERBOARD, [("v", "cold")]), ITEMS, seen=None, settings=SETTINGS)
        assert not model.recommend(["stranger", "v"], 3, allowed=None).any()

    def test_items_only_disliked_in_training_are_cold(self) -> None:
        split = make_split(CHECKERBOARD)
        disliked = make_events([("u0", "cold")], positive=False)
        model = ALS(
            dataclasses.replace(split, train=pl.concat([split.train, disliked])),
            ITEMS, seen=None, settings=SETTINGS,
        )  # fmt: skip
        assert "cold" not in names_of(model, ITEMS, "u0", 9)

    def test_seeds_repeat_and_differ(self) -> None:
        def factors(seed: int) -> np.ndarray:
            split = make_split(CHECKERBOARD)
            return ALS(split, ITEMS, seen=None, settings=SETTINGS, seed=seed).item_factors

        assert (factors(0) == factors(0)).all()
        assert (factors(0) != factors(1)).any()

    def test_nothing_to_fit_on_is_refused(self) -> None:
        with pytest.raises(DataError, match="no positive training event"):
            ALS(make_split([]), ITEMS, seen=None, settings=SETTINGS)


class TestOracle:
    def test_a_dataset_without_true_factors_is_refused(self) -> None:
        with pytest.raises(DataError, match=r"'made' has no true factors"):
            Oracle(make_dataset(None), ITEMS, seen=None)

    def test_factors_families_and_retired_items_are_those_of_the_time(self, tmp_path: Path) -> None:
        """u0 moves from the first axis to the second at 100; i1 and cold are a family; i3 retires at 150."""
        paths = tmp_path / "users.parquet", tmp_path / "items.parquet"
        users = {"user_id": ["u0", "u0"], "vector": [[0.0, 1.0], [1.0, 0.0]], "since": [100, 0]}
        pl.DataFrame(users).write_parquet(paths[0])
        names = [*(f"i{n}" for n in range(8)), "cold"]
        items = {
            "item_id": names,
            "vector": [*([2.0, 0.0] if n % 2 == 0 else [0.0, 2.0 + n / 100] for n in range(8)), [0.0, 1.0]],
            "family": [0, 1, 2, 3, 4, 5, 6, 7, 1],
            "family_bonus": [1.5] * 9,
            "retired": [None, None, None, None, None, None, None, 150, None],
        }
        pl.DataFrame(items).write_parquet(paths[1])

        def best(time: int, known: list[int]) -> list[str]:
            made = make_dataset(paths)
            known_items = {"u0": np.array(known)}
            oracle = Oracle(made, ITEMS, seen=None, known=known_items, times={"u0": time})
            return ITEMS.item_ids.decode(oracle.recommend(["u0"], 3, allowed=None)[0])

        item_1 = NUM_RESERVED + 1
        assert best(99, []) == ["i0", "i2", "i4"]
        assert best(100, []) == ["i7", "i5", "i3"]
        assert best(150, []) == ["i5", "i3", "i1"]
        assert best(150, [item_1]) == ["i1", "cold", "i5"]  # 2.01 + 1.5, 1 + 1.5, 2.05

    def test_two_vectors_from_one_time_are_refused(self, tmp_path: Path) -> None:
        make_oracle(tmp_path, None)
        paths = tmp_path / "users.parquet", tmp_path / "items.parquet"
        users = pl.read_parquet(paths[0])
        pl.concat([users, users.head(1)]).write_parquet(paths[0])
        with pytest.raises(DataError, match="two vectors from the same time"):
            Oracle(make_dataset(paths), ITEMS, seen=None)

    def test_an_item_without_true_factors_is_named(self, tmp_path: Path) -> None:
        make_oracle(tmp_path, None)
        files = tmp_path / "users.parquet", tmp_path / "items.parquet"
        with pytest.raises(DataError, match=r"1 items have no true factors\n  - extra"):
            Oracle(make_dataset(files), make_items("i0 extra"), seen=None)

    def test_an_unknown_user_is_named_with_the_nearest(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"'u77' has no true factors; did you mean 'u7'"):
            make_oracle(tmp_path, None).recommend(["u77"], 1, allowed=None)

    def test_a_file_without_the_columns_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.parquet"
        pl.DataFrame({"user_id": ["u0"]}).write_parquet(path)
        with pytest.raises(DataError, match=r"x\.parquet: not Parquet with the columns"):
            Oracle(make_dataset((path, path)), ITEMS, seen=None)
