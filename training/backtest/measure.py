"""The runs of a backtest: one run directory a window, and the lists of all models in it.

The models of a window are those of `Run.evaluate`: the system and its baselines, fitted before validation
and chosen on it. The refit is fitted again on all events before the window, by the choices of validation, as
a bundle is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from features.dataset import Dataset, require_interactions
from features.event_log import open_dataset
from features.extraction import extract
from features.inputs import SeenItems
from recsys.columns import Columns
from recsys.config import Config, changed
from recsys.errors import ConfigError
from recsys.progress import Progress, silent
from training.backtest.results import REFIT, Backtest, WindowLists
from training.backtest.windows import Window, choose_windows
from training.evaluation import (
    EvaluationSet,
    EvaluationSettings,
    Predictions,
    evaluate,
    full_and_towers,
)
from training.fitting import FitChoices, FitInputs, Fitted, audit, fit, newest_events_split
from training.pipeline import Run
from training.runtime import threads


def backtest(
    dataset: Path,
    out: Path,
    config: Config,
    *,
    num: int = 3,
    days: float | None = None,
    cutoffs: Sequence[str] = (),
    cache_dir: Path,
    progress: Progress = silent,
) -> Backtest:
    """Fit and ask all models for every window; writes backtest.json into `out`.

    `num`, `days` and `cutoffs` are those of `choose_windows`. A window is a run directory in `out`, so that
    an interrupted backtest goes on. Raises `ConfigError` for data without times.
    """
    require_interactions(dataset)
    config = changed(config, {"evaluate.knockouts": False, "search.enabled": False})
    whole = open_dataset(dataset, config.data, cache_dir=cache_dir, progress=progress)
    windows = choose_windows(_positive_times(whole), num, days=days, cutoffs=cutoffs)
    found = []
    for at, window in enumerate(windows):

        def say(step: str, done: int, total: int, note: str = "", *, at: int = at) -> None:
            progress(f"window {at + 1} of {len(windows)}: {step}", done, total, note)

        folder = out / window.name.replace(":", "-")
        run = Run.create(folder, dataset, window.config(config), cache_dir=cache_dir, progress=say)
        found.append(_lists_of(run, window))
    result = Backtest.of(found, config.evaluate)
    result.save(out / "backtest.json")
    return result


def _positive_times(dataset: Dataset) -> np.ndarray:
    if not dataset.has_clock:
        raise ConfigError("a backtest needs times; this dataset has positions (time = 'order')")
    positive = dataset.interactions.filter(Columns.POSITIVE)
    return positive[Columns.TIMESTAMP].to_numpy()


def _lists_of(run: Run, window: Window) -> WindowLists:
    if not run.directory.metrics.exists():
        run.evaluate()
    features = run.fitted.features
    predictions = Predictions.load(run.directory.predictions, features.item_ids)
    if run.config.train.refit:
        predictions = _with_refit(run, window, predictions)
    return WindowLists(window=window, predictions=predictions)


def _with_refit(run: Run, window: Window, predictions: Predictions) -> Predictions:
    """`predictions` with the lists of the refit."""
    fitted = _refit(run, window)
    kept = run.directory.path / f"refit-{_key(run, fitted)}.parquet"
    if kept.exists():
        both = Predictions.load(kept, fitted.features.item_ids)
    else:
        histories = run.split.before_test(fitted.builder)
        systems = full_and_towers(fitted, histories, REFIT, None, run.config.evaluate)
        data = EvaluationSet(split=run.split, items=fitted.features, seen=SeenItems(histories))
        found: list[Predictions] = []
        with threads(run.config.train.num_threads):
            evaluate(
                systems,
                data,
                EvaluationSettings(ks=run.config.evaluate.k, exclude_seen=run.config.evaluate.exclude_seen),
                progress=run.progress,
                keep=found.append,
            )
        both = found[0]
        both.save(kept, fitted.features.item_ids)
    assert both.users == predictions.users, "both are of the test of one split"
    return replace(predictions, models={**predictions.models, **both.models})


def _refit(run: Run, window: Window) -> Fitted:
    """The model of all events before the window, with the settings that validation chose."""
    choices, past = FitChoices.of(run.fitted), run.dataset.before(window.start)
    vectors = extract(past, run.config.encoders, cache_dir=run.cache_dir, progress=run.progress)
    split = newest_events_split(past, run.config, needs_targets=choices.blend_weight > 0)
    with threads(run.config.train.num_threads):
        return fit(
            audit(FitInputs.of(past, vectors, split, run.config)),
            choices=choices,
            checkpoint=run.directory.checkpoint("refit_before_test"),
            after_towers=run.directory.after_towers("refit_before_test"),
            progress=lambda step, at, total, note="": run.progress(f"{step} refit", at, total, note),
        )


def _key(run: Run, fitted: Fitted) -> str:
    read = (fitted.digest(), run.split.description, run.config.evaluate)
    return hashlib.sha256(repr(read).encode()).hexdigest()[:12]
