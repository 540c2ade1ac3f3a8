"""Commands among the processes of torchrun."""

import pytest
from walk_parts import refused

from recsys.cli.app import is_torchrun


def test_a_command_for_one_process_is_refused_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = refused("doctor")
    assert "recsys doctor runs in one process; start it without torchrun" in message
    assert "demo, evaluate, export, run, train" in message


def test_a_single_process_of_torchrun_is_like_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_torchrun()
