"""Hard negatives are what users of the step look at, and leave the softmax what it was."""

import numpy as np
import pytest
import torch
from step_parts import SCHEMA, tiny_model, tiny_windows

from recsys.config import TrainConfig
from recsys.errors import ConfigError
from recsys.history import collate
from training.towers import negative_sampling
from training.towers.context import StepContext
from training.towers.negative_sampling import HardNegatives, NegativeSampler
from training.towers.train_step import TrainStep


def trained_rows(model):
    return torch.from_numpy(model.features.trained).nonzero()[:, 0]


def mined(model, num, kind="exact"):
    hard = HardNegatives(StepContext(model, TrainConfig()), num, kind)
    hard.refresh()
    return hard


def test_they_are_the_nearest_of_the_states_that_predict(monkeypatch):
    """All predictions asked for: the union of each one's nearest two, every state made by itself."""
    monkeypatch.setattr(negative_sampling, "NEAREST", 2)
    model = tiny_model(dropout=0.4)
    vectors = torch.from_numpy(model.item_arrays().vectors)
    vectors[~torch.from_numpy(model.features.trained)] = 0.0
    expected = set()
    model.eval()
    for window in tiny_windows():
        for at in np.flatnonzero(window.target):
            batch = collate([window.history.last(len(window.history))], SCHEMA)
            inputs = {name: torch.from_numpy(array) for name, array in batch.inputs.items()}
            with torch.no_grad():
                states = model.user_tower.states(vectors[torch.from_numpy(batch.item)], inputs)
            score = vectors @ states[0, at]
            score[~torch.from_numpy(model.features.trained)] = -torch.inf
            expected |= set(score.topk(2).indices.tolist())
    model.train()
    found = mined(model, 1000).mine(tiny_windows())
    assert found.tolist() == sorted(expected)
    assert model.training
    assert model.user_tower.training


@pytest.mark.parametrize("num", [1, 3, 8, 40])
def test_there_are_at_most_so_many(num):
    found = mined(tiny_model(), num).mine(tiny_windows())
    assert 1 <= len(found) <= num
    assert len(found.unique()) == len(found)
    assert set(found.tolist()) <= set(trained_rows(tiny_model()).tolist())


def test_any_index_does():
    pytest.importorskip("faiss", reason="needs the extra faiss")
    model = tiny_model()
    torch.manual_seed(0)
    exact = mined(model, 40).mine(tiny_windows())
    torch.manual_seed(0)
    assert mined(model, 40, "faiss").mine(tiny_windows()).tolist() == exact.tolist()


def test_vectors_are_those_of_the_last_refresh():
    model = tiny_model()
    hard = mined(model, 8)
    before = hard._vector_ND.clone()
    for parameter in model.item_tower.parameters():
        torch.nn.init.normal_(parameter)
    torch.manual_seed(0)
    hard.mine(tiny_windows())
    assert torch.equal(hard._vector_ND, before)
    hard.refresh()
    assert not torch.allclose(hard._vector_ND, before)


class TestSampler:
    def sampler(self, fraction):
        model = tiny_model()
        config = TrainConfig(num_negatives=12, hard_negatives=fraction, sampled_above=5)
        hard = HardNegatives.of(StepContext(model, config), config, index_kind="exact")
        if hard is not None:
            hard.refresh()
        return NegativeSampler(model.features, trained_rows(model), config.num_negatives, hard)

    def test_a_hard_one_is_there_for_certain_and_as_often_again_as_it_is_drawn(self):
        sampler = self.sampler(0.5)
        negatives = sampler.draw(tiny_windows())
        hard = negatives.row_J[sampler.num_drawn :]
        assert sampler.num_drawn == 6
        popularity = torch.from_numpy(sampler.hard.context.model.features.popularity)
        expected = 6 * (popularity + 1.0) / (popularity[sampler.trained_rows] + 1.0).sum()
        expected[hard] += 1.0
        found = negatives.log_q(sampler.trained_rows).exp()
        torch.testing.assert_close(found, expected[sampler.trained_rows])

    def test_the_corrected_sum_is_that_of_the_full_softmax_with_less_variance(self):
        model = tiny_model()
        rows = trained_rows(model)
        logit_N = 2.0 * torch.randn(model.features.size, generator=torch.Generator().manual_seed(0))
        full = float(logit_N[rows].exp().sum())

        class Highest(HardNegatives):
            def mine(self, windows):
                return rows[logit_N[rows].topk(self.num).indices]

        spread = {}
        for hard in (None, Highest(StepContext(model, TrainConfig()), 6)):
            sampler, sums = NegativeSampler(model.features, rows, 12, hard), []
            for _ in range(1000):
                negatives = sampler.draw([])
                sums.append(float((logit_N[negatives.row_J] - negatives.log_q(negatives.row_J)).exp().sum()))
            spread[hard is None] = float(np.std(sums))
            assert np.mean(sums) == pytest.approx(full, abs=4 * np.std(sums) / 1000**0.5)
        assert spread[False] < spread[True] / 2

    def test_none_without_a_share_of_them(self):
        assert self.sampler(0.0).hard is None
        assert len(self.sampler(0.0).draw(tiny_windows()).row_J) == 12


def test_a_full_softmax_refuses_them():
    with pytest.raises(ConfigError, match="every item is a negative already, as the softmax is full over 25"):
        TrainStep(tiny_model(), TrainConfig(hard_negatives=0.1))
