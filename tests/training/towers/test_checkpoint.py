"""Checkpoints are whole or not there, and belong to one run."""

import math
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from training.towers.checkpoint import TrainingState, load_state, save_state


class Trained:
    """A model after some steps of training, and all that goes on with it."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        self.state = TrainingState()

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.model, self.optimizer, self.scheduler

    def step(self) -> float:
        loss = self.model(torch.rand(4, 3)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return float(loss.detach())


def test_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Moments, learning rate and random numbers come back too: the next steps are the same."""
    path = tmp_path / "deep" / "main.pt"
    first = Trained()
    first.step()
    first.state.epoch = 1
    first.state.record({"loss": 0.5, "validation_ndcg_at_10": 0.25}, first.model)
    save_state(path, "a", first.state, *first.parts)
    expected = [first.step() for _ in range(3)]
    second = Trained(seed=9)
    state = load_state(path, "a", *second.parts)
    assert state is not None
    assert [second.step() for _ in range(3)] == expected
    assert (state.epoch, state.best_epoch, state.best_score) == (1, 1, 0.25)
    assert state.curve == [{"loss": 0.5, "validation_ndcg_at_10": 0.25}]
    assert state.best_parameters is not None


@pytest.mark.parametrize("name", ["other fingerprint", "no file", "no path"])
def test_nothing_is_read_where_there_is_nothing_of_this_run(tmp_path: Path, name: str) -> None:
    trained = Trained()
    save_state(tmp_path / "main.pt", "a", trained.state, *trained.parts)
    before = trained.model.weight.detach().clone()
    path = {"other fingerprint": tmp_path / "main.pt", "no file": tmp_path / "none.pt", "no path": None}[name]
    assert load_state(path, "b" if name == "other fingerprint" else "a", *trained.parts) is None
    assert torch.equal(trained.model.weight, before)


def test_an_interrupted_write_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, trained = tmp_path / "main.pt", Trained()
    save_state(path, "a", TrainingState(epoch=3), *trained.parts)

    def half(_: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, "a", TrainingState(epoch=4), *trained.parts)
    state = load_state(path, "a", *trained.parts)
    assert state is not None
    assert state.epoch == 3


@pytest.mark.parametrize("kept", [0, 10, 1000], ids=lambda kept: f"{kept} bytes")
def test_a_damaged_checkpoint_is_a_warning_and_is_not_read(
    tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, trained = tmp_path / "main.pt", Trained()
    save_state(path, "a", trained.state, *trained.parts)
    path.write_bytes(path.read_bytes()[:kept])
    assert load_state(path, "a", *trained.parts) is None
    assert f"{path} is damaged" in caplog.text


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_state(None, "a", TrainingState(), *Trained().parts)
    assert list(tmp_path.iterdir()) == []


def test_the_best_epoch_and_its_parameters_are_kept() -> None:
    trained = Trained()
    state, kept = trained.state, {}
    for state.epoch, score in enumerate([0.1, 0.4, 0.4, math.nan, 0.2], 1):
        state.record({"validation_ndcg_at_10": score}, trained.model)
        kept[state.epoch] = trained.model.weight.detach().clone()
        trained.step()
    assert (state.best_epoch, state.best_score) == (2, 0.4)
    assert state.best_parameters is not None
    assert torch.equal(state.best_parameters["weight"], kept[2])
    assert len(state.curve) == 5


def test_without_validation_no_epoch_is_the_best() -> None:
    trained = Trained()
    trained.state.record({"loss": 1.0}, trained.model)
    assert trained.state.best_epoch == 0
    assert trained.state.best_parameters is None
    assert math.isnan(trained.state.best_score)
