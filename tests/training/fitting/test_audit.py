"""The audit where torch comes in: rows of a model and its steps, a fit that is handed a leak, the record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from fitting_parts import config, log, media
from leak_parts import tampered
from model_parts import tiny_features, tiny_schema

from features.dataset.tables import Split
from features.inputs.split_view import FrameView
from features.inputs.user_items import UserItems
from features.leakage.audit import Audit
from features.splits.make import make_split
from recsys.config import ItemTowerConfig, ModelConfig, TrainConfig
from recsys.errors import LeakError
from recsys.metrics.ranking import IdLists
from recsys.models.retriever import Retriever
from recsys.retrieval.candidate_sources import FactorSource, ItemNeighborSource
from training.evaluation.predictions import Answers
from training.fitting.audit import (
    audit_step,
    read_audits,
    record_audit,
    truth_of,
)
from training.fitting.fit import fit
from training.towers.train_step import Step


def give_to_sources(monkeypatch: pytest.MonkeyPatch, events: pl.DataFrame) -> None:
    """Candidate sources are fitted on these events, whatever the split says."""
    monkeypatch.setattr(
        FrameView,
        "training_items",
        lambda _, item_ids: UserItems.of_frame(events.filter("positive"), item_ids),
    )


@pytest.fixture
def step() -> Step:
    """One item of its catalogue has no training event."""
    features = tiny_features()
    trained = features.trained.copy()
    trained[5] = False
    model = Retriever(
        replace(features, trained=trained), tiny_schema(), ModelConfig(dim=16, item=ItemTowerConfig())
    )
    return Step(model, TrainConfig(precision="float32"), num_shards=1)


class TestStep:
    def name_of_the_cold(self, step: Step) -> str:
        return step.model.features.item_ids.external[3]

    def test_an_honest_one_passes(self, step: Step) -> None:
        audit_step(step)
        assert not step.model.features.trained[5]

    def test_a_cold_item_among_the_negatives(self, step: Step) -> None:
        step.trained_rows = torch.cat([step.trained_rows, torch.tensor([5])])
        with pytest.raises(LeakError, match="among the negatives") as found:
            audit_step(step)
        assert found.value.item == self.name_of_the_cold(step)

    def test_an_id_row_of_a_cold_item(self, step: Step) -> None:
        step.model.id_row_N[5] = 5
        with pytest.raises(LeakError, match="id row of its own") as found:
            audit_step(step)
        assert found.value.item == self.name_of_the_cold(step)

    def test_vectors_centred_on_all_items(self, step: Step) -> None:
        name, scale = next(iter(step.model.scale.items()))
        vectors = step.model.features.dense[name][step.model.features.present[name]]
        scale.mean.copy_(torch.from_numpy(vectors).mean(0))  # type: ignore[operator, union-attr]
        with pytest.raises(LeakError, match="not that of the trained items") as found:
            audit_step(step)
        assert found.value.table == f"the scale of {name!r}"


class TestFit:
    """A fit that is handed a split with a leak ends before anything is trained."""

    def refused(self, split: Split) -> LeakError:
        data = log()
        with pytest.raises(LeakError) as found:
            fit(data, media(data), split, config())
        return found.value

    def test_every_review(self) -> None:
        data = log()
        split = make_split(data, config().split)
        assert self.refused(tampered(split, reviews=data.reviews)).table == "split.reviews"

    def test_a_test_event_in_training(self) -> None:
        split = make_split(log(), config().split)
        both = replace(split, train=split.train.vstack(split.test.head(1)))
        assert "stands in train and in test" in str(self.refused(both))

    def test_candidate_sources_of_validation_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        split = make_split(log(), config().split)
        leaky = pl.concat([split.train, split.validation.head(1)])
        give_to_sources(monkeypatch, leaky)
        assert self.refused(split).table == "items of the candidate sources"

    def test_sources_read_what_the_audit_is_shown_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = log()
        settings = config(train={"epochs": 1}, model={"ranker": {"sources": ("als", "item_item")}})
        split = make_split(data, settings.split)
        some = split.train.filter(pl.col("item_id") < "i12")
        give_to_sources(monkeypatch, some)
        found = fit(data, media(data), split, settings)
        als, item_item = found.recommender.sources
        assert isinstance(als, FactorSource)
        assert isinstance(item_item, ItemNeighborSource)
        shown = np.zeros(found.features.size, np.bool_)
        shown[found.features.item_ids.encode(some.filter("positive")["item_id"])] = True
        assert 0 < shown.sum() < found.features.trained.sum()
        np.testing.assert_array_equal(als.factor.any(1), shown)
        assert not item_item.weight[~shown].any()
        assert item_item.weight[shown].any()

    def test_an_honest_one_keeps_what_was_looked_at(self) -> None:
        data = log()
        found = fit(data, media(data), make_split(data, config().split), config(train={"epochs": 1}))
        assert "200 train, 40 validation, 40 test" in found.audit.checked[0]
        assert not found.audit.not_checked


class TestRecord:
    def test_stages_stand_beside_each_other(self, tmp_path: Path) -> None:
        assert read_audits(tmp_path) == {}
        first = Audit(checked=("a", "b"), not_checked=("c",), seconds=0.5)
        record_audit(tmp_path, "main", Audit(checked=()))
        record_audit(tmp_path, "main", first)
        record_audit(tmp_path, "test", Audit(checked=("d",)))
        assert read_audits(tmp_path) == {"main": first, "test": Audit(checked=("d",))}
        assert [path.name for path in tmp_path.iterdir()] == ["audit.json"]


def test_truth_is_what_is_warm_and_what_is_cold() -> None:
    answers = Answers(
        users=("a", "b"),
        num_seen=np.zeros(2, np.int64),
        warm=IdLists.from_lists([np.array([4, 2]), np.array([3])]),
        cold=IdLists.from_lists([np.empty(0, np.int64), np.array([7])]),
        models={},
    )
    assert {user: sorted(items.tolist()) for user, items in truth_of(answers).items()} == {
        "a": [2, 4],
        "b": [3, 7],
    }
