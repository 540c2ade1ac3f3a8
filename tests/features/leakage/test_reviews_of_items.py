"""Planted leaks in what items show of their reviews: as new ones, and in how content reviewers are."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from leak_parts import Pieces, pieces

from features.inputs.item_features import build_item_features
from features.inputs.sentiment import fit_sentiment
from features.splits.train_statistics import InMemoryTrainStatistics
from recsys.errors import LeakError
from recsys.ids import NUM_RESERVED


@pytest.fixture(scope="module", params=[False, True], ids=["memory", "disk"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pieces]:
    root: Path = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("features.inputs.sentiment.MIN_RATED", 10)
        yield pieces(root, "user_temporal", streamed=request.param)


def test_a_buyers_review_in_what_an_item_shows_as_new(made: Pieces) -> None:
    bought = made.split.reviews.join(made.split.train, on=["user_id", "item_id"], how="semi")
    item = made.features.item_ids.strict(bought["item_id"][0])
    few = made.features.dense_as_new["review_text"].copy()
    few[item] = made.features.dense["review_text"][item]
    with pytest.raises(LeakError, match="reviews of it that may be read") as error:
        made.fit(features=replace(made.features, dense_as_new={"review_text": few}))
    assert error.value.table == "ItemFeatures.dense_as_new['review_text']"
    assert error.value.item == made.features.item_ids.external[item - NUM_RESERVED]


def test_how_content_reviewers_are_by_held_reviews_and_ratings(made: Pieces) -> None:
    arguments, facts = (made.dataset, made.vectors), made.split.statistics
    everything = InMemoryTrainStatistics(made.dataset.interactions)
    clean, leaky = (
        build_item_features(
            *arguments,
            train=facts,
            reviews=made.split.reviews,
            sentiment=fit_sentiment(*arguments, train=known, reviews=read),
        )
        for known, read in ((facts, made.split.reviews), (everything, made.dataset.reviews))
    )
    made.fit(features=clean)
    with pytest.raises(LeakError, match="how content reviewers are") as error:
        made.fit(features=leaky)
    assert error.value.table == "ItemFeatures.dense['review_sentiment']"
