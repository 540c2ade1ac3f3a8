"""`recsys run` by two processes of torchrun: the whole walk, with the refit, equals that of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from walk_parts import SHOP, recsys, write_settings

ROOT = Path(__file__).resolve().parents[1]
SET = ("--set", "track.enabled=false", "--set", "evaluate.knockouts=false")
DIVIDED = ("--set", "train.sampled_above=10", "--set", "train.num_negatives=32")
pytestmark = pytest.mark.long


def run(root: Path, num_ranks: int) -> subprocess.CompletedProcess[str]:
    """The walk in `root`; one process has as many threads as several have together."""
    out = ("--out", root / f"run{num_ranks}")
    command = ["run", root / "shop", *out, "--config", root / "settings.toml", "--cache", root / "cache"]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launcher += ["--rdzv-endpoint", "localhost:0", "-m", "recsys.cli"]
    threads = ("--set", f"train.num_threads={2 // num_ranks}")
    arguments = [*(launcher if num_ranks > 1 else ["-m", "recsys.cli"]), *command, *SET, *DIVIDED, *threads]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def records(root: Path, num_ranks: int) -> dict[str, Any]:
    return dict(json.loads((root / f"run{num_ranks}" / "fit_records.json").read_text("utf-8")))


def test_the_walk_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    assert recsys("sample", tmp_path / "shop", *SHOP).code == 0
    write_settings(tmp_path / "settings.toml", tmp_path / "encoders", "")
    answers = {num_ranks: run(tmp_path, num_ranks) for num_ranks in (1, 2)}
    for answer in answers.values():
        assert answer.returncode == 0, answer.stderr[-4000:]
    one, two = records(tmp_path, 1), records(tmp_path, 2)
    assert two.keys() == one.keys() == {"main", "refit"}
    for stage, record in one.items():
        for found, expected in zip(two[stage]["curve"], record["curve"], strict=True):
            assert found == pytest.approx(expected, rel=1e-3)
    assert answers[2].stdout.count("Towers:") == answers[1].stdout.count("Towers:"), "rank 0 alone prints"
    plan = (tmp_path / "run2" / "sharding_plan.txt").read_text("utf-8")
    assert plan.startswith("[main]\n2 ranks")
    assert "[refit]\n2 ranks" in plan
    assert plan.splitlines()[0] in answers[2].stdout
    assert (tmp_path / "run2" / "bundle" / "manifest.json").exists()
