"""Item features do not depend on events and reviews that may not be read."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from split_parts import Event, Review, dataset

from features.dataset.tables import Dataset, MediaVectors, MediumVectors
from features.inputs.item_features import MAX_CATEGORY_VALUES, build_item_features
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.ids import PAD, UNKNOWN
from recsys.item_features import ItemFeatures

NOTHING = MediaVectors(items={}, reviews={})
LEAVE_ONE_OUT = SplitConfig(protocol="leave_one_out")
# Of user a, item i3 is validation and i4 is test; i9 never had an event.
EVENTS: list[Event] = [("a", f"i{at}", at) for at in range(5)] + [("b", "i0", 1), ("b", "i1", 2, False)]


def build(data: Dataset, vectors: MediaVectors = NOTHING) -> ItemFeatures:
    split = make_split(data, LEAVE_ONE_OUT)
    return build_item_features(data, vectors, train=split.train, reviews=split.reviews)


def shop(reviews: list[Review] | None = None, **columns: list[object]) -> Dataset:
    data = dataset(EVENTS, reviews or [], extra_items=["i9"])
    dtypes = {"cat": pl.List(pl.String), "num": pl.Float64}
    added = [
        pl.Series(name.replace("_", ":", 1), values, dtype=dtypes[name[:3]])
        for name, values in columns.items()
    ]
    return replace(data, items=data.items.with_columns(added))


def medium(owner: list[int], vectors: list[list[float]]) -> MediumVectors:
    return MediumVectors(owner=np.array(owner, np.int64), vectors=np.array(vectors, np.float32))


def row(features: ItemFeatures, item: str) -> int:
    return features.item_ids.strict(item)


def test_training_events_alone_make_an_item_trained_and_positive_ones_popular() -> None:
    features = build(shop())
    assert list(features.item_ids.external) == ["i0", "i1", "i2", "i3", "i4", "i9"]
    np.testing.assert_array_equal(features.trained, [0, 0, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(features.popularity, [0, 0, 2, 1, 1, 0, 0, 0])


def test_cold_items_share_the_id_row_of_the_unknown() -> None:
    features = build(shop())
    np.testing.assert_array_equal(features.id_rows(), [PAD, UNKNOWN, 2, 3, 4, UNKNOWN, UNKNOWN, UNKNOWN])


def test_imputed_vectors_fill_what_is_missing_and_are_marked() -> None:
    known, missing = medium([0, 2], [[1.0], [3.0]]), medium([1, 5], [[7.0], [8.0]])
    vectors = MediaVectors(items={"title": known}, reviews={}, imputed={"title": missing})
    features = build(shop(), vectors)
    np.testing.assert_array_equal(features.dense["title"][:, 0], [0, 0, 1, 7, 3, 0, 0, 8])
    np.testing.assert_array_equal(features.present["title"], [0, 0, 1, 1, 1, 0, 0, 1])
    np.testing.assert_array_equal(features.imputed["title"], [0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(features.observed("title"), [0, 0, 1, 0, 1, 0, 0, 0])
    without = build(shop(), MediaVectors(items={"title": known}, reviews={}))
    assert without.imputed == {}
    np.testing.assert_array_equal(without.observed("title"), features.observed("title"))


def test_the_reserved_rows_have_nothing() -> None:
    every = [[float(at + 1)] for at in range(6)]
    data = shop(cat_kind=[["x"]] * 6, num_price=[1.0, 2, 3, 4, 5, 6])
    features = build(data, MediaVectors(items={"title": medium(list(range(6)), every)}, reviews={}))
    assert set(features.dense) == {"title", "numeric"}
    for name, array in features.dense.items():
        assert not array[:2].any()
        np.testing.assert_array_equal(features.present[name], [0, 0, 1, 1, 1, 1, 1, 1])
    assert not features.categories["kind"][:2].any()
    assert not features.trained[:2].any()
    np.testing.assert_array_equal(features.dense["title"][2:], every)


class TestReviewPool:
    """A vector for each review, its number is the row of the review; the tests read item i0."""

    def pool(self, reviews: list[Review]) -> tuple[np.ndarray, np.ndarray]:
        vectors = medium(list(range(len(reviews))), [[10.0**at] for at in range(len(reviews))])
        features = build(shop(reviews), MediaVectors(items={}, reviews={"review_text": vectors}))
        return features.dense["review_text"][:, 0], features.present["review_text"]

    def test_is_the_mean_of_what_may_be_read(self) -> None:
        pooled, present = self.pool([("a", "i0", 0), ("b", "i0", 1), ("a", "i1", 1)])
        np.testing.assert_array_equal(pooled, [0, 0, 5.5, 100, 0, 0, 0, 0])
        np.testing.assert_array_equal(present, [0, 0, 1, 1, 0, 0, 0, 0])

    @pytest.mark.parametrize(
        "leak",
        [("a", "i4", 0), ("a", "i3", 0), ("a", "i0", 3), ("a", "i9", 100), ("a", "i0", None)],
        ids=["of the test pair", "of the validation pair", "at the cut-off", "after it", "without a date"],
    )
    def test_leaves_a_planted_leak_out(self, leak: Review) -> None:
        allowed: list[Review] = [("b", "i0", 1), ("b", "i1", 1)]
        honest, planted = self.pool(allowed), self.pool([*allowed, leak])
        np.testing.assert_array_equal(planted, honest)
        assert make_split(shop([*allowed, leak]), LEAVE_ONE_OUT).reviews.height == 2

    def test_reviews_are_found_by_row_and_not_by_place(self) -> None:
        """A review table whose `row` has gaps, since some rows were rejected on reading."""
        data = shop([("b", "i0", 1), ("b", "i1", 1), ("b", "i2", 1)])
        data = replace(data, reviews=data.reviews.with_columns(pl.Series("row", [3, 5, 9])))
        reviews = {"review_text": medium([0, 1, 2], [[1.0], [2.0], [4.0]])}
        features = build_item_features(
            data,
            MediaVectors(items={}, reviews=reviews),
            train=data.interactions,
            reviews=data.reviews.filter(pl.col("row") != 5),
        )
        np.testing.assert_array_equal(features.dense["review_text"][:, 0], [0, 0, 1, 0, 4, 0, 0, 0])

    def test_an_item_shown_as_new_has_the_reviews_of_those_who_never_met_it(self) -> None:
        """Of i0 by its buyers a and b and by testers; i1 only by its buyer; i9, which is new, by a tester."""
        reviews: list[Review] = [
            ("a", "i0", 0), ("t", "i0", 0), ("b", "i0", 1), ("s", "i0", 9), ("a", "i1", 1), ("t", "i9", 0),
        ]  # fmt: skip
        vectors = medium(list(range(6)), [[10.0**at] for at in range(6)])
        features = build(shop(reviews), MediaVectors(items={}, reviews={"review_text": vectors}))
        as_cold, has = features.dense_as_cold["review_text"][:, 0], features.present_as_cold["review_text"]
        np.testing.assert_array_equal(as_cold, [0, 0, (10 + 1000) / 2, 0, 0, 0, 0, 1e5])
        np.testing.assert_array_equal(has, [0, 0, 1, 0, 0, 0, 0, 1])
        pooled = features.dense["review_text"][:, 0]
        np.testing.assert_array_equal(pooled, [0, 0, 1111 / 4, 1e4, 0, 0, 0, 1e5])

    def test_a_medium_of_which_nothing_may_be_read_is_absent(self) -> None:
        vectors = MediaVectors(items={}, reviews={"review_text": medium([0], [[1.0]])})
        assert "review_text" not in build(shop([("a", "i4", 9)]), vectors).dense


class TestNumeric:
    def test_the_scale_is_that_of_trained_items(self) -> None:
        # Trained: 1, 3, 5 with mean 3 and deviation sqrt(8/3); the others must not move it.
        features = build(shop(num_price=[1.0, 3, 5, 3, 1000, None]))
        scaled = features.dense["numeric"]
        step = 2 / np.sqrt(8 / 3)
        expected = [0, 0, -step, 0, step, 0, 5, 0]  # far out is cut at 5
        np.testing.assert_allclose(scaled[:, 0], expected, rtol=1e-6)
        np.testing.assert_array_equal(scaled[:, 1], [0, 0, 1, 1, 1, 1, 1, 0])
        np.testing.assert_array_equal(features.present["numeric"], [0, 0, 1, 1, 1, 1, 1, 0])

    def test_one_value_for_all_is_no_division_by_zero(self) -> None:
        features = build(shop(num_price=[7.0] * 6))
        np.testing.assert_array_equal(features.dense["numeric"][2:], [[0, 1]] * 6)

    def test_what_no_trained_item_has_says_nothing(self) -> None:
        features = build(shop(num_price=[None, None, None, 4, 5, 6], num_year=[1.0, 2, 3, 4, 5, 6]))
        scaled = features.dense["numeric"]
        assert not scaled[:, [0, 2]].any(), "price"
        assert scaled[2:, 3].all(), "year is known"

    def test_without_numeric_fields_there_is_no_modality(self) -> None:
        assert build(shop()).dense == {}


class TestCategories:
    def test_the_vocabulary_is_that_of_trained_items(self) -> None:
        features = build(shop(cat_kind=[["b"], ["a", "b"], [], ["a", "new"], ["new"], None]))
        assert features.category_ids["kind"].external == ("a", "b")
        np.testing.assert_array_equal(
            features.categories["kind"],
            [[0, 0], [0, 0], [3, 0], [2, 3], [0, 0], [2, UNKNOWN], [UNKNOWN, 0], [0, 0]],
        )

    def test_only_the_first_values_of_a_long_list_are_kept(self) -> None:
        features = build(shop(cat_kind=[[f"v{at:02d}" for at in range(20)], *[["v00"]] * 5]))
        assert features.categories["kind"].shape == (8, MAX_CATEGORY_VALUES)
        np.testing.assert_array_equal(features.categories["kind"][2], np.arange(2, 10))

    def test_a_field_without_any_value_is_padding(self) -> None:
        features = build(shop(cat_kind=[None] * 6))
        np.testing.assert_array_equal(features.categories["kind"], np.zeros((8, 1)))
        assert features.category_ids["kind"].size == 2


def test_pictures_of_one_item_are_averaged() -> None:
    vectors = MediaVectors(items={"image": medium([1, 1, 3], [[1, 0], [3, 2], [5, 5]])}, reviews={})
    features = build(shop(), vectors)
    np.testing.assert_array_equal(features.dense["image"][row(features, "i1")], [2, 1])
    np.testing.assert_array_equal(features.present["image"], [0, 0, 0, 1, 0, 1, 0, 0])
    assert features.dense["image"].dtype == np.float32
