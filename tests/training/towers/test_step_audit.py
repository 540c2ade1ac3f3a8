"""The audit of a training step: an untrained item among its rows is found."""

from dataclasses import replace

import pytest
import torch
from model_parts import tiny_features, tiny_schema

from recsys.config import ItemTowerConfig, ModelConfig, TrainConfig
from recsys.errors import LeakError
from recsys.models.retriever import Retriever
from training.towers.step_audit import audit_step
from training.towers.train_step import TrainStep


@pytest.fixture
def step() -> TrainStep:
    """One item of its catalogue has no training event."""
    features = tiny_features()
    trained = features.trained.copy()
    trained[5] = False
    model = Retriever(
        replace(features, trained=trained), tiny_schema(), ModelConfig(dim=16, item=ItemTowerConfig())
    )
    return TrainStep(model, TrainConfig(precision="float32"), num_shards=1)


class TestStep:
    def name_of_the_cold(self, step: TrainStep) -> str:
        return step.model.features.item_ids.external[3]

    def test_an_honest_one_passes(self, step: TrainStep) -> None:
        audit_step(step)
        assert not step.model.features.trained[5]

    def test_a_cold_item_among_the_negatives(self, step: TrainStep) -> None:
        step.context.trained_rows = torch.cat([step.trained_rows, torch.tensor([5])])
        with pytest.raises(LeakError, match="among the negatives") as found:
            audit_step(step)
        assert found.value.item == self.name_of_the_cold(step)

    def test_an_id_row_of_a_cold_item(self, step: TrainStep) -> None:
        step.model.id_row_N[5] = 5
        with pytest.raises(LeakError, match="id row of its own") as found:
            audit_step(step)
        assert found.value.item == self.name_of_the_cold(step)

    def test_vectors_centred_on_all_items(self, step: TrainStep) -> None:
        name, scale = next(iter(step.model.scale.items()))
        vectors = step.model.features.dense[name][step.model.features.present[name]]
        scale.mean.copy_(torch.from_numpy(vectors).mean(0))  # type: ignore[operator, union-attr]
        with pytest.raises(LeakError, match="not that of the trained items") as found:
            audit_step(step)
        assert found.value.table == f"the scale of {name!r}"
