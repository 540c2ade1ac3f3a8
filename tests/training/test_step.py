"""Gradients of a step are those of the plain loss, in however many shards, and a seed fixes the dropout."""

import numpy as np
import pytest
import torch
from model_parts import tiny_features, tiny_history, tiny_schema

from recsys.config import ItemTowerConfig, ModelConfig, TrainConfig, UserTowerConfig
from recsys.models.retriever import Retriever, sequence_tensors
from training.step import Step, target_mask
from training.windows import Window

SCHEMA = tiny_schema(review_text_dim=0, review_audio_dim=0, profile_sizes={})


def _model(dropout=0.0):
    torch.manual_seed(0)
    config = ModelConfig(
        dim=16,
        item=ItemTowerConfig(dropout=dropout, id_dropout=dropout, modality_dropout=dropout),
        user=UserTowerConfig(num_blocks=1, dropout=dropout, event_dropout=dropout, max_length=8),
    )
    return Retriever(tiny_features(), SCHEMA, config).train()


def _windows():
    rng = np.random.default_rng(0)
    windows = []
    for length in (6, 6, 5, 4, 2):
        items = rng.integers(2, 20, length)
        history = tiny_history(items, review_text={}, profile={}, event=np.full(length, 2))
        target = rng.random(length) < 0.8
        target[-1] = True
        windows.append(Window(history=history, target=target))
    return windows


def _gradients(model, step):
    torch.manual_seed(1)
    loss = step.backward(_windows())
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _plain(model):
    """The loss as it is written down: softmax of cosines over the trained items, one log for each target."""
    features = model.features
    vectors = model.embed_items(torch.arange(features.size)).vector_ND
    item_BL, inputs, _ = sequence_tensors([w.history for w in _windows()], SCHEMA, model.device)
    known = torch.from_numpy(features.trained)[item_BL]
    event_BLD = vectors[item_BL] * known.unsqueeze(-1)
    states = model.user_tower.states(event_BLD, inputs)
    logits = states[:, :-1] @ vectors.T / model.temperature
    logits[..., ~torch.from_numpy(features.trained)] = -torch.inf
    where = target_mask(_windows(), item_BL.shape[1])
    loss = torch.nn.functional.cross_entropy(logits[where], item_BL[where])
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_shards_sum_to_the_gradient_of_the_plain_loss(num_shards):
    model = _model()
    expected_loss, expected = _plain(model)
    model.zero_grad()
    loss, found = _gradients(model, Step(model, TrainConfig(precision="float32"), num_shards=num_shards))
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("config", [{}, {"sampled_above": 5, "num_negatives": 8}])
def test_a_seed_and_a_number_of_shards_fix_the_step(config):
    model = _model(dropout=0.4)
    step = Step(model, TrainConfig(precision="float32", **config), num_shards=3)
    (loss, first), (again, second) = (_gradients(model, step) for _ in range(2))
    assert loss == again
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(2)
    assert step.backward(_windows()) != loss


def test_operations_have_all_threads_again_between_steps():
    before = torch.get_num_threads()
    step = Step(_model(), TrainConfig(), num_shards=2)
    with step.one_core_a_shard():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
