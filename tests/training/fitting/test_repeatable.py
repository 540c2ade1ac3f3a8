"""The same seed on one thread gives the same results to the last digit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fitting_parts import config, log, media
from repeat_parts import fit_and_evaluate
from threadpoolctl import threadpool_info

from features.splits.make import make_split
from recsys.config import load_config
from recsys.errors import ConfigError
from training.pipeline import Run
from training.runtime import threads

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.long
def test_in_one_process_and_in_another_with_another_hash_seed() -> None:
    """The hash seed of this process is drawn at random by Python."""
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "tests/support/repeat_parts.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    first = fit_and_evaluate()
    assert json.loads(first)["metrics"]["views"]["warm"]["models"]["recsys"]
    assert json.loads(first)["parameters"]
    assert fit_and_evaluate() == first
    assert other.communicate()[0].splitlines()[-1] == first


class TestThreads:
    def test_are_those_asked_for_and_come_back(self) -> None:
        before = torch.get_num_threads()
        with threads(1):
            assert torch.get_num_threads() == 1
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert torch.get_num_threads() == before

    def test_none_leaves_them_alone(self) -> None:
        before = torch.get_num_threads()
        with threads(None):
            assert torch.get_num_threads() == before

    def test_a_run_trains_on_those_asked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Seen(Exception):
            pass

        def fit(*_: object, **__: object) -> None:
            raise Seen(torch.get_num_threads())

        monkeypatch.setattr("training.pipeline.fit", fit)
        for num in (1, 2):
            settings = config(train={"num_threads": num})
            run = Run.create(tmp_path / f"{num}", tmp_path / "shop", settings, cache_dir=tmp_path / "cache")
            vars(run).update(dataset=log(), vectors=media(log()), split=make_split(log(), settings.split))
            with pytest.raises(Seen, match=str(num)):
                run.train()

    def test_none_at_all_is_no_number(self) -> None:
        assert load_config(overrides=["train.num_threads=2"]).train.num_threads == 2
        with pytest.raises(ConfigError, match=r"train.num_threads = 0"):
            load_config(overrides=["train.num_threads=0"])
