"""The annotation of items by the predicted ratings of their reviews."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prepared_parts import nasty, streamed
from split_parts import dataset

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset, MediaVectors, MediumVectors
from features.inputs.review_sentiment import (
    ENTHUSIASM,
    PRAISE,
    Quality,
    ReviewSentiment,
    _folds,
    _ratings,
    annotate_reviewers,
    fit_review_sentiment,
    read_quality,
)
from recsys.modalities import Modality

NUM_USERS, NUM_ITEMS, WIDTH = 12, 20, 6
NUM = NUM_USERS * NUM_ITEMS


def _world(seed: int = 0) -> tuple[Dataset, MediaVectors, np.ndarray]:
    """Every user reviews every item. The first number of a text vector is its mood; voices are noise.

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


def _fit(data: Dataset, vectors: MediaVectors) -> ReviewSentiment:
    found = fit_review_sentiment(data, vectors)
    assert found is not None
    return found


def test_a_planted_mood_is_predicted_for_items_whose_ratings_were_not_fitted_on() -> None:
    data, vectors, _ = _world()
    found = _fit(data, vectors)
    mood = vectors.reviews[Modality.REVIEW_TEXT].vectors[:, 0]
    assert np.corrcoef(found.by_review, mood)[0, 1] > 0.99
    assert found.quality["text"].num_rated == NUM
    assert found.quality["text"].correlation > 0.9
    assert found.quality["text"].r2 > 0.85
    assert abs(found.quality["voice"].correlation) < 0.2
    assert found.quality["voice"].r2 < 0.05


@pytest.mark.parametrize("where", ["its own", "the event's"])
def test_a_rating_comes_from_the_review_or_from_the_event(where: str) -> None:
    data, vectors, rating = _world()
    expected = _fit(data, vectors).by_review
    if where == "the event's":
        reviews = data.reviews.with_columns(value=pl.lit(None, pl.Float64))
        events = data.interactions.with_columns(pl.Series("value", rating))
        data = replace(data, reviews=reviews, interactions=events)
    np.testing.assert_allclose(_fit(data, vectors).by_review, expected, atol=1e-5)


def test_predictions_for_an_item_do_not_depend_on_its_own_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.inputs.review_sentiment.RIDGE_ALPHAS", (1.0,))
    data, vectors, rating = _world()
    fold = _folds(data.reviews["item_id"])
    own = (data.reviews["item_id"] == "i03").to_numpy()
    assert len(set(fold[own].tolist())) == 1
    other = data.reviews.with_columns(pl.Series("value", np.where(own, -rating, rating)))
    first, second = (_fit(each, vectors).by_review for each in (data, replace(data, reviews=other)))
    np.testing.assert_allclose(second[own], first[own], atol=1e-4)
    assert not np.allclose(second[~own], first[~own], atol=1e-2)


def test_without_enough_rated_reviews_there_is_no_annotation(tmp_path: Path) -> None:
    data, vectors, rating = _world()
    few = np.where(np.arange(NUM) < 99, rating, np.nan)
    for values in (few, np.full(NUM, np.nan)):
        reviews = data.reviews.with_columns(pl.Series("value", values).fill_nan(None))
        poor = replace(data, reviews=reviews)
        assert fit_review_sentiment(poor, vectors) is None
        assert annotate_reviewers(poor, vectors, tmp_path / "quality.json") == [None] * NUM_ITEMS
        assert read_quality(tmp_path / "quality.json") == {}
    assert fit_review_sentiment(data, MediaVectors(items={}, reviews={})) is None
    assert fit_review_sentiment(replace(data, reviews=data.reviews.clear()), vectors) is None


def test_the_catalogue_is_annotated_and_the_quality_is_written_down(tmp_path: Path) -> None:
    """Item i04 is praised in all of its reviews, every other item in about half of them."""
    data, vectors, _ = _world()
    text = vectors.reviews[Modality.REVIEW_TEXT].vectors.copy()
    praised = (data.reviews["item_id"] == "i04").to_numpy()
    text[praised, 0] = np.abs(text[praised, 0]) + 1.0
    medium = MediumVectors(owner=np.arange(NUM), vectors=text)
    vectors = MediaVectors(items={}, reviews=dict(vectors.reviews) | {Modality.REVIEW_TEXT: medium})
    rating = pl.Series("value", 3.0 + 2.0 * text[:, 0])
    data = replace(data, reviews=data.reviews.with_columns(rating))
    labels = annotate_reviewers(data, vectors, tmp_path / "quality.json")
    assert data.items["item_id"][labels.index(PRAISE)] == "i04"
    assert labels.count(None) == NUM_ITEMS - 1
    assert read_quality(tmp_path / "quality.json") == dict(_fit(data, vectors).quality)


def test_ratings_of_events_are_the_same_from_a_log_on_disk(tmp_path: Path) -> None:
    root = nasty(tmp_path, 0)
    on_disk = _ratings(streamed(root))
    assert np.isfinite(on_disk).any()
    np.testing.assert_allclose(on_disk, _ratings(load_dataset(root)), rtol=1e-6)


SURE = Quality(num_rated=500, r2=0.4, correlation=0.6, ridge_alpha=1.0)
UNSURE = replace(SURE, correlation=0.1)


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
def test_only_significant_differences_are_labelled(
    quality: dict[str, Quality], expected: list[str | None]
) -> None:
    """Item 0 has 16 content reviews, item 1 two, item 2 16 mixed ones; by voice item 3 has 16."""
    items = np.repeat([0, 1, 2, 3], [16, 2, 16, 16])
    text = np.concatenate([np.ones(18), np.tile([-1, 1], 8), -np.ones(16)]).astype(np.float32)
    voice = np.concatenate([np.zeros(18), -np.ones(16), np.ones(16)]).astype(np.float32)
    found = ReviewSentiment(by_review=text, by_voice=voice, quality=quality)
    assert found.labels(items, 4) == expected
