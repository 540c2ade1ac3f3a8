"""The three alterations of vectors with presence and of review vectors, against slow references."""

import numpy as np
import pytest

from features.dataset.tables import MediumVectors
from recsys.arrays import Bools, Floats
from training.knockouts.alteration import KINDS, Kind, Pair, altered_media, altered_pairs

NUM = 40


def pair(seed: int, width: int, share: float) -> Pair:
    rng = np.random.default_rng(seed)
    has: Bools = rng.random(NUM) < share
    return (rng.normal(3.0, 2.0, (NUM, width)) * has[:, None]).astype(np.float32), has


def medium(owner: list[int], width: int = 2) -> MediumVectors:
    """Vector i is (owner, i), so that its owner can be read from it."""
    vectors: Floats = np.array([[each, at] for at, each in enumerate(owner)], np.float32)
    return MediumVectors(owner=np.array(owner), vectors=vectors)


def shuffled_slowly(pairs: dict[str, Pair], seed: int) -> dict[str, Pair]:
    """Slow reference: the rows with content, in random order, are copied to the same rows in order."""
    rows = [row for row in range(NUM) if any(has[row] for _, has in pairs.values())]
    givers = np.random.default_rng(seed).permutation(rows)
    result = {name: (vector.copy(), has.copy()) for name, (vector, has) in pairs.items()}
    for taker, giver in zip(rows, givers, strict=True):
        for name, (vector, has) in pairs.items():
            result[name][0][taker], result[name][1][taker] = vector[giver], has[giver]
    return result


@pytest.mark.parametrize("names", [("a",), ("a", "b")], ids=["one", "a group"])
def test_shuffling_equals_the_slow_way(names: tuple[str, ...]) -> None:
    pairs = {name: pair(seed, 3 + seed, 0.6) for seed, name in enumerate(names)}
    found = altered_pairs(pairs, "shuffled", np.random.default_rng(7))
    expected = shuffled_slowly(pairs, 7)
    for name in names:
        np.testing.assert_array_equal(found[name][0], expected[name][0])
        np.testing.assert_array_equal(found[name][1], expected[name][1])
    assert any((found[name][0] != pairs[name][0]).any() for name in names)


def test_a_shuffled_modality_stays_with_those_who_have_it() -> None:
    vector, has = pair(0, 4, 0.5)
    after, has_after = altered_pairs({"a": (vector, has)}, "shuffled", np.random.default_rng(0))["a"]
    np.testing.assert_array_equal(has_after, has)
    np.testing.assert_array_equal(np.sort(after[has], axis=0), np.sort(vector[has], axis=0))
    np.testing.assert_array_equal(after[~has], vector[~has])


def test_a_group_moves_together() -> None:
    own = np.arange(NUM, dtype=np.float32)[:, None]
    has_a, has_b = np.arange(NUM) % 2 == 0, np.arange(NUM) % 3 == 0
    found = altered_pairs({"a": (own, has_a), "b": (own, has_b)}, "shuffled", np.random.default_rng(0))
    np.testing.assert_array_equal(found["a"][0], found["b"][0])
    giver = found["a"][0][:, 0].astype(int)
    np.testing.assert_array_equal(found["a"][1], has_a[giver])
    np.testing.assert_array_equal(found["b"][1], has_b[giver])
    neither = ~has_a & ~has_b
    np.testing.assert_array_equal(giver[neither], np.flatnonzero(neither))


def test_noise_has_their_mean_and_deviation() -> None:
    rng = np.random.default_rng(0)
    has = np.arange(4000) % 4 != 0
    vector = rng.normal([5.0, -1.0], [0.1, 3.0], (4000, 2)).astype(np.float32)
    vector[~has] = 100.0
    after, has_after = altered_pairs({"a": (vector, has)}, "noise", np.random.default_rng(1))["a"]
    np.testing.assert_array_equal(has_after, has)
    np.testing.assert_array_equal(after[~has], vector[~has])
    np.testing.assert_allclose(after[has].mean(0), vector[has].mean(0), atol=0.2)
    np.testing.assert_allclose(after[has].std(0), vector[has].std(0), rtol=0.05)
    assert abs(np.corrcoef(after[has][:, 1], vector[has][:, 1])[0, 1]) < 0.06
    assert after.dtype == np.float32


def test_absent_is_had_by_nobody() -> None:
    vector, has = pair(0, 4, 0.5)
    after, has_after = altered_pairs({"a": (vector, has)}, "absent", np.random.default_rng(0))["a"]
    assert not has_after.any()
    np.testing.assert_array_equal(after, vector)


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_in_is_left_as_it_is_and_a_seed_repeats(kind: Kind) -> None:
    pairs = {"a": pair(0, 4, 0.5)}
    before = pairs["a"][0].copy(), pairs["a"][1].copy()
    first, second = (altered_pairs(pairs, kind, np.random.default_rng(3))["a"] for _ in range(2))
    for given, kept, one, other in zip(pairs["a"], before, first, second, strict=True):
        np.testing.assert_array_equal(given, kept)
        np.testing.assert_array_equal(one, other)


def test_something_that_nobody_has_stays_so() -> None:
    vector, has = np.zeros((NUM, 2), np.float32), np.zeros(NUM, np.bool_)
    for kind in KINDS:
        after, has_after = altered_pairs({"a": (vector, has)}, kind, np.random.default_rng(0))["a"]
        np.testing.assert_array_equal(after, vector)
        np.testing.assert_array_equal(has_after, has)


class TestReviews:
    """Six reviews, the last of which must not be read."""

    READABLE = np.array([True, True, True, True, True, False])
    WRITTEN, SPOKEN = medium([0, 1, 1, 3, 5]), medium([1, 2, 5])

    def shuffled(self, seed: int) -> dict[str, MediumVectors]:
        media = {"written": self.WRITTEN, "spoken": self.SPOKEN}
        return altered_media(media, self.READABLE, "shuffled", np.random.default_rng(seed))

    def test_a_review_hands_on_all_that_it_has(self) -> None:
        found = self.shuffled(seed=0)
        giver_of = {}  # the first number of a vector says whose it was
        for each in found.values():
            assert (np.diff(each.owner) >= 0).all()
            for owner, (giver, _) in zip(each.owner.tolist(), each.vectors.astype(int).tolist(), strict=True):
                assert giver_of.setdefault(owner, giver) == giver
        assert sorted(giver_of) == sorted(giver_of.values()) == [0, 1, 2, 3]
        assert any(owner != giver for owner, giver in giver_of.items())
        assert len(found["written"].owner) == 4, "both texts of review 1 went to one review"

    def test_the_unreadable_one_gives_nothing_and_gets_nothing(self) -> None:
        for seed in range(5):
            for each in self.shuffled(seed).values():
                assert 5 not in each.owner
                assert 5 not in each.vectors[:, 0]

    def test_absent(self) -> None:
        assert altered_media({"a": self.WRITTEN}, self.READABLE, "absent", np.random.default_rng(0)) == {}

    def test_a_medium_of_unreadable_reviews_alone_is_none(self) -> None:
        for kind in KINDS:
            found = altered_media({"a": medium([5])}, self.READABLE, kind, np.random.default_rng(0))
            assert found == {}

    def test_noise_stands_where_vectors_stood(self) -> None:
        found = altered_media({"a": self.WRITTEN}, self.READABLE, "noise", np.random.default_rng(0))["a"]
        assert found.owner.tolist() == [0, 1, 1, 3]
        assert not np.isclose(found.vectors, self.WRITTEN.vectors[:4]).any()
        many = MediumVectors(owner=np.arange(5), vectors=np.full((5, 2), 7.0, np.float32))
        same = altered_media({"a": many}, self.READABLE, "noise", np.random.default_rng(0))["a"]
        np.testing.assert_array_equal(same.vectors, many.vectors)
