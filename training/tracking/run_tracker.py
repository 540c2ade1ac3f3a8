"""The tracker of a run directory: journal, system metrics, and delivery to MLflow while steps run."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys.config import TrackConfig
from recsys.errors import ConfigError
from training.tracking.code_version import code_tags
from training.tracking.delivery import RUN_ID_VARIABLE, Delivery
from training.tracking.journal import PARENT, Entry, Journal
from training.tracking.mlflow_calls import load_mlflow
from training.tracking.places import Places
from training.tracking.sender import Sender
from training.tracking.system_metrics import PREFIX, Sampler, SystemMetrics
from training.tracking.tracker import JournalTracker, NullTracker, Tracker

logger = logging.getLogger(__name__)
JOURNAL: Final = "journal.jsonl"
DELIVERED: Final = "delivered.json"
SYSTEM_VARIABLE: Final = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL_VARIABLE: Final = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


class RunTracker:
    """Tracks the run in `directory` under the name `name`; the files of tracking are in `folder`.

    An error of MLflow never ends a step. It causes one warning, and the next step sends the rest.
    """

    def __init__(self, config: TrackConfig, name: str, directory: Path, folder: Path) -> None:
        self._config, self._name, self._directory, self._folder = config, name, directory, folder
        self._journal = Journal(folder / JOURNAL)
        self._tracker: Tracker = NullTracker()
        self._sender: Sender | None = None
        self._sampler: Sampler | None = None
        self._is_open = False
        self._warned: set[str] = set()

    @property
    def current(self) -> Tracker:
        """The tracker of the running step."""
        return self._tracker

    @contextmanager
    def open(self) -> Iterator[None]:
        """Send the journal while the context is open. Re-entrant."""
        if self._is_open or not self._config.enabled:
            yield
            return
        self._is_open = True
        self._start()
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            self._stop(status)
            self._is_open = False

    @contextmanager
    def step(self, name: str) -> Iterator[Tracker]:
        """The tracker of the step `name`, which is a child run."""
        with self.open():
            if not self._is_open:
                yield self._tracker
                return
            outer, start = self._tracker, time.perf_counter()
            self._tracker = tracker = JournalTracker(self._write, name, self._directory)
            self._write(Entry(run=name, kind="start", values={"name": name}))
            status = "FAILED"
            try:
                yield tracker
                status = "FINISHED"
            except KeyboardInterrupt:
                status = "KILLED"
                raise
            finally:
                if self._sampler is not None:
                    self._sampler.sample()
                tracker.log_metrics({f"seconds/{name}": time.perf_counter() - start})
                self._write(Entry(run=name, kind="end", values={"status": status}))
                self._tracker = outer

    def _start(self) -> None:
        self._warned.clear()
        try:
            first = _next_system_step(self._journal)
        except (OSError, ValueError, TypeError, KeyError) as error:  # a damaged journal
            self._warned.add("MLflow")
            self._warn(
                f"the journal {self._journal.path} is damaged, so MLflow does not get the rest of it: {error}"
            )
            first = 0
        self._tracker = JournalTracker(self._write, PARENT, self._directory)
        self._write(Entry(run=PARENT, kind="start", values={"name": self._name}))
        tags = code_tags()
        if RUN_ID_VARIABLE in os.environ:  # `mlflow run` sets these tags
            tags = {name: text for name, text in tags.items() if not name.startswith("mlflow.source.")}
        self._tracker.log_tags(tags)
        self._sender = self._make_sender()
        seconds = _seconds_between_samples(self._config)
        if seconds is not None:
            metrics = SystemMetrics(self._directory)
            self._sampler = Sampler(metrics, self._write_system_metrics, seconds, first)
            self._sampler.start()

    def _stop(self, status: str) -> None:
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        self._write(Entry(run=PARENT, kind="end", values={"status": status}))
        self._tracker = NullTracker()
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _make_sender(self) -> Sender | None:
        try:
            load_mlflow()
            places = Places(self._folder / DELIVERED, self._directory)
            place = places.choose(self._config.uri)
        except Exception as error:
            self._failed(error)
            return None
        delivery = Delivery(self._journal, places, place, experiment=self._config.experiment, warn=self._warn)
        sender = Sender(delivery.send, self._failed)
        sender.start()
        sender.notify()
        return sender

    def _write(self, entry: Entry) -> None:
        try:
            self._journal.append(entry)
        except OSError as error:
            self._warn(f"the journal of the run cannot be written, so nothing is tracked: {error}")
            return
        if self._sender is not None:
            self._sender.notify()

    def _write_system_metrics(self, metrics: Mapping[str, float], number: int) -> None:
        self._tracker.log_metrics(metrics, number)

    def _failed(self, error: Exception) -> None:
        if "MLflow" in self._warned:
            return
        self._warned.add("MLflow")
        logger.warning(
            "MLflow does not have the latest values of the run (%s); the next step sends them, or: "
            "recsys track %s",
            error, self._directory,
        )  # fmt: skip

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The result of `deliver_now`; `run_id` is the parent run."""

    num_entries: int
    place: str
    run_id: str


def deliver_now(
    directory: Path, folder: Path, *, uri: str | None, experiment: str | None, is_copy: bool = False
) -> Sent:
    """Send the entries of a journal that MLflow does not have.

    With `is_copy` later steps do not go on at `uri`, but where the run was tracked before.
    If the run was deleted in MLflow, new runs get the whole journal. Raises `ConfigError` without a journal,
    and `TrackingError` if MLflow does not accept it.
    """
    journal = Journal(folder / JOURNAL)
    if journal.size() == 0:
        raise ConfigError(f"{directory} has nothing to track; with track.enabled = true its next step has")
    places = Places(folder / DELIVERED, directory)
    place = places.choose(uri, is_copy=is_copy)
    warnings: list[str] = []
    delivery = Delivery(journal, places, place, experiment=experiment, warn=warnings.append)
    delivery.forget_lost_runs()
    count = delivery.send()
    for message in dict.fromkeys(warnings):
        logger.warning("%s", message)
    return Sent(num_entries=count, place=place.uri, run_id=place.run_ids[PARENT])


def tracked_run_id(directory: Path, folder: Path, uri: str) -> str | None:
    """The parent run of a run directory at the address `uri`; None if it is not tracked there."""
    return Places(folder / DELIVERED, directory).choose(uri).run_ids.get(PARENT)


def _seconds_between_samples(config: TrackConfig) -> float | None:
    """None if system metrics are off; variables of MLflow have precedence over the configuration."""
    wanted = os.environ.get(SYSTEM_VARIABLE, str(config.system_metrics)).lower() in ("true", "1")
    try:
        seconds = float(os.environ.get(INTERVAL_VARIABLE) or config.system_metrics_seconds)
    except ValueError:
        seconds = config.system_metrics_seconds
    return seconds if wanted else None


def _next_system_step(journal: Journal) -> int:
    """The number of the next sample: a run that is continued does not count from 0 again."""
    steps = [
        entry.values["step"]
        for entry, _ in journal.read()
        if entry.kind == "metrics" and any(name.startswith(PREFIX) for name in entry.values["metrics"])
    ]
    return max(steps, default=-1) + 1
