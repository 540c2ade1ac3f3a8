"""The directory of a run: its files, its lock, and the reference to its dataset.

    run/
      config.toml  dataset.json  lock    the configuration, the dataset, and the process that uses the run
      checkpoints/  fit_records.json     models and record of each fit (main, with_validation, id_only, refit)
      sharding_plan.txt                  how several processes divide the learned tables, by stage
      audit.json                         the checks for leaks, by stage
      split/  metrics.json               histories and held-out items, and the results on them
      baselines.json                     the settings chosen for each baseline
      search_settings.json               what validation chose for search, in evaluation and bundle
      predictions.parquet  examples.json every model's lists; example lists of the model with reasons
      knockouts.json                     the contribution of each modality
      ablation/  ablation.json  .md      the contribution of each option
      review_sentiment.json              how well ratings are predicted from reviews
      rejected.csv  timings.json  histories.parquet  report.html
      parts/                             for a streamed log: the part of each event, one byte each, by stage
      plots/                             charts of the report, as SVG
      tracking/                          the journal of tracked values, and how much of it MLflow has
      bundle/  exported.json             the bundle, and the key of its export

A run directory can be moved. `dataset.json` has the path of the dataset relative to the directory, and the
fingerprint that identifies a moved dataset.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from recsys.config import Config, dump_config, flatten, load_config
from recsys.errors import ConfigError
from recsys.files import ProcessLock, remove_unfinished_in, replace_text, replacing, temporary_path

FORMAT = 2  # of the files in a run directory; a directory of another format is an error
# Settings and sections ("track.") that do not affect results; a run continues with other values of them.
CHANGEABLE = ("track.", "publish.", "evaluate.knockouts", "encoders.batch_size")


@dataclass(frozen=True, kw_only=True)
class DatasetReference:
    """The content of dataset.json. Paths are relative to the run directory."""

    format: int
    name: str  # of the dataset's folder
    path: str
    cache: str  # folder of the media vectors
    fingerprint: str | None  # None until the dataset has been read


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = ProcessLock(path / "lock", str(path))
        self.seconds_now: dict[str, float] = {}  # step -> seconds, of the steps that this object timed
        self._is_clean = False  # whether the files of a killed process were removed
        self._made: list[Path] = []  # by `create` for a new run, inner paths first
        self.config_file = path / "config.toml"
        self.dataset_file = path / "dataset.json"
        self.checkpoints = path / "checkpoints"
        self.fit_records = path / "fit_records.json"
        self.sharding_plan = path / "sharding_plan.txt"
        self.audits = path / "audit.json"
        self.kept_lists = self.checkpoints / "lists"  # of an unfinished evaluation
        self.kept_knockouts = self.checkpoints / "knockouts"  # cases of an unfinished measurement
        self.split = path / "split"
        self.metrics = path / "metrics.json"
        self.baselines = path / "baselines.json"
        self.predictions = path / "predictions.parquet"
        self.examples = path / "examples.json"
        self.search_settings = path / "search_settings.json"
        self.knockouts = path / "knockouts.json"
        self.ablation_fits = path / "ablation"
        self.ablation = path / "ablation.json"
        self.ablation_table = path / "ablation.md"
        self.review_sentiment = path / "review_sentiment.json"
        self.rejected = path / "rejected.csv"
        self.rejected_events = path / "rejected_interactions.csv"
        self.timings = path / "timings.json"
        self.histories = path / "histories.parquet"
        self.report = path / "report.html"
        self.tracking = path / "tracking"
        self.plots = path / "plots"
        self.bundle = path / "bundle"
        self.exported = path / "exported.json"

    def checkpoint(self, stage: str) -> Path:
        """Path of the checkpoint of one stage's towers."""
        return self.checkpoints / f"{stage}.pt"

    def after_towers(self, stage: str) -> Path:
        """Directory of the ranker and the other parts of one stage that follow the towers."""
        return self.checkpoints / f"{stage}.after_towers"

    def parts(self, stage: str) -> Path:
        """Folder for the split of a streamed log."""
        return self.path / "parts" / stage

    @classmethod
    def create(cls, path: Path, dataset: Path, config: Config, *, cache_dir: Path) -> "RunDirectory":
        """A new run in `path`, or the existing one of the same dataset and configuration.

        Raises `ConfigError` where `path` holds other files, or a run of another configuration or dataset.
        """
        if path.exists() and not path.is_dir():
            raise ConfigError(f"--out {path} is a file; name a directory")
        is_there = path.exists()
        path.mkdir(parents=True, exist_ok=True)
        directory = cls(path)
        own = (
            directory._lock.lock_file,
            temporary_path(directory.dataset_file),
        )  # of a run killed at its start
        if not directory.dataset_file.exists() and any(each not in own for each in path.iterdir()):
            raise ConfigError(f"{path} is not empty and contains no run; name another --out")
        cache_dir.mkdir(parents=True, exist_ok=True)
        with directory.locked():
            before, is_new = None, not directory.dataset_file.exists()
            if not is_new:
                before = directory.reference()
                directory._check_unchanged(before, dataset, config)
            if before is None or before.fingerprint is None:
                before = DatasetReference(
                    format=FORMAT,
                    name=dataset.resolve().name,
                    path=directory._relative(dataset),
                    cache="",
                    fingerprint=None,
                )
            # Once the dataset has been read, only `check_dataset` changes its path.
            directory._write(replace(before, cache=directory._relative(cache_dir)))
            with replacing(directory.config_file) as temporary:
                dump_config(config, temporary)
            if is_new:
                directory._made = [
                    directory.config_file,
                    directory.dataset_file,
                    *([] if is_there else [path]),
                ]
        return directory

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """The run in `path`. Raises `ConfigError` if there is none, or one of another format."""
        directory = cls(path)
        if not directory.dataset_file.exists():
            raise ConfigError(f"{path} contains no run; make one with: recsys train DATASET --out {path}")
        directory.reference()
        if not directory.config_file.exists():
            raise ConfigError(
                f"the run in {path} was killed at its start; call the command that made it again"
            )
        return directory

    def config(self, settings: Iterable[str] = ()) -> Config:
        """The configuration of the run, but for `settings`, written as `section.field=value`.

        Raises `ConfigError` for a setting that results depend on.
        """
        config = load_config(self.config_file)
        given = load_config(self.config_file, overrides=settings)
        if changes := _changes(config, given):
            raise ConfigError(
                f"{', '.join(changes)} cannot be set for {self.path}: the run was made with another value, "
                "and its results depend on it. Make a new run: "
                "recsys run DATASET --out NEW_DIRECTORY --set ..."
            )
        return given

    def reference(self) -> DatasetReference:
        """The content of dataset.json. Raises `ConfigError` where another version of recsys wrote it."""
        values = json.loads(self.dataset_file.read_text("utf-8"))
        if values.get("format") != FORMAT:
            raise ConfigError(
                f"{self.path} was written by another version of recsys (format {values.get('format', 1)}, "
                f"not {FORMAT}). Train again: recsys run DATASET --out NEW_DIRECTORY"
            )
        return DatasetReference(**values)

    def dataset_path(self) -> Path:
        """The folder of the dataset. Raises `ConfigError` if it is not there."""
        reference = self.reference()
        path = self._resolved(reference.path)
        if not path.is_dir():
            known = f" with fingerprint {reference.fingerprint[:12]}" if reference.fingerprint else ""
            raise ConfigError(
                f"the dataset {reference.name!r} of the run {self.path} is not at {path}; "
                f"name the folder of the dataset{known}: --dataset FOLDER"
            )
        return path

    def cache_dir(self) -> Path | None:
        """The folder of the media vectors, None if it is no longer there."""
        path = self._resolved(self.reference().cache)
        return path if path.is_dir() else None

    def check_dataset(self, dataset: Path, fingerprint: str) -> None:
        """Write the path of the dataset to dataset.json; raises `ConfigError` for another fingerprint."""
        before = self.reference()
        if before.fingerprint is not None and before.fingerprint != fingerprint:
            raise ConfigError(
                f"{self.path} contains a run of the dataset {before.name!r} with fingerprint "
                f"{before.fingerprint[:12]}; {dataset} has the fingerprint {fingerprint[:12]}: it is another "
                f"dataset, or it has changed. Make a new run: "
                f"recsys run {dataset} --out NEW_DIRECTORY; or name the dataset of the run: --dataset FOLDER"
            )
        now = replace(before, path=self._relative(dataset), fingerprint=fingerprint)
        if now != before:
            self._write(now)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the directory; re-entrant. Raises `LockedError` if another process holds it.

        The first time, the unfinished files of a killed process are removed.
        """
        with self._lock.held():
            if not self._is_clean:
                folders = (self.path, self.checkpoints, self.split, self.kept_lists, self.kept_knockouts)
                for folder in folders:
                    remove_unfinished_in(folder)
                self._is_clean = True
            yield

    @contextmanager
    def removed_without_dataset(self) -> Iterator[None]:
        """Context that reads the dataset. An error in it removes the files of a run that `create` made."""
        try:
            yield
        except Exception:
            for path in self._made:
                with suppress(OSError):  # a folder that another process has begun to use
                    path.rmdir() if path == self.path else path.unlink()
            raise

    def published_metrics(self) -> dict[str, object]:
        """The results for the bundle's manifest, without the slices."""
        text = self.metrics.read_text("utf-8") if self.metrics.exists() else "{}"
        metrics: dict[str, object] = json.loads(text)
        metrics.pop("slices", None)
        return metrics

    def seconds(self) -> dict[str, float]:
        """Step -> seconds."""
        if not self.timings.exists():
            return {}
        read: dict[str, float] = json.loads(self.timings.read_text("utf-8"))
        return read

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Write the seconds of `step` to timings.json.

        The maximum over all calls is kept, because a step whose work was done before takes no time.
        """
        start = time.perf_counter()
        yield
        elapsed = time.perf_counter() - start
        self.seconds_now[step] = elapsed
        seconds = self.seconds()
        seconds[step] = max(elapsed, seconds.get(step, 0.0))
        replace_text(self.timings, json.dumps(seconds, indent=2))

    def _check_unchanged(self, before: DatasetReference, dataset: Path, config: Config) -> None:
        # A run killed at its start may have no configuration yet.
        changed = _changes(self.config(), config) if self.config_file.exists() else []
        # A dataset at another path may be the same: `check_dataset` compares fingerprints after reading it.
        if before.fingerprint is None and self._resolved(before.path) != dataset.resolve():
            changed.insert(0, f"dataset {dataset.resolve()}")
        if changed:
            raise ConfigError(
                f"{self.path} contains a run of {before.name} with other settings than "
                f"{', '.join(changed)}; name another --out, or delete the directory"
            )

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path.resolve(), self.path.resolve())

    def _resolved(self, relative: str) -> Path:
        return (self.path / relative).resolve()

    def _write(self, reference: DatasetReference) -> None:
        replace_text(self.dataset_file, json.dumps(asdict(reference), indent=2))


def _changes(before: Config, now: Config) -> list[str]:
    """Settings of `now` that differ from `before`, as "name = value"."""
    old, new = (flatten(each.model_dump(mode="json")) for each in (before, now))
    return [
        f"{name} = {value}"
        for name, value in new.items()
        if value != old.get(name) and not is_changeable(name)
    ]


def is_changeable(name: str) -> bool:
    """Whether a run may go on with another value of the setting `name`."""
    return any(name == each or (each.endswith(".") and name.startswith(each)) for each in CHANGEABLE)
