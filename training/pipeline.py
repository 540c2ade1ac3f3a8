"""The steps of a run: features, train, evaluate, knock-outs, export, report. An interrupted step resumes.

A step reads the results of earlier steps from the run directory, or makes them again from checkpoints and the
vector cache.
"""

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from features.conversion import default_cache_dir
from features.dataset import Dataset, MediaVectors, require_interactions, write_rejected
from features.event_log import open_dataset
from features.extraction import extract
from features.inputs import (
    KnownUsers,
    SeenItems,
    annotate_reviewers,
    save_histories,
)
from features.splits import Split, make_split
from recsys.bundle import Bundle
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.files import replace_text
from recsys.history import History
from recsys.progress import Progress, silent
from recsys.search import SearchSettings
from training.baselines import evaluate_baselines, make_competitors, save_choices
from training.evaluation import (
    ID_ONLY,
    MODEL,
    TOWERS,
    WITH_VALIDATION,
    Evaluation,
    EvaluationSet,
    EvaluationSettings,
    KeptLists,
    Predictions,
    TopK,
    audit_predictions,
    draw_examples,
    evaluate,
    full_and_towers,
    id_only,
    save_examples,
)
from training.export import NUM_CHECKED_USERS, Provenance, export_bundle, export_key, export_once
from training.fitting import (
    FitChoices,
    FitInputs,
    Fitted,
    JointFit,
    announce,
    audit,
    choices_of_towers,
    fit,
    newest_events_split,
    record_audit,
    record_fit,
    record_plan,
    validation_metrics,
)
from training.imputation import with_imputed
from training.knockouts import Knockouts, KnockoutSubject, measure_knockouts
from training.ranks import ranks_of_process
from training.report import collect, write_plots, write_report
from training.run_directory import RunDirectory
from training.runtime import threads
from training.search import QueryFiles, Searchable, SearchBeforeTest, Searched, SearchSubject
from training.tracking import RunTracker, Tracker, log_inputs, step

logger = logging.getLogger(__name__)


class Run:
    """One run: its data, its trained models, and its steps."""

    def __init__(
        self,
        directory: RunDirectory,
        dataset: Path,
        config: Config,
        *,
        cache_dir: Path,
        progress: Progress = silent,
    ) -> None:
        self.directory, self.dataset_path, self.config = directory, dataset, config
        self.cache_dir, self.progress = cache_dir, progress
        self.ranks = ranks_of_process()  # this one is rank 0; the others `follow`
        name = f"{dataset.resolve().name}/{directory.path.resolve().name}"
        self._tracker = RunTracker(config.track, name, directory.path, directory.tracking)
        self._are_inputs_tracked = False

    @classmethod
    def create(
        cls, out: Path, dataset: Path, config: Config, *, cache_dir: Path, progress: Progress = silent
    ) -> "Run":
        """A new run in `out`, or the existing one of the same dataset and configuration.

        Raises `ConfigError` where `out` holds other files, or a run of another configuration or dataset, and
        `DataError` where the dataset has no interactions.
        """
        require_interactions(dataset)
        directory = RunDirectory.create(out, dataset, config, cache_dir=cache_dir)
        return cls(directory, dataset, config, cache_dir=cache_dir, progress=progress)

    @classmethod
    def open(
        cls,
        out: Path,
        *,
        dataset: Path | None = None,
        cache_dir: Path | None = None,
        settings: Iterable[str] = (),
        progress: Progress = silent,
    ) -> "Run":
        """The run in `out`. `dataset` and `cache_dir` replace the paths in dataset.json.

        `settings` are written as `section.field=value` and hold for this object. Raises `ConfigError` if
        there is no run, if its dataset is not found, and for a setting that results depend on.
        """
        directory = RunDirectory.open(out)
        return cls(
            directory,
            dataset or directory.dataset_path(),
            directory.config(settings),
            cache_dir=cache_dir or directory.cache_dir() or default_cache_dir(),
            progress=progress,
        )

    @cached_property
    def dataset(self) -> Dataset:
        with self.directory.timed("read"), self.directory.removed_without_dataset():
            dataset = open_dataset(
                self.dataset_path, self.config.data, cache_dir=self.cache_dir, progress=self.progress
            )
            self.directory.check_dataset(self.dataset_path, dataset.fingerprint())
        return dataset

    @cached_property
    def vectors(self) -> MediaVectors:
        dataset = self.dataset
        with self._tracker.step("features") as tracker, self.directory.timed("features"):
            vectors = extract(dataset, self.config.encoders, cache_dir=self.cache_dir, progress=self.progress)
            tracker.log_metrics({f"encoded/{name}": count for name, count in vectors.encoded.items()})
        write_rejected((*dataset.rejected, *vectors.rejected), self.directory.rejected)
        dataset.write_rejected_interactions(self.directory.rejected_events)
        return with_imputed(dataset, vectors, self.config)

    @cached_property
    def split(self) -> Split:
        parts = self.directory.parts("main")
        split = make_split(self.dataset, self.config.split, parts, progress=self.progress)
        split.write(self.directory.split)
        return split

    @cached_property
    def fitted(self) -> Fitted:
        """The evaluated model."""
        return self._fit(MODEL, "main", self.config)

    @step("train")
    def train(self) -> Fitted:
        """Fit the evaluated model: towers, cold-start head, candidate sources, ranker."""
        self.tracker.log_artifact(self.directory.config_file)
        fitted = self.fitted
        self.tracker.log_metrics(validation_metrics(fitted))
        return fitted

    @step("evaluate")
    def evaluate(self) -> Evaluation:
        """Evaluate the model, its towers alone, the id-only model, baselines, chance and the oracle."""
        fitted, split, settings = self.fitted, self.split, self.config.evaluate
        histories = split.before_test(fitted.builder)
        seen = SeenItems(histories)
        models: list[TopK] = self._systems(fitted, histories)
        with self._computing("baselines"):
            competitors = make_competitors(
                self.dataset, split, fitted.features, self.config, seen=seen, progress=self.progress
            )
        save_choices(self.directory.baselines, competitors.chosen)
        predictions: list[Predictions] = []
        with self._computing("evaluate"):
            evaluation = evaluate(
                [*models, *competitors.models],
                EvaluationSet(split=split, items=fitted.features, seen=seen),
                EvaluationSettings.of(settings, main_model=MODEL),
                progress=self.progress,
                keep=predictions.append,
            )
        with self._computing("search"):
            of_search = self.search_before_test(histories).evaluate() if self.config.search.enabled else None
            evaluation = replace(evaluation, search=of_search)
        found = audit_predictions(predictions[0], fitted, self.dataset, split, histories, settings)
        record_audit(self.directory.audits, "test", found)
        predictions[0].save(self.directory.predictions, fitted.features.item_ids)
        save_examples(
            draw_examples(predictions[0], fitted, histories, model=MODEL, exclude_seen=settings.exclude_seen),
            self.directory.examples,
        )
        replace_text(self.directory.metrics, evaluation.to_json())
        shutil.rmtree(self.directory.kept_lists, ignore_errors=True)
        self._track_evaluation(evaluation)
        return evaluation

    @step("evaluate_search")
    def evaluate_search(self, files: QueryFiles, name: str) -> Searched:
        """Search of the evaluated model for judged queries; raises `ConfigError` for a run without search."""
        with self._computing("search"):
            return self.search_before_test().evaluate_files(files, name)

    @step("baselines")
    def compare_baselines(self) -> Evaluation:
        """Evaluate the baselines alone; no model is trained.

        Raises `ConfigError` where the run has a trained model, whose results would be overwritten.
        """
        out = self.directory.path
        if self.directory.checkpoints.exists():
            raise ConfigError(f"{out} has a trained model; name another --out, or: recsys evaluate {out}")
        with self._computing("baselines"):
            evaluation, chosen = evaluate_baselines(
                self.dataset, self.vectors, self.split, self.config, progress=self.progress
            )
            save_choices(self.directory.baselines, chosen)
        replace_text(self.directory.metrics, evaluation.to_json())
        self._track_evaluation(evaluation)
        return evaluation

    @step("knockouts")
    def knock_out(self, num_users: int | None = None) -> Knockouts:
        """Measure the contribution of each modality to the evaluated model; writes knockouts.json."""
        subject = KnockoutSubject(self.fitted, self.dataset, self.vectors, self.split, self.config)
        num_users = num_users or self.config.evaluate.knockout_users
        with self.directory.timed("knockouts"):
            knockouts = measure_knockouts(
                subject, num_users=num_users, progress=self.progress, kept=self.directory.kept_knockouts
            )
        knockouts.save(self.directory.knockouts)
        shutil.rmtree(self.directory.kept_knockouts, ignore_errors=True)
        self.tracker.log_artifact(self.directory.knockouts)
        return knockouts

    @step("export")
    def export(self) -> Bundle:
        """The bundle, and the histories beside it; by default of a model refitted on all events."""
        final, dataset = self.fitted, self.dataset
        description = f"Fitted on the training events of the split alone. {self.split.description}"
        if self.config.train.refit:
            final, description = self._refit(final)
        builder = final.builder.reading_all_reviews()
        histories = KnownUsers(builder, dataset.histories(builder))
        with self.directory.timed("annotate"):
            reviewers = annotate_reviewers(dataset, self.vectors, self.directory.review_sentiment)
        provenance = Provenance(
            dataset_fingerprint=dataset.fingerprint(),
            refit=self.config.train.refit,
            refit_description=description,
            metrics=self.directory.published_metrics(),
        )
        reviews = dataset.reviews if self.config.train.refit else self.split.reviews
        with self.directory.timed("export"):
            save_histories(histories, self.directory.histories, final.features.item_ids, final.maps)
            key = export_key(final, self.config, provenance, reviewers)
            searchable = Searchable(dataset, final.features, self.vectors, reviews)
            check_on = list(islice(histories.values(), NUM_CHECKED_USERS))
            inputs = (self.directory.bundle, final, dataset, self.config, provenance, check_on)
            bundle = export_once(
                self.directory.bundle,
                self.directory.exported,
                key,
                lambda: export_bundle(
                    *inputs,
                    reviewers=reviewers,
                    searchable=searchable,
                    search_settings=self._search_settings(),
                    progress=self.progress,
                ),
            )
        self.tracker.log_metrics({f"parity/{name}": value for name, value in bundle.manifest.parity.items()})
        self.tracker.log_artifact(bundle.path, "bundle")
        return bundle

    @step("report")
    def report(self) -> Path:
        """Write report.html from the results of earlier steps; a bundle is optional.

        Raises `ConfigError` where the results of a needed step are missing.
        """
        dataset, name = self.dataset, self.dataset_path.resolve().name
        with self.directory.timed("report"):
            content = collect(
                self.directory, dataset, self.config, name=name, fingerprint=dataset.fingerprint()
            )
            path = write_report(content, self.directory.report)
            write_plots(content, self.directory.plots)
        self.tracker.log_artifact(path)
        self.tracker.log_artifact(self.directory.plots, "plots")
        return path

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The lock of the run directory, and a tracked run of that name inside the one of this run."""
        with self.directory.locked(), self._tracker.step(name):
            if not self._are_inputs_tracked:
                log_inputs(self.tracker, self.config, self.dataset, self.dataset_path)
                self._are_inputs_tracked = True
            yield

    def tracked(self) -> AbstractContextManager[None]:
        """Several steps as one run that ends with the last of them."""
        return self._tracker.open()

    @property
    def tracker(self) -> Tracker:
        """That of the step that runs now."""
        return self._tracker.current

    @contextmanager
    def _computing(self, step: str) -> Iterator[None]:
        with self.directory.timed(step), threads(self.config.train.num_threads):
            yield

    def _refit(self, first: Fitted) -> tuple[Fitted, str]:
        choices, folder = FitChoices.of(first), self.directory.parts("refit")
        has_ranker = choices.blend_weight > 0
        split = newest_events_split(self.dataset, self.config, needs_targets=has_ranker, folder=folder)
        fitted = self._fit("refit", "refit", self.config, split=split, choices=choices)
        return fitted, f"{split.description} Towers: {choices.epochs} epochs, as chosen on validation."

    def _systems(self, fitted: Fitted, histories: Mapping[str, History]) -> list[TopK]:
        settings = self.config.evaluate

        def kept(fit: Fitted, full: str, towers: str | None = None) -> list[TopK]:
            """The systems of one fit, whose lists are kept."""
            known = histories if fit is fitted else self.split.before_test(fit.builder)
            key = repr((fit.digest(), self.dataset.fingerprint(), self.split.description, settings))
            systems = full_and_towers(fit, known, full, towers, settings)
            return [KeptLists(each, self.directory.kept_lists, key) for each in systems]

        systems = kept(fitted, MODEL, TOWERS)
        if settings.with_validation:
            joined, choices = self.split.with_validation(), choices_of_towers(fitted)
            both = self._fit(WITH_VALIDATION, "with_validation", self.config, split=joined, choices=choices)
            systems += kept(both, WITH_VALIDATION)
        if settings.id_only or (settings.id_only is None and self.dataset.oracle_files is not None):
            systems += kept(self._fit(ID_ONLY, "id_only", id_only(self.config)), ID_ONLY)
        return systems

    def search_before_test(self, histories: Mapping[str, History] | None = None) -> SearchBeforeTest:
        """Search of the evaluated model; `histories` are those before the test, where they are known."""
        subject = SearchSubject.of(
            self.fitted, self.dataset, self.vectors, self.split, self.config, histories
        )
        return SearchBeforeTest(subject, self.progress, kept=self.directory.search_settings)

    def _search_settings(self) -> SearchSettings | None:
        """The settings that evaluation measures and the bundle serves; None without search."""
        return self.search_before_test().settings if self.config.search.enabled else None

    def _fit(
        self,
        name: str,
        stage: str,
        config: Config,
        *,
        split: Split | None = None,
        choices: FitChoices | None = None,
    ) -> Fitted:
        """Make the inputs, audit and fit them, and write the records of fit and audit."""
        vectors, split, checkpoint = self.vectors, split or self.split, self.directory.checkpoint(stage)
        announce(self.ranks, JointFit(stage, self.dataset_path, self.cache_dir, checkpoint, config, choices))
        with self._computing(f"train {stage}"):
            fitted = fit(
                audit(FitInputs.of(self.dataset, vectors, split, config)),
                choices=choices,
                checkpoint=checkpoint,
                after_towers=self.directory.after_towers(stage),
                ranks=self.ranks,
                progress=lambda step, at, total, note="": self.progress(f"{step} {name}", at, total, note),
                on_epoch=lambda epoch, entry: self.tracker.log_metrics(
                    {f"{stage}/{key}": value for key, value in entry.items()}, step=epoch
                ),
            )
        record_fit(self.directory.fit_records, stage, fitted)
        record_plan(self.directory.sharding_plan, stage, fitted.retriever.sharding_plan)
        record_audit(self.directory.audits, stage, fitted.audit)
        return fitted

    def _track_evaluation(self, evaluation: Evaluation) -> None:
        self.tracker.log_metrics(evaluation.flat())
        self.tracker.log_artifact(self.directory.metrics)
        self.tracker.log_artifact(self.directory.split, "split")
