"""Towers that are trained on the validation events too, and on no test event."""

import numpy as np
import pytest
from fit_parts import fit_split
from fitting_parts import config, log, media

from features.splits.make import make_split
from training.fitting.fit import Fitted
from training.fitting.refit import choices_of_towers

DATA = log()
VECTORS = media(DATA)
SETTINGS = config(train={"epochs": 4, "average_epochs": 0})


@pytest.fixture(scope="module")
def first() -> Fitted:
    return fit_split(DATA, VECTORS, make_split(DATA, SETTINGS.split), SETTINGS)


@pytest.fixture(scope="module")
def later(first: Fitted) -> Fitted:
    joined = make_split(DATA, SETTINGS.split).with_validation()
    return fit_split(DATA, VECTORS, joined, SETTINGS, choices=choices_of_towers(first))


def test_validation_events_become_training_events_and_the_test_stays() -> None:
    split = make_split(DATA, SETTINGS.split)
    joined = split.with_validation()
    rows = {*split.train["row"], *split.validation["row"]}
    assert set(joined.train["row"]) == rows
    assert len(joined.train) == len(rows)
    assert joined.validation.is_empty()
    assert joined.test.equals(split.test)
    assert joined.reviews.equals(split.reviews)


def test_it_reads_more_than_before_by_the_validation_events_alone(first: Fitted, later: Fitted) -> None:
    split = make_split(DATA, SETTINGS.split)
    gained = later.features.popularity - first.features.popularity
    expected = np.zeros_like(gained)
    np.add.at(expected, first.features.item_ids.encode(split.validation["item_id"]), 1)
    np.testing.assert_array_equal(gained, expected)


def test_the_towers_are_trained_anew_for_the_epochs_that_were_chosen_and_no_ranker_is(
    first: Fitted, later: Fitted
) -> None:
    assert first.ranker is not None
    assert later.ranker is None
    assert len(later.retriever.curve) == later.retriever.best_epoch == first.retriever.best_epoch
    assert later.cold_items == first.cold_items
    assert (
        later.retriever.curve[0]["loss"] > 0.9 * first.retriever.curve[0]["loss"]
    )  # not from where it stood
