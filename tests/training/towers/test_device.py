"""What a training step asks of a device other than the host's, tried on torch's device "meta".

Tensors there have a shape and no values. A step that waits for a value of the device, for a loss or for the
number of true elements of a mask, therefore raises.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from model_parts import tiny_features
from step_parts import tiny_model, tiny_windows

from recsys.config import TrainConfig
from recsys.errors import ProviderError
from training.runtime import choose_device, choose_dtype
from training.towers.context import StepContext
from training.towers.train_step import TrainStep
from training.towers.trainer import LossLog, update

META, CPU = torch.device("meta"), torch.device("cpu")


@contextmanager
def like_a_device():
    """The device "meta" has no random generators and no autocast."""
    with (
        patch.object(StepContext, "random_stream", lambda *_: nullcontext()),
        patch("torch.autocast", lambda *_, **__: nullcontext()),
    ):
        yield


def step_on_meta(**config):
    model = tiny_model(dropout=0.4)
    model = model.to(META)
    model.place_features(META)
    settings = TrainConfig(precision="float32", **config)
    with like_a_device():
        step = TrainStep(model, settings, num_shards=1)
        optimizer = torch.optim.AdamW(model.parameters())
        return model, update(step, tiny_windows(), optimizer, 1.0)


@pytest.mark.parametrize("config", [{}, {"sampled_above": 5, "num_negatives": 8}], ids=["full", "sampled"])
def test_a_step_reads_nothing_back_from_the_device(config):
    model, loss = step_on_meta(**config)
    assert loss.device == META
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_loss_that_reads_back_is_caught_by_the_device_without_values():
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        step_on_meta(auxiliary={"alignment": {"kind": "contrastive", "weight": 0.5}})


def test_features_lie_where_they_were_placed_and_are_read_from_there():
    model = tiny_model()
    rows = torch.arange(2, 9)
    before, num_bytes = model.eval().item_inputs(rows), model.features_bytes
    assert num_bytes == 4 * model.features.size * (12 + 20)
    with patch("recsys.models.retriever.to_device", side_effect=lambda tensor, device: tensor) as moved:
        model.place_features(CPU)
        for name, (vector, has) in model.item_inputs(rows).dense.items():
            assert torch.equal(vector, before.dense[name][0])
            assert torch.equal(has, before.dense[name][1])
        moved_widths = {call.args[0].shape[-1] for call in moved.call_args_list if call.args[0].ndim == 2}
    assert moved_widths <= {3}, "the rows of the vectors are taken on the device, category ids on the host"


def test_content_of_cold_items_is_read_by_rows_and_marks_in_host_memory():
    features = tiny_features()
    few = {"text": features.dense["text"] / 2}, {"text": features.present["text"]}
    model = tiny_model(features=replace(features, dense_as_cold=few[0], present_as_cold=few[1]))
    model = model.to(META)
    model.place_features(META)
    rows = torch.arange(2, 9)
    dense, _ = model.content(rows, torch.zeros(len(rows), dtype=torch.bool))
    assert {tensor.device for pair in dense.values() for tensor in pair} == {META}


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    assert choose_device(TrainConfig(device="auto")) == torch.device("cuda", 0)
    assert choose_device(TrainConfig(device="cpu")) == CPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device(TrainConfig(device="auto")) == CPU


def test_a_gpu_that_is_not_there_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ProviderError, match=r"train.device = 'cuda': torch .* finds no GPU.*cpu or auto"):
        choose_device(TrainConfig(device="cuda"))


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_precision_of_a_gpu_is_the_one_it_has_instructions_for(monkeypatch, supported, dtype):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: supported)
    assert choose_dtype(TrainConfig(), torch.device("cuda", 0)) == dtype
    assert choose_dtype(TrainConfig(precision="float32"), torch.device("cuda", 0)) == torch.float32


def test_losses_are_read_in_groups_and_one_that_is_not_finite_is_refused():
    log = LossLog(3)
    for value in (1.0, 2.0):
        log.add(torch.tensor(value))
    assert np.isnan(log.last)
    log.add(torch.tensor(3.0))
    assert log.last == 3.0
    log.add(torch.tensor(4.0))
    assert log.read() == [1.0, 2.0, 3.0, 4.0]
    log.add(torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        log.read()
