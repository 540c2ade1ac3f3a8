"""The offline walk as steps that go on where they stopped: features, train, evaluate, export, report.

A run is a directory. What a step needs of an earlier one it reads from there, or makes again from
checkpoints and the vector cache, which costs little when it was made before:

    run/
      config.toml  dataset.json        what was asked for, and of which data
      checkpoints/  fits.json          towers by stage (main, later, twin, refit), and what each fit came to
      audit.json                       what was looked at for leaks, by stage
      split/  metrics.json             what was held out, and how well it was found
      baselines.json                   what was chosen for each baseline on validation
      answers.parquet  examples.json   every model's lists, and some of ours with reasons
      knockouts.json                   what each modality brings
      review_sentiment.json            how well ratings are predicted from reviews
      rejected.csv  timings.json  histories.parquet  report.html
      parts/                           of a prepared log: one byte an event, by stage
      bundle/
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path

from features.dataset.rejected import write_rejected
from features.dataset.tables import Dataset, MediaVectors
from features.event_log.dataset import open_dataset
from features.extraction.extract import extract
from features.inputs.histories import HistoryBuilder, SeenItems, save_histories
from features.inputs.review_sentiment import annotate_reviewers
from features.leakage.audit import audit_test
from features.splits.make import make_split
from features.splits.split import Split
from recsys.bundle.load import Bundle
from recsys.config import Config, dump_config, load_config
from recsys.errors import ConfigError
from recsys.history import History
from recsys.progress import Progress, silent
from training.baselines.competitors import compare_baselines, rivals
from training.evaluation.evaluate import Evaluation, TopK, evaluate
from training.evaluation.examples import draw_examples, save_examples
from training.evaluation.predictions import ANSWERS, Answers
from training.evaluation.system import (
    LATER,
    MODEL,
    TOWERS,
    TWIN,
    blind,
    whole_and_towers,
)
from training.export.bundle import NUM_CHECKED_USERS, Provenance, export_bundle
from training.fitting.audit import record_audit, truth_of
from training.fitting.fit import Budget, Fitted, fit
from training.fitting.record import record_fit, validation_metrics
from training.fitting.refit import choices_of_towers, newest_events_split
from training.knockouts.measure import Knockouts, measure_knockouts
from training.knockouts.systems import Patient
from training.memory import keep_freed_memory
from training.report.collect import collect
from training.report.write import REPORT, write_report
from training.threads import threads
from training.tracking import Tracker, flatten, make_tracker

logger = logging.getLogger(__name__)


class Run:
    """One training and all that is made of it."""

    def __init__(
        self, out: Path, dataset: Path, config: Config, *, cache_dir: Path, progress: Progress = silent
    ) -> None:
        self.out, self.dataset_path, self.config = out, dataset, config
        self.cache_dir, self.progress = cache_dir, progress
        self.seconds: dict[str, float] = {}
        self._read_timings()

    @classmethod
    def create(
        cls, out: Path, dataset: Path, config: Config, *, cache_dir: Path, progress: Progress = silent
    ) -> "Run":
        """A run in `out`: new, or one of the same dataset and configuration to go on with.

        Raises `ConfigError` where `out` holds a run that was asked for otherwise.
        """
        out.mkdir(parents=True, exist_ok=True)
        wanted = {"path": str(dataset.resolve()), "cache": str(cache_dir.resolve())}
        described, configured = out / "dataset.json", out / "config.toml"
        if described.exists() and configured.exists():
            before = json.loads(described.read_text("utf-8"))
            changed = _changes(load_config(configured), config)
            if before["path"] != wanted["path"]:
                changed.insert(0, f"dataset {wanted['path']}")
            if changed:
                raise ConfigError(
                    f"{out} holds a run of {before['path']} that was asked for otherwise, without "
                    f"{', '.join(changed)}; name another --out, or delete it"
                )
        elif any(out.iterdir()):
            raise ConfigError(f"{out} is not empty and holds no run; name another --out")
        dump_config(config, configured)
        described.write_text(json.dumps(wanted, indent=2), "utf-8")
        return cls(out, dataset, config, cache_dir=cache_dir, progress=progress)

    @classmethod
    def open(cls, out: Path, *, progress: Progress = silent) -> "Run":
        """The run in `out`; raises `ConfigError` if there is none."""
        try:
            described = json.loads((out / "dataset.json").read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"{out} holds no run; make one with: recsys train DATASET --out {out}"
            ) from None
        config = load_config(out / "config.toml")
        return cls(
            out, Path(described["path"]), config, cache_dir=Path(described["cache"]), progress=progress
        )

    @cached_property
    def dataset(self) -> Dataset:
        with self._timed("read"):
            dataset = open_dataset(
                self.dataset_path, self.config.data, cache_dir=self.cache_dir, progress=self.progress
            )
        return dataset

    @cached_property
    def vectors(self) -> MediaVectors:
        dataset = self.dataset
        with self._timed("features"):
            vectors = extract(dataset, self.config.encoders, cache_dir=self.cache_dir, progress=self.progress)
        write_rejected((*dataset.rejected, *vectors.rejected), self.out / "rejected.csv")
        dataset.write_rejected_interactions(self.out / "rejected_interactions.csv")
        return vectors

    @cached_property
    def split(self) -> Split:
        parts = self.out / "parts" / "main"
        split = make_split(self.dataset, self.config.split, parts, progress=self.progress)
        split.write(self.out / "split")
        return split

    @cached_property
    def fitted(self) -> Fitted:
        """The model that is evaluated."""
        return self._fit(MODEL, "main", self.config)

    @cached_property
    def tracker(self) -> Tracker:
        path = self.out / "mlflow_run.txt"
        run_id = path.read_text("utf-8").strip() if path.exists() else None
        return make_tracker(self.config.track, f"{self.dataset_path.name}/{self.out.name}", run_id=run_id)

    def train(self) -> Fitted:
        """Fit towers and ranker, tracked."""
        with self.tracked() as tracker:
            tracker.log_params(self._params())
            fitted = self.fitted
            tracker.log_metrics(validation_metrics(fitted))
            tracker.log_artifact(self.out / "config.toml")
        return fitted

    def evaluate(self) -> Evaluation:
        """Our model, its towers alone, its twin, baselines, chance and, if there is one, the oracle."""
        fitted, split, knobs = self.fitted, self.split, self.config.evaluate
        histories = split.before_test(fitted.builder)
        seen = SeenItems(histories)
        models: list[TopK] = self._systems(fitted, histories)
        with self._timed("baselines"), threads(self.config.train.num_threads):
            models += rivals(self, split, fitted.features, seen)
        answers: list[Answers] = []
        with self._timed("evaluate"), threads(self.config.train.num_threads):
            evaluation = evaluate(
                models,
                split=split,
                items=fitted.features,
                seen=seen,
                ks=knobs.k,
                exclude_seen=knobs.exclude_seen,
                beyond_accuracy=True,
                ours=MODEL,
                progress=self.progress,
                keep=answers.append,
            )
        self._audit(fitted, histories, answers[0])
        answers[0].save(self.out / ANSWERS, fitted.features.item_ids)
        save_examples(
            draw_examples(answers[0], fitted, histories, model=MODEL, exclude_seen=knobs.exclude_seen),
            self.out,
        )
        (self.out / "metrics.json").write_text(evaluation.to_json(), "utf-8")
        with self.tracked() as tracker:
            tracker.log_metrics(evaluation.flat())
            tracker.log_artifact(self.out / "metrics.json")
            tracker.log_artifact(self.out / "split", "split")
        return evaluation

    def compare_baselines(self) -> Evaluation:
        """The table of the baselines alone: nothing of ours is trained."""
        with self._timed("baselines"), threads(self.config.train.num_threads):
            return compare_baselines(self)

    def knock_out(self, num_users: int | None = None) -> Knockouts:
        """What each modality brings to the evaluated model; writes knockouts.json."""
        patient = Patient(self.fitted, self.dataset, self.vectors, self.split, self.config)
        num_users = num_users or self.config.evaluate.knockout_users
        with self._timed("knockouts"):
            knockouts = measure_knockouts(patient, num_users=num_users, progress=self.progress)
        path = knockouts.save(self.out)
        with self.tracked() as tracker:
            tracker.log_artifact(path)
        return knockouts

    def export(self) -> Bundle:
        """The bundle and the histories beside it; by default of a model trained once more on everything."""
        first, dataset = self.fitted, self.dataset
        metrics_path = self.out / "metrics.json"
        metrics = json.loads(metrics_path.read_text("utf-8")) if metrics_path.exists() else {}
        metrics.pop("slices", None)  # long, and nobody serving asks for them
        final, description = (
            first,
            f"Fitted on the training part of the split alone. {self.split.description}",
        )
        if self.config.train.refit:
            final, description = self._refit(first)
        histories = dataset.histories(_served_builder(final, dataset))
        with self._timed("annotate"):
            reviewers = annotate_reviewers(dataset, self.vectors, self.out)
        with self._timed("export"):
            save_histories(histories, self.out / "histories.parquet", final.features.item_ids, final.maps)
            bundle = export_bundle(
                self.out / "bundle",
                final,
                dataset,
                self.config,
                Provenance(
                    dataset_fingerprint=dataset.fingerprint(),
                    refit=self.config.train.refit,
                    refit_description=description,
                    metrics=metrics,
                ),
                list(islice(histories.values(), NUM_CHECKED_USERS)),
                reviewers=reviewers,
            )
        with self.tracked() as tracker:
            tracker.log_metrics({f"parity/{name}": value for name, value in bundle.manifest.parity.items()})
            tracker.log_artifact(bundle.path, "bundle")
        return bundle

    def report(self) -> Path:
        """`report.html`, made of what the steps before left here; without a bundle it says so.

        Raises `ConfigError` where a step that it needs has not been taken.
        """
        dataset = self.dataset
        with self._timed("report"):
            content = collect(
                self.out, dataset, self.config, name=self.dataset_path.name, fingerprint=dataset.fingerprint()
            )
            path = write_report(content, self.out / REPORT)
        with self.tracked() as tracker:
            tracker.log_artifact(path)
        return path

    def _refit(self, first: Fitted) -> tuple[Fitted, str]:
        budget = Budget.of(first)
        split = newest_events_split(
            self.dataset,
            self.config,
            needs_targets=budget.ranker_share > 0,
            folder=self.out / "parts" / "refit",
        )
        fitted = self._fit("refit", "refit", self.config, split=split, budget=budget)
        return fitted, f"{split.description} Towers: {budget.epochs} epochs, as chosen before."

    def _audit(self, fitted: Fitted, histories: Mapping[str, History], answers: Answers) -> None:
        audit = audit_test(
            self.dataset,
            self.split,
            features=fitted.features,
            builder=fitted.builder,
            histories=histories,
            truth=truth_of(answers),
            exclude_seen=self.config.evaluate.exclude_seen,
        )
        record_audit(self.out, "test", audit)

    def _systems(self, fitted: Fitted, histories: Mapping[str, History]) -> list[TopK]:
        knobs = self.config.evaluate
        systems: list[TopK] = [*whole_and_towers(fitted, histories, MODEL, TOWERS, knobs)]
        if knobs.with_validation:
            joined, budget = self.split.with_validation(), choices_of_towers(fitted)
            later = self._fit(LATER, "later", self.config, split=joined, budget=budget)
            known = self.split.before_test(later.builder)
            systems += whole_and_towers(later, known, LATER, None, knobs)
        wants_twin = knobs.twin
        if wants_twin or (wants_twin is None and self.dataset.oracle_files is not None):
            config = blind(self.config)
            twin = self._fit(TWIN, "twin", config)
            known = self.split.before_test(twin.builder)
            systems += whole_and_towers(twin, known, TWIN, None, knobs)
        return systems

    def _fit(
        self,
        name: str,
        stage: str,
        config: Config,
        *,
        split: Split | None = None,
        budget: Budget | None = None,
    ) -> Fitted:
        vectors = self.vectors
        keep_freed_memory()
        limited = threads(config.train.num_threads)
        with self._timed(f"train {stage}"), self.tracked() as tracker, limited:
            fitted = fit(
                self.dataset,
                vectors,
                split or self.split,
                config,
                budget=budget,
                checkpoint=self.out / "checkpoints" / f"{stage}.pt",
                progress=lambda step, done, total, note="": self.progress(
                    f"{step} {name}", done, total, note
                ),
                on_epoch=lambda epoch, entry: tracker.log_metrics(
                    {f"{stage}/{key}": value for key, value in entry.items()}, step=epoch
                ),
            )
        record_fit(self.out, stage, fitted)
        record_audit(self.out, stage, fitted.audit)
        return fitted

    def _params(self) -> dict[str, object]:
        return flatten(self.config.model_dump(mode="json")) | {"dataset": self.dataset.name}

    @contextmanager
    def tracked(self) -> Iterator[Tracker]:
        """One MLflow run for all steps of this run; inner uses join the outer one."""
        if self.__dict__.get("_tracking"):
            yield self.tracker
            return
        self.__dict__["_tracking"] = True
        try:
            with self.tracker as tracker:
                if tracker.run_id is not None:
                    (self.out / "mlflow_run.txt").write_text(tracker.run_id, "utf-8")
                yield tracker
        finally:
            self.__dict__["_tracking"] = False

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        taken = time.perf_counter() - start
        # A step that found its work done before does not overwrite what the work took.
        self.seconds[step] = max(taken, self.seconds.get(step, 0.0))
        (self.out / "timings.json").write_text(json.dumps(self.seconds, indent=2), "utf-8")

    def _read_timings(self) -> None:
        path = self.out / "timings.json"
        if path.exists():
            self.seconds = json.loads(path.read_text("utf-8"))


def _changes(before: Config, now: Config) -> list[str]:
    """Settings of `now` that `before` has otherwise."""
    old, new = (flatten(each.model_dump(mode="json")) for each in (before, now))
    return [f"{name} = {value}" for name, value in new.items() if value != old[name]]


def _served_builder(fitted: Fitted, dataset: Dataset) -> HistoryBuilder:
    """Histories up to now: every review is past, those that fitting had to leave out, too."""
    return HistoryBuilder(
        dataset,
        item_ids=fitted.features.item_ids,
        maps=fitted.maps,
        reviews=fitted.builder.reviews,
        allowed_reviews=dataset.reviews,
    )
