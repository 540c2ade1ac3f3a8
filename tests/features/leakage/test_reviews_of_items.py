"""Planted leaks in the pooled review vectors of items that are read as cold."""

from dataclasses import replace
from pathlib import Path

import pytest
from leak_parts import Pieces, pieces

from recsys.errors import LeakError
from recsys.ids import NUM_RESERVED


@pytest.fixture(scope="module", params=[False, True], ids=["memory", "disk"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    root: Path = tmp_path_factory.mktemp("shop")
    return pieces(root, "user_temporal", streamed=request.param)


def test_a_buyers_review_in_what_an_item_shows_as_new(made: Pieces) -> None:
    bought = made.split.reviews.join(made.split.train, on=["user_id", "item_id"], how="semi")
    item = made.features.item_ids.strict(bought["item_id"][0])
    few = made.features.dense_as_cold["review_text"].copy()
    few[item] = made.features.dense["review_text"][item]
    with pytest.raises(LeakError, match="reviews of it that may be read") as error:
        made.fit(features=replace(made.features, dense_as_cold={"review_text": few}))
    assert error.value.table == "ItemFeatures.dense_as_cold['review_text']"
    assert error.value.item == made.features.item_ids.external[item - NUM_RESERVED]
