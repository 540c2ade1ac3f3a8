"""The ablation of a run's configuration: the base and each option, fitted for every seed and evaluated.

The outcome of a fit is saved as two small files in the run directory. The same command with more options or
seeds fits only the outcomes that are missing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from features.inputs import SeenItems, build_item_features
from recsys.config import Config, changed
from training.evaluation import (
    MODEL,
    ByUser,
    EvaluationSet,
    EvaluationSettings,
    GroundTruth,
    audit_predictions,
    full_and_towers,
    results_by_user,
)
from training.experiments.options import BASE, NEEDS, Option, choose_options, offered
from training.experiments.outcome import Outcome, ViewResults, fingerprint_of, path_of
from training.experiments.results import AblatedView, Ablation, rows_of
from training.fitting import FitInputs, Fitted, audit, fit, tower_settings
from training.pipeline import Run
from training.runtime import threads


def ablate(run: Run, names: Sequence[str] | None = None, *, num_seeds: int = 3) -> Ablation:
    """Fit and evaluate the base and the options `names`; writes ablation.json.

    `names` is None: all options that change something here. The seeds are `train.seed`, `train.seed` + 1 and
    so on; the split is the same for all. Raises `ConfigError` for an unknown option.
    """
    if names is not None:
        choose_options(names, run.config, NEEDS)  # fails for a misspelt name before any data is read
    with run.step("ablate"):
        return _ablate(run, names, num_seeds)


def _ablate(run: Run, names: Sequence[str] | None, num_seeds: int) -> Ablation:
    options, left_out = _options(run, names)
    seeds = tuple(run.config.train.seed + at for at in range(num_seeds))
    fits = _AblationFits(run)
    outcomes: dict[str, list[Outcome]] = {}
    cases = (Option(name=BASE, settings={}), *options)
    num_fits = len(cases) * num_seeds
    for at, seed in enumerate(seeds):
        for number, option in enumerate(cases):
            run.progress("ablate", at * len(cases) + number, num_fits, f"{option.name}, seed {seed}")
            outcomes.setdefault(option.name, []).append(fits.outcome(option, seed))
        fits.forget(seed)
    run.progress("ablate", num_fits, num_fits)
    ablation = Ablation(
        protocol=run.split.protocol,
        description=run.split.description,
        ks=tuple(run.config.evaluate.k),
        seeds=seeds,
        is_full_system=run.config.model.ranker.enabled,
        views={name: _counted(view) for name, view in outcomes[BASE][0].views.items()},
        rows=tuple(rows_of(options, outcomes, seed=run.config.train.seed)),
        left_out=left_out,
    )
    ablation.save(run.directory.ablation)
    return ablation


def _options(run: Run, names: Sequence[str] | None) -> tuple[tuple[Option, ...], dict[str, str]]:
    statistics, reviews = run.split.statistics, run.split.reviews
    items = build_item_features(run.dataset, run.vectors, train=statistics, reviews=reviews)
    return choose_options(names, run.config, offered(run.dataset, run.vectors, statistics, items, run.config))


@dataclass(frozen=True)
class _AblationFits:
    """Fits and evaluates one option and seed at a time; only the results by user are kept in memory."""

    run: Run

    @cached_property
    def _data(self) -> str:
        return self.run.dataset.fingerprint()

    def outcome(self, option: Option, seed: int) -> Outcome:
        """The saved outcome of this option and seed, or a new one."""
        run = self.run
        config = changed(run.config, {**option.settings, "train.seed": seed})
        path, known = path_of(run.directory.ablation_fits, option.name, seed), self._fingerprint(config)
        before = Outcome.load(path, known)
        if before is not None:
            return before
        checkpoint = self._checkpoint(path, config, seed)
        is_new = not checkpoint.exists()
        start = time.process_time()
        with threads(config.train.num_threads):
            fitted = self._fit(f"{option.name}, seed {seed}", config, checkpoint)
            cpu_seconds = time.process_time() - start
            views = self._results(fitted, config)
        best = fitted.retriever.best_score
        outcome = Outcome(
            fingerprint=known,
            validation_ndcg=None if best != best else best,
            best_epoch=fitted.retriever.best_epoch,
            cpu_seconds=cpu_seconds if is_new else None,
            views=views,
        )
        outcome.save(path)
        if checkpoint != self._shared(seed):
            checkpoint.unlink(missing_ok=True)
        return outcome

    def forget(self, seed: int) -> None:
        """Remove the checkpoint that options of this seed have shared."""
        self._shared(seed).unlink(missing_ok=True)

    def _checkpoint(self, path: Path, config: Config, seed: int) -> Path:
        """The path of the checkpoint. Options that do not change the towers share the base's checkpoint."""
        base = changed(self.run.config, {"train.seed": seed})
        if tower_settings(config) == tower_settings(base):
            return self._shared(seed)
        return path.with_name(f"{path.name}.pt")

    def _shared(self, seed: int) -> Path:
        return self.run.directory.ablation_fits / f"towers-{seed}.pt"

    def _fit(self, words: str, config: Config, checkpoint: Path) -> Fitted:
        run = self.run

        def progress(step: str, done: int, total: int, note: str = "") -> None:
            run.progress(step, done, total, f"{words}: {note}")

        inputs = FitInputs.of(run.dataset, run.vectors, run.split, config)
        return fit(audit(inputs), checkpoint=checkpoint, progress=progress)

    def _results(self, fitted: Fitted, config: Config) -> dict[str, ViewResults]:
        split, settings = self.run.split, config.evaluate
        histories = split.before_test(fitted.builder)
        (system,) = full_and_towers(fitted, histories, MODEL, None, settings)
        data = EvaluationSet(split=split, items=fitted.features, seen=SeenItems(histories))
        ground_truth, views = results_by_user(system, data, EvaluationSettings.of(settings))
        audit_predictions(ground_truth.with_lists({}), fitted, self.run.dataset, split, histories, settings)
        return {name: _kept(ground_truth, view) for name, view in views.items()}

    def _fingerprint(self, config: Config) -> str:
        """Fingerprint of the settings that change an outcome; tracking and baselines do not."""
        sections = config.model_dump_json(include={"split", "encoders", "model", "train"})
        settings = config.evaluate
        return fingerprint_of(f"{sections} {settings.k} {settings.exclude_seen}", self._data)


def _kept(ground_truth: GroundTruth, view: ByUser) -> ViewResults:
    return ViewResults(
        description=view.part.description,
        users=tuple(ground_truth.users[row] for row in view.part.rows),
        num_pairs=len(view.part.ground_truth.ids),
        num_ranked=view.part.num_ranked,
        values=view.values,
    )


def _counted(view: ViewResults) -> AblatedView:
    return AblatedView(
        description=view.description,
        num_users=len(view.users),
        num_pairs=view.num_pairs,
        num_ranked=view.num_ranked,
    )
