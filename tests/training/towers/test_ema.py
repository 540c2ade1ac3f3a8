"""The moving average of weights."""

import pytest
import torch

from training.towers.ema import WeightAverage


def _model(value):
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.constant_(model.weight, value)
    return model


def _set(model, value):
    with torch.no_grad():
        model.weight.fill_(value)


def test_follows_the_weights_with_a_warmed_up_decay():
    model = _model(0.0)
    average = WeightAverage(model.parameters(), 0.5)
    expected = 0.0
    for update, value in enumerate([1.0, 2.0, 4.0, -3.0] * 5, start=1):
        _set(model, value)
        average.update()
        decay = min(0.5, update / (update + 10))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        assert model.weight[0, 0].item() == pytest.approx(expected)
    assert model.weight[0, 0].item() == -3.0


def test_keeps_the_average_at_the_end_and_goes_on_from_a_state():
    model = _model(1.0)
    average = WeightAverage(model.parameters(), 0.9)
    _set(model, 3.0)
    average.update()
    other_model = _model(5.0)
    other = WeightAverage(other_model.parameters(), 0.9)
    other.load_state_dict(average.state_dict())
    for each in (average, other):
        each.keep()
    assert torch.equal(model.weight, other_model.weight)
    assert 1.0 < model.weight[0, 0].item() < 3.0


def test_without_a_decay_the_model_is_left_alone():
    model = _model(1.0)
    average = WeightAverage(model.parameters(), 0.0)
    _set(model, 3.0)
    average.update()
    average.keep()
    assert model.weight[0, 0].item() == 3.0
