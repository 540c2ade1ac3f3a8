"""The runs of a backtest: one run directory a window, and the lists of all models in it.

The models of a window are those of `Run.evaluate`: the system and its baselines, fitted before validation
and chosen on it. The refit is fitted again on all events before the window, by the choices of validation, as
a bundle is.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from features.dataset import Dataset, require_interactions
from features.event_log import open_dataset
from features.extraction import extract
from features.inputs import SeenItems
from recsys.columns import Columns
from recsys.config import Config, changed
from recsys.errors import ConfigError
from recsys.ids import IdMap
from recsys.progress import Progress, silent
from training.backtest.results import REFIT, Backtest, WindowLists
from training.backtest.windows import Window, choose_windows
from training.evaluation import (
    EvaluationSet,
    EvaluationSettings,
    KeptLists,
    Predictions,
    evaluate,
    full_and_towers,
)
from training.fitting import FitChoices, FitInputs, Fitted, audit, fit, newest_events_split
from training.pipeline import Run
from training.runtime import threads

LISTS: Final = "backtest.parquet"  # the predictions of a window, with those of the refit


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
    """The lists of one window. They are kept in its folder, so that a repeated backtest loads no model."""
    item_ids, kept = IdMap(run.dataset.items[Columns.ITEM].to_list()), run.directory.path / LISTS
    if not kept.exists():
        if not run.directory.metrics.exists():
            run.evaluate()
        predictions = Predictions.load(run.directory.predictions, item_ids)
        if run.config.train.refit:
            predictions = _with_refit(run, window, predictions)
        predictions.save(kept, item_ids)
    return WindowLists(window=window, predictions=Predictions.load(kept, item_ids))


def _with_refit(run: Run, window: Window, predictions: Predictions) -> Predictions:
    """`predictions` with the lists of the refit."""
    fitted, settings = _refit(run, window), run.config.evaluate
    histories = run.split.before_test(fitted.builder)
    key = repr((fitted.digest(), run.split.description, settings))
    systems = full_and_towers(fitted, histories, REFIT, None, settings)
    found: list[Predictions] = []
    with threads(run.config.train.num_threads):
        evaluate(
            [KeptLists(each, run.directory.path / "refit_lists", key) for each in systems],
            EvaluationSet(split=run.split, items=fitted.features, seen=SeenItems(histories)),
            EvaluationSettings(ks=settings.k, exclude_seen=settings.exclude_seen),
            progress=run.progress,
            keep=found.append,
        )
    (refitted,) = found
    assert refitted.users == predictions.users, "both are of the test of one split"
    return replace(predictions, models={**predictions.models, **refitted.models})


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
