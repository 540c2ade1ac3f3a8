"""Inputs with a leak are refused, and a fit takes audited inputs alone."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from fit_parts import fit_split
from fitting_parts import config, log, media, source_arrays
from leak_parts import tampered

from features.inputs.user_items import UserItems
from features.splits.make import make_split
from features.splits.split import InMemorySplit, Split
from recsys.errors import LeakError
from recsys.retrieval.candidate_sources import FactorSource, ItemNeighborSource
from training.candidates.fit import fit_sources
from training.candidates.interactions import FitOptions, Interactions
from training.fitting.fit import fit
from training.fitting.inputs import AuditedInputs, FitInputs, audit


def test_a_fit_refuses_inputs_that_were_not_audited() -> None:
    data = log()
    inputs = FitInputs.of(data, media(data), make_split(data, config().split), config())
    with pytest.raises(TypeError, match=r"fit takes the result of audit\(inputs\), not FitInputs"):
        fit(inputs)  # type: ignore[arg-type]


def test_audited_inputs_cannot_be_made_without_an_audit() -> None:
    data = log()
    split = make_split(data, config().split)
    inputs = FitInputs.of(data, media(data), tampered(split, reviews=data.reviews), config())
    with pytest.raises(LeakError):
        AuditedInputs(inputs)
    honest = AuditedInputs(FitInputs.of(data, media(data), split, config()))
    with pytest.raises(LeakError):
        replace(honest, inputs=inputs)


def give_to_sources(monkeypatch: pytest.MonkeyPatch, split: InMemorySplit) -> None:
    """Candidate sources are fitted on the training events of this split."""
    monkeypatch.setattr(
        "training.fitting.inputs._source_items",
        lambda _, features, __, has_clock: UserItems.of(split.positive_training(features.item_ids)),
    )


class TestFit:
    """A fit on a split with a leak ends before any training."""

    def refused(self, split: Split) -> LeakError:
        data = log()
        with pytest.raises(LeakError) as found:
            audit(FitInputs.of(data, media(data), split, config()))
        return found.value

    def test_every_review(self) -> None:
        data = log()
        split = make_split(data, config().split)
        assert self.refused(tampered(split, reviews=data.reviews)).table == "split.reviews"

    def test_a_test_event_in_training(self) -> None:
        split = make_split(log(), config().split)
        both = replace(split, train=split.train.vstack(split.test.head(1)))
        assert "occurs in train and in test" in str(self.refused(both))

    def test_candidate_sources_of_validation_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        split = make_split(log(), config().split)
        leaky = pl.concat([split.train, split.validation.head(1)])
        give_to_sources(monkeypatch, replace(split, train=leaky))
        assert self.refused(split).table == "items of the candidate sources"

    def test_sources_read_what_the_audit_is_shown_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = log()
        settings = config(train={"epochs": 1}, model={"ranker": {"sources": ("als", "item_item")}})
        split = make_split(data, settings.split)
        last = pl.col("row") == pl.col("row").max().over("user_id")
        some = split.train.filter((pl.col("item_id") < "i12") | last)  # every user still has an event
        give_to_sources(monkeypatch, replace(split, train=some))
        found = fit_split(data, media(data), split, settings)
        als, item_item = found.recommender.sources
        assert isinstance(als, FactorSource)
        assert isinstance(item_item, ItemNeighborSource)
        expected = UserItems.of(replace(split, train=some).positive_training(found.features.item_ids))
        interactions = Interactions(user_items=expected, num_items=found.features.size)
        again = fit_sources(("als", "item_item"), interactions, settings.sources, FitOptions(num_threads=1))
        assert len(expected.item) < len(split.train.filter("positive"))
        np.testing.assert_allclose(als.factor, source_arrays(again[0])["factor"], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(item_item.neighbor, source_arrays(again[1])["neighbor"])

    def test_an_honest_one_keeps_what_was_looked_at(self) -> None:
        data = log()
        found = fit_split(data, media(data), make_split(data, config().split), config(train={"epochs": 1}))
        assert "200 train, 40 validation, 40 test" in found.audit.checked[0]
        assert not found.audit.not_checked
