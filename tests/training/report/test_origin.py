"""How to reproduce a run; folders of the machine and passwords are left out."""

import shlex
from pathlib import Path

from recsys.config import Config, load_config
from training.fitting.record import FitRecord
from training.report.origin import command, origin

FIT = FitRecord(
    at="", curve=(), best_epoch=0, best_score=None, ranker=None, num_items=0, cold_items=None,
    without_events=None, coverage={},
    versions={"recsys": "1"}, machine={"processor": "P", "cores": 2, "system": "S"},
)  # fmt: skip


def test_the_command_makes_the_same_configuration() -> None:
    overrides = ["train.epochs=3", "evaluate.k=[5, 10]", "encoders.text=my own", "evaluate.id_only=true"]
    overrides += ['evaluate.baselines=["als"]', "evaluate.grids.als=[{factors = 8, alpha = 2.5}]"]
    config = load_config(preset="fast", overrides=overrides)
    words = shlex.split(command(config, dataset="shop", out="run"))
    assert words[:7] == ["recsys", "run", "shop", "--out", "run", "--preset", "fast"]
    settings = [word for word in words[7:] if word != "--set"]
    assert len(settings) == len(overrides)
    assert load_config(preset="fast", overrides=settings) == config


def test_a_plain_run_is_a_plain_command() -> None:
    assert command(Config(), dataset="shop", out="run") == "recsys run shop --out run"


def test_folders_lose_their_place_and_the_tracker_its_address(tmp_path: Path) -> None:
    overrides = [f"encoders.text={tmp_path / 'mine'}", "track.uri=https://user:secret@host/"]
    found = origin(
        load_config(overrides=overrides),
        FIT,
        dataset="shop",
        out="run",
        fingerprint="f00d",
        seconds={"a": 1.5},
    )
    for text in (found.command, found.settings):
        assert str(tmp_path) not in text
        assert "secret" not in text
        assert "…/mine" in text
    assert found.machine == "2 cores, P, S"
    assert found.total_seconds == 1.5
