"""A fitted system that then learns the validation events, its test as far away as before."""

import numpy as np
import pytest
import torch
from fitting_parts import config, log, media

from features.splits import make_split
from recsys.config import Config
from training.continued import SHARE, going_on, with_validation
from training.fitting import Fitted, fit

DATA = log()
VECTORS = media(DATA)
SETTINGS = config(train={"epochs": 4, "average_epochs": 0})


@pytest.fixture(scope="module")
def first() -> Fitted:
    return fit(DATA, VECTORS, make_split(DATA, SETTINGS.split), SETTINGS)


def later(first: Fitted, settings: Config = SETTINGS) -> Fitted:
    further, budget = going_on(first, settings)
    joined = with_validation(make_split(DATA, SETTINGS.split))
    return fit(DATA, VECTORS, joined, further, budget=budget)


def test_validation_events_become_training_events_and_the_test_stays() -> None:
    split = make_split(DATA, SETTINGS.split)
    joined = with_validation(split)
    rows = {*split.train["row"], *split.validation["row"]}
    assert set(joined.train["row"]) == rows
    assert len(joined.train) == len(rows)
    assert joined.validation.is_empty()
    assert joined.test.equals(split.test)
    assert joined.reviews.equals(split.reviews)


def test_it_reads_more_than_before_by_the_validation_events_alone(first: Fitted) -> None:
    split = make_split(DATA, SETTINGS.split)
    found = later(first)
    gained = found.features.popularity - first.features.popularity
    expected = np.zeros_like(gained)
    np.add.at(expected, first.features.item_ids.encode(split.validation["item_id"]), 1)
    np.testing.assert_array_equal(gained, expected)


def test_the_towers_go_on_from_where_they_stood_and_the_ranker_stays(first: Fitted) -> None:
    """At a rate of next to nothing they are where they were; a quarter of the epochs is taken."""
    still = later(first, config(train={"epochs": 4, "average_epochs": 0, "learning_rate": 1e-12}))
    before, after = (each.retriever.model.state_dict() for each in (first, still))
    for name, _ in still.retriever.model.named_parameters():
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-8)
    moved = later(first)
    assert moved.ranker is first.ranker
    assert len(moved.retriever.curve) == max(1, round(SHARE * first.retriever.best_epoch))
    changed = [
        not torch.equal(value, before[name]) for name, value in moved.retriever.model.named_parameters()
    ]
    assert any(changed)
