"""A tiny model and windows, for the tests of a training step and its losses."""

import numpy as np
import torch
from model_parts import tiny_features, tiny_history, tiny_schema

from recsys.config import ItemTowerConfig, ModelConfig, UserTowerConfig
from recsys.models.retriever import Retriever, sequence_tensors
from training.sequences import Window, target_mask

SCHEMA = tiny_schema(review_text_dim=0, review_audio_dim=0, profile_sizes={})


def tiny_model(dropout=0.0, features=None, **item):
    torch.manual_seed(0)
    config = ModelConfig(
        dim=16,
        item=ItemTowerConfig(
            **{"dropout": dropout, "id_dropout": dropout, "modality_dropout": dropout} | item
        ),
        user=UserTowerConfig(num_blocks=1, dropout=dropout, event_dropout=dropout, max_length=8),
    )
    return Retriever(features or tiny_features(), SCHEMA, config).train()


def tiny_windows():
    rng = np.random.default_rng(0)
    windows = []
    for length in (6, 6, 5, 4, 2):
        items = rng.integers(2, 20, length)
        history = tiny_history(items, review_text={}, profile={}, event=np.full(length, 2))
        target = rng.random(length) < 0.8
        target[-1] = True
        windows.append(Window(history=history, target=target))
    return windows


def step_gradients(model, step):
    torch.manual_seed(1)
    return step.backward(tiny_windows()).item(), gradients_of(model)


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_loss(model, vectors):
    """The loss by its formula: softmax of cosines over the trained items, one log for each target."""
    features = model.features
    item_BL, inputs, _ = sequence_tensors([w.history for w in tiny_windows()], SCHEMA, model.device)
    known = torch.from_numpy(features.trained)[item_BL]
    event_BLD = vectors[item_BL] * known.unsqueeze(-1)
    states = model.user_tower.states(event_BLD, inputs)
    logits = states[:, :-1] @ vectors.T / model.temperature
    logits[..., ~torch.from_numpy(features.trained)] = -torch.inf
    where = target_mask(tiny_windows(), item_BL.shape[1])
    return torch.nn.functional.cross_entropy(logits[where], item_BL[where])


def assert_same_step(found, expected):
    """Two pairs of a loss and its gradients by name."""
    assert abs(found[0] - expected[0]) <= 1e-5 * abs(expected[0])
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
