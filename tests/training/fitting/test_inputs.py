"""Inputs with a leak are refused, and a fit takes no others than audited ones."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from fit_parts import fit_split
from fitting_parts import config, log, media
from leak_parts import tampered

from features.splits.make import make_split
from features.splits.split import Split
from recsys.errors import LeakError
from recsys.retrieval.candidate_sources import Factors, Neighbours
from training.candidates.fit import source_events
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


class TestFit:
    """A fit that is handed a split with a leak ends before anything is trained."""

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
        assert "stands in train and in test" in str(self.refused(both))

    @pytest.mark.parametrize("name", ["als", "item_item"])
    def test_a_candidate_source_of_validation_events(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        split = make_split(log(), config().split)
        leaky = {name: pl.concat([split.train, split.validation.head(1)])}
        monkeypatch.setattr(
            "training.fitting.inputs.source_events", lambda *given: {**source_events(*given), **leaky}
        )
        assert self.refused(split).table == f"source {name!r}"

    def test_sources_read_what_the_audit_is_shown_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, settings = log(), config(train={"epochs": 1})
        split = make_split(data, settings.split)
        some = split.train.filter(pl.col("item_id") < "i12")
        monkeypatch.setattr(
            "training.fitting.inputs.source_events", lambda *_: {"als": some, "item_item": some}
        )
        found = fit_split(data, media(data), split, settings)
        als, item_item = found.recommender.sources
        assert isinstance(als, Factors)
        assert isinstance(item_item, Neighbours)
        shown = np.zeros(found.features.size, np.bool_)
        shown[found.features.item_ids.encode(some.filter("positive")["item_id"])] = True
        assert 0 < shown.sum() < found.features.trained.sum()
        np.testing.assert_array_equal(als.factor.any(1), shown)
        assert not item_item.weight[~shown].any()
        assert item_item.weight[shown].any()

    def test_an_honest_one_keeps_what_was_looked_at(self) -> None:
        data = log()
        found = fit_split(data, media(data), make_split(data, config().split), config(train={"epochs": 1}))
        assert "200 train, 40 validation, 40 test" in found.audit.checked[0]
        assert not found.audit.not_checked
