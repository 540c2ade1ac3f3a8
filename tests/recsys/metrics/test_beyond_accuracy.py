"""Figures beyond accuracy: by hand, by slow references, and those that RecTools gives."""

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED, IdMap
from recsys.item_features import ItemFeatures
from recsys.metrics.beyond_accuracy import Content, Exposure, coverage, gini, information, per_user
from recsys.metrics.ranking import Doubles

KS = (2, 3, 8)


def items(popularity: list[int], **media: tuple[Doubles, Bools]) -> ItemFeatures:
    """A catalogue with that many training events an item, and media as (vectors, present)."""
    head = np.zeros(NUM_RESERVED)
    return ItemFeatures(
        item_ids=IdMap([str(at) for at in range(len(popularity))]),
        dense={
            name: np.concatenate([np.zeros((NUM_RESERVED, vectors.shape[1]), vectors.dtype), vectors])
            for name, (vectors, _) in media.items()
        },
        present={name: np.concatenate([head > 0, present]) for name, (_, present) in media.items()},
        categories={},
        category_ids={},
        trained=np.ones(len(popularity) + NUM_RESERVED, np.bool_),
        popularity=np.concatenate([head, popularity]).astype(np.float32),
    )


def ranked(lists: list[list[int]], width: int = 8) -> Ints:
    """Item 0 is id 2."""
    found = np.zeros((len(lists), width), np.int64)
    for row, each in enumerate(lists):
        found[row, : len(each)] = np.array(each) + NUM_RESERVED
    return found


def drawn_lists(seed: int, num_users: int = 40, num_items: int = 30, width: int = 8) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(num_items)[: rng.integers(0, width + 1)].tolist() for _ in range(num_users)]


def two_media(seed: int, num_items: int = 30, dtype: Any = np.float64) -> dict[str, tuple[Any, Bools]]:
    """Titles of most items and pictures of half; some have neither."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(1.0, 3.0, (num_items, dim)).astype(dtype), rng.random(num_items) < share)
        for name, dim, share in (("title", 5, 0.8), ("image", 9, 0.5))
    }


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def slow_vector(media: dict[str, tuple[Floats, Bools]], item: int) -> list[float] | None:
    """All modalities side by side, each standardised and at unit length; None without any."""
    vector: list[float] = []
    for vectors, present in media.values():
        own = vectors[present].astype(np.float64)
        part = (vectors[item] - own.mean(0)) / own.std(0)
        vector += (part / np.linalg.norm(part) if present[item] else np.zeros_like(part)).tolist()
    return vector if any(present[item] for _, present in media.values()) else None


def slow_diversity(media: dict[str, tuple[Floats, Bools]], row: list[int]) -> float:
    vectors = [vector for item in row if (vector := slow_vector(media, item)) is not None]
    distances = [1 - cosine(*pair) for pair in combinations(vectors, 2)]
    return sum(distances) / len(distances) if distances else float("nan")


def slow_gini(counts: list[int]) -> float:
    """Half the relative mean difference, over pairs of two different items."""
    n = len(counts)
    differences = sum(abs(a - b) for a in counts for b in counts)
    return differences / (2 * n * (n - 1) * (sum(counts) / n))


class TestOfASet:
    def test_by_hand(self) -> None:
        exposure = np.array([[3, 1, 0], [2, 2, 0], [4, 0, 0]])
        assert coverage(exposure, 4).tolist() == [0.5, 0.5, 0.25]
        # 0 0 1 3: (-3 * 0 - 1 * 0 + 1 * 1 + 3 * 3) / (3 * 4); 0 0 2 2: (2 + 6) / 12; 0 0 0 4: one has all.
        assert gini(exposure, 4).tolist() == pytest.approx([10 / 12, 8 / 12, 1.0])
        assert gini(np.array([5, 5, 5]), 3) == 0.0, "all alike"

    def test_nothing_listed_covers_nothing_and_has_no_gini(self) -> None:
        assert coverage(np.zeros((1, 0), np.int64), 7).tolist() == [0.0]
        assert np.isnan(gini(np.zeros((1, 0), np.int64), 7)).all()

    @pytest.mark.parametrize("seed", [0, 1])
    def test_gini_is_the_mean_difference(self, seed: int) -> None:
        counts = np.random.default_rng(seed).integers(0, 9, 20)
        assert gini(counts, 20) == pytest.approx(slow_gini(counts.tolist()), abs=1e-12)
        listed = counts[counts > 0]
        assert gini(listed, 20) == pytest.approx(float(gini(counts, 20)), abs=1e-12)

    def test_exposure_of_drawn_users_is_that_of_their_lists_counted_one_by_one(self) -> None:
        lists = drawn_lists(0)
        times = np.random.default_rng(1).multinomial(len(lists), [1 / len(lists)] * len(lists), size=5)
        for k, counts in Exposure(ranked(lists), (3, 8, 2)).counts(times.T):
            for row in range(5):
                slow = [0] * 30
                for user, each in enumerate(lists):
                    for item in each[:k]:
                        slow[item] += int(times[row, user])
                assert sorted(counts[row][counts[row] > 0]) == sorted(filter(None, slow))
                assert coverage(counts[row], 30) == sum(map(bool, slow)) / 30
                assert gini(counts[row], 30) == pytest.approx(slow_gini(slow), abs=1e-12)

    def test_empty_lists_expose_nothing(self) -> None:
        found = dict(Exposure(ranked([[], []]), (2, 3)).counts(np.ones((2, 4), np.int64)))
        assert {k: counts.shape for k, counts in found.items()} == {2: (4, 0), 3: (4, 0)}


class TestPerUser:
    def test_information_by_hand(self) -> None:
        # 8 events: shares of 1/2, 3/8, 1/8; an item without one counts as if it had one.
        assert information(np.array([0, 0, 4, 3, 1, 0])).tolist() == pytest.approx(
            [3, 3, 1, -math.log2(3 / 8), 3, 3]
        )

    def test_novelty_and_popularity_by_hand(self) -> None:
        found = per_user(
            ranked([[0, 2], [3], []]), (1, 3), popularity_N=items([4, 3, 1, 0]).popularity, content=None
        )
        assert set(found) == {"novelty@1", "arp@1", "novelty@3", "arp@3"}
        assert found["novelty@1"][:2].tolist() == [1, 3]
        assert found["novelty@3"][:2].tolist() == [(1 + 3) / 2, 3]
        assert found["arp@3"][:2].tolist() == [(4 + 1) / 2, 0]
        assert all(np.isnan(value[2]) for value in found.values()), "an empty list has neither"

    def test_diversity_by_hand(self) -> None:
        # Standardised these are (1, 1), (-1, -1), (1, -1), (-1, 1): cosines of -1 and 0.
        square = np.array([[3.0, 30], [1, 10], [3, 10], [1, 30]])
        content = Content(items([1] * 4, title=(square, np.ones(4, np.bool_))))
        found = content.diversity(ranked([[0, 1, 2], [2, 0], [3]]), (2, 3))
        assert found[2][:2].tolist() == pytest.approx([2.0, 1.0])
        assert found[3][0] == pytest.approx((2 + 1 + 1) / 3)
        assert np.isnan([found[2][2], found[3][2]]).all(), "one item makes no pair"

    @pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-9)])
    def test_diversity_is_that_of_every_pair(self, dtype: Any, tolerance: float) -> None:
        media, lists = two_media(0, dtype=dtype), drawn_lists(1)
        found = Content(items([1] * 30, **media)).diversity(ranked(lists), (8, 3))
        for k in (3, 8):
            slow = np.array([slow_diversity(media, row[:k]) for row in lists])
            assert np.isnan(slow).any()
            assert np.allclose(found[k], slow, rtol=0, atol=tolerance, equal_nan=True)

    def test_users_in_parts_give_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content, lists = Content(items([1] * 30, **two_media(2))), ranked(drawn_lists(3))
        whole = content.diversity(lists, KS)
        monkeypatch.setattr("recsys.metrics.beyond_accuracy._USERS_AT_ONCE", 7)
        monkeypatch.setattr("recsys.metrics.beyond_accuracy._ROWS_AT_ONCE", 4)
        parts = Content(items([1] * 30, **two_media(2))).diversity(lists, KS)
        for k in KS:
            assert np.allclose(whole[k], parts[k], rtol=0, atol=1e-12, equal_nan=True)

    def test_what_counts_as_content(self) -> None:
        media = {name: (np.ones((3, 2)), np.ones(3, np.bool_)) for name in ("numeric", "image", "title")}
        found = Content.of(items([1] * 3, **media))
        assert found is not None
        assert found.names == ("title", "image"), "media alone, in their usual order"
        assert Content.of(items([1] * 3)) is None
        # Vectors that are all alike say nothing: no direction, no length, no warning.
        assert found.diversity(ranked([[0, 1]]), (2,))[2].tolist() == [1.0]
        alike = {"title": (np.full((3, 2), 0.1, np.float32), np.ones(3, np.bool_))}  # whose mean is rounded
        assert Content(items([1] * 3, **alike)).diversity(ranked([[0, 1]]), (2,))[2].tolist() == [1.0]


class TestRecTools:
    """What scripts/rectools_values.py printed."""

    world = json.loads((Path(__file__).parent / "rectools.json").read_text("utf-8"))

    @pytest.mark.parametrize("k", KS)
    def test_the_same_figures(self, k: int) -> None:
        vectors, events = np.array(self.world["vectors"]), self.world["events"]
        assert min(events) == 0, "cold items are among them"
        lists = [[item - 1 for item in row] for row in self.world["lists"]]  # RecTools counts from 1
        catalogue = items(events, title=(vectors, np.ones(len(vectors), np.bool_)))
        content = Content.of(catalogue)
        found = per_user(ranked(lists), KS, popularity_N=catalogue.popularity, content=content)
        for name in ("novelty", "arp", "ild"):
            expected = np.array(self.world["values"][f"{name}@{k}"])
            assert np.abs(found[f"{name}@{k}"] - expected).max() < 1e-9, name
        counts = dict(Exposure(ranked(lists), KS).counts(np.ones((len(lists), 1), np.int64)))[k]
        assert coverage(counts, len(events))[0] == pytest.approx(
            self.world["values"][f"coverage@{k}"], abs=1e-9
        )
