"""Outcomes of fits by hand, and a run over a small log that never read a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fitting_parts import config, log, media

from features.splits.make import make_split
from training.experiments.outcome import Outcome, ViewResults
from training.pipeline import Run
from training.run_directory import RunDirectory


def outcome(
    warm: Sequence[float], *, validation: float | None = 0.1, seconds: float | None = 60.0
) -> Outcome:
    """The NDCG@10 of each user in the view warm; nobody counts in cold_pool."""
    views = {
        "warm": _results({"ndcg@10": warm}, [f"u{at}" for at in range(len(warm))]),
        "cold_pool": _results({}, []),
    }
    return Outcome(
        fingerprint="a", validation_ndcg=validation, best_epoch=3, cpu_seconds=seconds, views=views
    )


def _results(values: Mapping[str, Sequence[float]], users: list[str]) -> ViewResults:
    return ViewResults(
        description="a view",
        users=tuple(users),
        num_pairs=2 * len(users),
        num_ranked=7,
        values={name: np.array(value) for name, value in values.items()},
    )


def run_of_a_log(out: Path, **changes: dict[str, Any]) -> Run:
    """A run without a ranker, whose data stand in memory; `changes` as of `fitting_parts.config`."""
    model = {"ranker": {"enabled": False}, **changes.pop("model", {})}
    data, settings = log(), config(model=model, evaluate={"k": [2, 4]}, **changes)
    run = Run(RunDirectory(out), out, settings, cache_dir=out)
    run.__dict__ |= {"dataset": data, "vectors": media(data), "split": make_split(data, settings.split)}
    return run
