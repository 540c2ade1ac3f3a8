"""What is foretold of reviews: planted moods are found, and no rating that is held out is ever read."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from split_parts import dataset

from features.dataset.tables import Dataset, MediaVectors, MediumVectors
from features.inputs.item_features import build_item_features
from features.inputs.sentiment import (
    ENTHUSIASM,
    PRAISE,
    Quality,
    Sentiment,
    _folds,
    fit_sentiment,
    review_items,
)
from features.splits.train_statistics import InMemoryTrainStatistics
from recsys.columns import Modality
from recsys.ids import IdMap

NUM_USERS, NUM_ITEMS, WIDTH = 12, 20, 6
NUM = NUM_USERS * NUM_ITEMS


def _world(seed: int = 0) -> tuple[Dataset, MediaVectors, np.ndarray]:
    """Everybody reviews everything; the first number of a text is its mood, voices say nothing.

    A rating is 3, the author's habit (which no review tells) and twice the mood.
    """
    rng = np.random.default_rng(seed)
    pairs = [(f"u{user:02}", f"i{item:02}") for user in range(NUM_USERS) for item in range(NUM_ITEMS)]
    data = dataset(
        [(user, item, at) for at, (user, item) in enumerate(pairs)],
        [(user, item, at) for at, (user, item) in enumerate(pairs)],
    )
    text = rng.standard_normal((NUM, WIDTH)).astype(np.float32)
    habit = np.repeat(rng.standard_normal(NUM_USERS), NUM_ITEMS)
    rating = 3.0 + habit + 2.0 * text[:, 0]
    data = replace(data, reviews=data.reviews.with_columns(pl.Series("value", rating)))
    voice = rng.standard_normal((NUM, WIDTH)).astype(np.float32)
    owner = np.arange(NUM)
    media = {
        Modality.REVIEW_TEXT: MediumVectors(owner=owner, vectors=text),
        Modality.REVIEW_AUDIO: MediumVectors(owner=owner, vectors=voice),
    }
    return data, MediaVectors(items={}, reviews=media), rating


def _fit(data: Dataset, vectors: MediaVectors, reviews: pl.DataFrame | None = None) -> Sentiment:
    train = InMemoryTrainStatistics(data.interactions)
    found = fit_sentiment(data, vectors, train=train, reviews=data.reviews if reviews is None else reviews)
    assert found is not None
    return found


def test_a_planted_mood_is_foretold_for_items_whose_ratings_were_not_fitted_on() -> None:
    data, vectors, _ = _world()
    found = _fit(data, vectors)
    mood = vectors.reviews[Modality.REVIEW_TEXT].vectors[:, 0]
    assert np.corrcoef(found.by_review, mood)[0, 1] > 0.99
    assert found.quality["text"].num_rated == NUM
    assert found.quality["text"].correlation > 0.9
    assert found.quality["text"].r2 > 0.85
    assert abs(found.quality["voice"].correlation) < 0.2
    assert found.quality["voice"].r2 < 0.05


@pytest.mark.parametrize("where", ["its own", "the training event's"])
def test_a_rating_stands_with_the_review_or_with_the_event(where: str) -> None:
    data, vectors, rating = _world()
    expected = _fit(data, vectors).by_review
    if where == "the training event's":
        reviews = data.reviews.with_columns(value=pl.lit(None, pl.Float64))
        events = data.interactions.with_columns(pl.Series("value", rating))
        data = replace(data, reviews=reviews, interactions=events)
    np.testing.assert_allclose(_fit(data, vectors).by_review, expected, atol=1e-5)


def test_what_is_said_of_an_item_does_not_hang_on_its_own_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.inputs.sentiment.PENALTIES", (1.0,))
    data, vectors, rating = _world()
    fold = _folds(data.reviews["item_id"])
    own = (data.reviews["item_id"] == "i03").to_numpy()
    assert len(set(fold[own].tolist())) == 1
    other = data.reviews.with_columns(pl.Series("value", np.where(own, -rating, rating)))
    first, second = (_fit(each, vectors).by_review for each in (data, replace(data, reviews=other)))
    np.testing.assert_allclose(second[own], first[own], atol=1e-4)
    assert not np.allclose(second[~own], first[~own], atol=1e-2)


def test_a_planted_leak_of_a_held_review_and_of_its_rating_changes_nothing() -> None:
    data, vectors, rating = _world()
    allowed = data.reviews.filter(pl.col("item_id") != "i07")
    events = data.interactions.filter(pl.col("item_id") != "i07")
    honest = fit_sentiment(data, vectors, train=InMemoryTrainStatistics(events), reviews=allowed)
    held = (data.reviews["item_id"] == "i07").to_numpy()
    loud = vectors.reviews[Modality.REVIEW_TEXT].vectors.copy()
    loud[held] = 100.0
    other = MediaVectors(
        items={},
        reviews={**vectors.reviews, Modality.REVIEW_TEXT: MediumVectors(owner=np.arange(NUM), vectors=loud)},
    )
    planted = replace(data, reviews=data.reviews.with_columns(pl.Series("value", np.where(held, 99, rating))))
    leaky = fit_sentiment(planted, other, train=InMemoryTrainStatistics(events), reviews=allowed)
    assert honest is not None
    assert leaky is not None
    np.testing.assert_array_equal(leaky.by_review, honest.by_review)
    assert np.isnan(honest.by_review[held]).all()


def test_few_ratings_or_none_are_nothing_to_fit_on() -> None:
    data, vectors, rating = _world()
    few = np.where(np.arange(NUM) < 99, rating, np.nan)
    for values in (few, np.full(NUM, np.nan)):
        reviews = data.reviews.with_columns(pl.Series("value", values).fill_nan(None))
        poor = replace(data, reviews=reviews)
        assert (
            fit_sentiment(poor, vectors, train=InMemoryTrainStatistics(data.interactions), reviews=reviews)
            is None
        )
    train = InMemoryTrainStatistics(data.interactions)
    silent = MediaVectors(items={}, reviews={})
    assert fit_sentiment(data, silent, train=train, reviews=data.reviews) is None


SURE = Quality(num_rated=500, r2=0.4, correlation=0.6, penalty=1.0)
UNSURE = replace(SURE, correlation=0.1)


def test_an_item_is_as_content_as_its_reviews_on_average_drawn_to_nothing() -> None:
    said = np.array([1.0, 3.0, -1.0, np.nan, 2.0], np.float32)
    found = Sentiment(by_review=said, by_voice=None)
    items, chosen = np.array([0, 0, 1, 2, 0]), np.array([True, True, True, True, False])
    vectors, has = found.of_items(items, 4, chosen)
    np.testing.assert_allclose(vectors[:, 0], [4 / (2 + 2), -1 / (1 + 2), 0, 0])
    np.testing.assert_array_equal(has, [True, True, False, False])


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        ({"both": SURE}, [PRAISE, None, None, None]),
        ({"both": SURE, "voice": UNSURE}, [PRAISE, None, None, None]),
        ({"both": SURE, "voice": SURE}, [PRAISE, None, None, ENTHUSIASM]),
        ({"both": UNSURE}, [None, None, None, None]),
    ],
    ids=["words", "voices that tell nothing", "voices that tell", "words that tell nothing"],
)
def test_only_what_is_sure_is_said(quality: dict[str, Quality], expected: list[str | None]) -> None:
    """Item 0 has 16 content reviews, item 1 two, item 2 16 mixed ones; by voice item 3 has 16."""
    items = np.repeat([0, 1, 2, 3], [16, 2, 16, 16])
    text = np.concatenate([np.ones(18), np.tile([-1, 1], 8), -np.ones(16)]).astype(np.float32)
    voice = np.concatenate([np.zeros(18), -np.ones(16), np.ones(16)]).astype(np.float32)
    found = Sentiment(by_review=text, by_voice=voice, quality=quality)
    assert found.verdicts(items, 4) == expected


def test_the_item_tower_reads_it_as_one_more_number_that_a_new_item_has_from_testers_alone() -> None:
    data, vectors, _ = _world()
    events = data.interactions.filter(pl.col("user_id") != "u00")  # u00 reviews without an event
    train, reviews = InMemoryTrainStatistics(events), data.reviews
    sentiment = fit_sentiment(data, vectors, train=train, reviews=reviews)
    assert sentiment is not None
    name = Modality.REVIEW_SENTIMENT
    features = build_item_features(data, vectors, train=train, reviews=reviews, sentiment=sentiment)
    item = features.item_ids.strict("i05")
    mine = review_items(data, IdMap(data.items["item_id"].to_list())) == item - 2
    assert features.dense[name][item, 0] == pytest.approx(
        sentiment.by_review[mine].sum() / (NUM_USERS + 2), abs=1e-5
    )
    assert features.dense_as_new[name][item, 0] == pytest.approx(sentiment.by_review[mine][0] / 3, abs=1e-5)
    assert not features.present[name][:2].any()
    assert name not in build_item_features(data, vectors, train=train, reviews=reviews).dense
