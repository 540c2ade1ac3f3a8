"""The adversary's perturbation by hand, and its loss against the same without shards."""

import pytest
import torch
from model_parts import tiny_features
from step_parts import assert_same_step, gradients_of, plain_loss, step_gradients, tiny_model, tiny_windows

from recsys.config import AdversarialConfig, AuxiliaryConfig, TrainConfig, ViewsConfig
from recsys.errors import ConfigError
from training.towers.adversarial_loss import AdversarialLoss, _read_leaves, perturbation
from training.towers.tables import StepRows
from training.towers.train_step import TrainStep


def config(weight=0.6, radius=0.3):
    adversarial = AdversarialConfig(weight=weight, radius=radius)
    auxiliary = AuxiliaryConfig(adversarial=adversarial, views=ViewsConfig(weight=0.0))
    return TrainConfig(precision="float32", auxiliary=auxiliary)


def test_a_perturbation_by_hand():
    gradient = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, -1e-20, 0.0, 0.0]])
    expected = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]])
    torch.testing.assert_close(perturbation(gradient, 0.5), expected)


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_step_adds_the_loss_of_vectors_moved_against_it(num_shards):
    model = tiny_model()
    rows = torch.arange(model.features.size)

    def loss_with(dense):
        inputs = model.item_inputs(rows)
        pairs = {name: (dense[name], has) for name, (_, has) in inputs.dense.items()}
        return plain_loss(model, model.embed_inputs(inputs._replace(dense=pairs)).vector_ND)

    dense = {name: array.clone().requires_grad_() for name, array in model.dense.items()}
    first = loss_with(dense)
    slopes = torch.autograd.grad(first, list(dense.values()), retain_graph=True)
    moved = {}
    for (name, array), slope in zip(dense.items(), slopes, strict=True):
        moved[name] = array.detach().clone()
        for row in range(len(array)):
            if slope[row].norm() > 0:
                moved[name][row] += 0.3 * array.shape[1] ** 0.5 * slope[row] / slope[row].norm()
    second = loss_with(moved)
    assert second > first  # the adversary does harm
    (first + 0.6 * second).backward()
    expected = (first + 0.6 * second).item(), gradients_of(model)
    model.zero_grad()
    assert_same_step(step_gradients(model, TrainStep(model, config(), num_shards=num_shards)), expected)


def test_absent_vectors_stay_as_they_are():
    """The gradient of the loss is zero along a modality that an item lacks."""
    model = tiny_model()
    step = TrainStep(model, config(), num_shards=1)
    adversarial = step.losses[0]
    assert isinstance(adversarial, AdversarialLoss)
    torch.manual_seed(1)
    batch = adversarial.next_item.draw(tiny_windows())
    rows = StepRows(batch.own_rows, step.tables.read(batch.own_rows))
    (slopes,) = adversarial.next_item.gradients(batch, rows, [_read_leaves(model)]).further
    for name, slope in zip(model.dense, slopes, strict=True):
        has = model.present[name][step.trained_rows]
        assert not slope[~has].any()
        assert slope[has].any(1).all()


def test_a_radius_of_0_weighs_the_plain_loss_once_more():
    model = tiny_model(dropout=0.4)  # both passes leave out the same
    loss, plain = step_gradients(model, TrainStep(model, config(weight=0.0), num_shards=2))
    twice = 1.6 * loss, {name: 1.6 * gradient for name, gradient in plain.items()}
    assert_same_step(step_gradients(model, TrainStep(model, config(radius=0.0), num_shards=2)), twice)


def test_without_vectors_it_is_refused_and_a_blind_model_has_none():
    features = tiny_features()
    features.dense.clear()
    with pytest.raises(ConfigError, match="no vectors to perturb"):
        TrainStep(tiny_model(features=features), config())
    for model, settings in ((tiny_model(use_content=False), config()), (tiny_model(), config(weight=0.0))):
        assert all(type(loss) is not AdversarialLoss for loss in TrainStep(model, settings).losses)
