"""Delivery of a journal to MLflow, as one run with a child run for each step."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from recsys.errors import TrackingError
from training.tracking.journal import PARENT, Entry, Journal
from training.tracking.mlflow_calls import (
    DeletedRunError,
    code_of,
    connect,
    is_busy,
    is_lost,
    is_refused,
    limited,
    message_of,
    safe_name,
)
from training.tracking.places import Place, Places, artifact_location

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_EXPERIMENT: Final = "recsys"
EXPERIMENT_NAME_VARIABLE: Final = "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT_ID_VARIABLE: Final = "MLFLOW_EXPERIMENT_ID"
RUN_ID_VARIABLE: Final = "MLFLOW_RUN_ID"  # `mlflow run` sets it for its command
UPLOADS: Final = ("artifact", "text")
MAX_PARAMS_AT_ONCE: Final = 100  # limits of MLflow's log-batch call
MAX_METRICS_AT_ONCE: Final = 1000
MAX_PARAM_LENGTH: Final = 6000
MAX_TAG_LENGTH: Final = 5000
MAX_DIGEST_LENGTH: Final = 36
SECONDS_BETWEEN_TRIES: Final = (0.1, 0.3, 1.0, 3.0)  # of a SQLite file that another process writes to


class Delivery:
    """Sends the entries of a journal to MLflow at `place`, from the first that is not there.

    `warn` gets a message for every entry that MLflow rejects. Such an entry is skipped.
    """

    def __init__(
        self,
        journal: Journal,
        places: Places,
        place: Place,
        *,
        experiment: str | None,
        warn: Callable[[str], None],
    ) -> None:
        self._journal, self._places, self._place = journal, places, place
        self._experiment, self._warn = experiment, warn
        self._joined = os.environ.get(RUN_ID_VARIABLE)
        self._client: MlflowClient | None = None

    def send(self) -> int:
        """Send all new entries; the number of them. Raises `TrackingError` if MLflow does not accept them."""
        count = 0
        for entries, end in _batches(self._journal.read(self._place.num_bytes)):
            self._send(entries)
            count += len(entries)
            self._place.num_bytes = end
            self._places.save(self._place)
        return count

    def forget_lost_runs(self) -> None:
        """If the parent run was deleted, the next `send` makes new runs and sends the whole journal."""
        if PARENT not in self._place.run_ids:
            return
        try:
            with limited(self._place.uri):
                self._check_alive(self._place.run_ids[PARENT])
        except DeletedRunError:
            self._place.forget()

    def _send(self, entries: list[Entry]) -> None:
        """Send entries of one kind and one step. Sending an entry twice has the effect of sending it once."""
        first = entries[0]
        if first.kind in UPLOADS:
            with limited(self._place.uri):  # the long time limit of an upload is for a server that answers
                self._check_alive(self._run_id(PARENT, first))
        with limited(self._place.uri, is_upload=first.kind in UPLOADS):
            try:
                self._dispatch(entries)
            except Exception as error:
                if first.run in self._place.run_ids and is_lost(error) and self._is_only_the_step(first.run):
                    self._warn(f"the MLflow run of the step {first.run!r} was deleted; a new one replaces it")
                    del self._place.run_ids[first.run]
                    self._dispatch(entries)
                elif is_refused(error) and not is_lost(error):
                    self._warn(
                        f"MLflow rejects {first.kind} of the run, which are skipped: {message_of(error)}"
                    )
                else:
                    raise

    def _dispatch(self, entries: list[Entry]) -> None:
        first = entries[0]
        for seconds in (*SECONDS_BETWEEN_TRIES, None):
            try:
                if first.kind == "metrics":
                    self._send_metrics(entries)
                else:
                    getattr(self, f"_send_{first.kind}")(first)
                return
            except Exception as error:
                if seconds is None or not is_busy(error):
                    raise
                time.sleep(seconds)

    def _send_start(self, entry: Entry) -> None:
        if entry.run != PARENT:
            run_id = self._run_id(entry.run, entry)
        elif PARENT not in self._place.run_ids:
            run_id = self._make_parent(entry)
        else:
            run_id = self._place.run_ids[PARENT]
            if self._joined not in (None, run_id):  # `mlflow run` on a run directory that is tracked already
                self._check_alive(run_id)
                self._open.set_tag(self._joined, "mlflow.parentRunId", run_id)
                self._open.update_run(self._joined, name="mlflow run")
        if run_id != self._joined:
            self._open.update_run(run_id, status="RUNNING")

    def _send_end(self, entry: Entry) -> None:
        run_id = self._run_id(entry.run, entry)
        if run_id != self._joined:  # `mlflow run` ends its run
            self._open.set_terminated(run_id, entry.values["status"], entry.time_ms)

    def _send_tags(self, entry: Entry) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(safe_name(name), str(text)[:MAX_TAG_LENGTH]) for name, text in entry.values.items()]
        self._open.log_batch(self._run_id(PARENT, entry), tags=tags)

    def _send_params(self, entry: Entry) -> None:
        """MLflow does not allow to change a parameter; another value is sent as "recsys.<name>"."""
        from mlflow.entities import Param

        run_id = self._run_id(PARENT, entry)
        held: dict[str, str] = dict(self._open.get_run(run_id).data.params)
        new = []
        for name, value in entry.values.items():
            key, text = safe_name(name), value[:MAX_PARAM_LENGTH]
            if held.get(key, text) != text:
                key = f"recsys.{key}"
            if key not in held:
                new.append(Param(key, text))
        for start in range(0, len(new), MAX_PARAMS_AT_ONCE):
            self._open.log_batch(run_id, params=new[start : start + MAX_PARAMS_AT_ONCE])

    def _send_metrics(self, entries: list[Entry]) -> None:
        """Send metrics to the run of the step and to the parent run."""
        from mlflow.entities import Metric

        metrics = [
            Metric(safe_name(name), value, entry.time_ms, entry.values["step"])
            for entry in entries
            for name, value in entry.values["metrics"].items()
        ]
        for run in dict.fromkeys((entries[0].run, PARENT)):
            run_id = self._run_id(run, entries[0])
            for start in range(0, len(metrics), MAX_METRICS_AT_ONCE):
                self._open.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS_AT_ONCE])

    def _send_artifact(self, entry: Entry) -> None:
        run_id, folder = self._run_id(PARENT, entry), entry.values["folder"]
        path = self._places.run_directory / entry.values["path"]
        if path.is_dir():
            self._open.log_artifacts(run_id, str(path), folder)
        else:
            self._open.log_artifact(run_id, str(path), folder)

    def _send_text(self, entry: Entry) -> None:
        self._open.log_text(self._run_id(PARENT, entry), entry.values["text"], entry.values["name"])

    def _send_dataset(self, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        values = entry.values
        dataset = Dataset(
            name=values["name"],
            digest=values["fingerprint"][:MAX_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": values["source"]}),
            profile=json.dumps(values["profile"]),
        )
        tags = [InputTag("mlflow.data.context", "training"), InputTag("fingerprint", values["fingerprint"])]
        self._open.log_inputs(self._run_id(PARENT, entry), datasets=[DatasetInput(dataset, tags)])

    @property
    def _open(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect(self._places.address(self._place))
        return self._client

    def _run_id(self, run: str, entry: Entry) -> str:
        """The MLflow run of a step; it is created if it does not exist."""
        parent = self._place.run_ids.get(PARENT)
        if parent is None:
            raise TrackingError(f"the journal {self._journal.path} does not start with its run")
        if run not in self._place.run_ids:
            tags = {"mlflow.parentRunId": parent, "recsys.step": run}
            made = self._open.create_run(self._place.experiment_id, entry.time_ms, tags, run)
            self._place.run_ids[run] = made.info.run_id
            self._places.save(self._place)
        return self._place.run_ids[run]

    def _make_parent(self, entry: Entry) -> str:
        name = entry.values["name"]
        if self._joined is not None:
            made = self._open.get_run(self._joined)
            self._open.update_run(self._joined, name=name)
            self._place.experiment_id = made.info.experiment_id
        else:
            self._place.experiment_id = self._experiment_id()
            made = self._open.create_run(self._place.experiment_id, entry.time_ms, run_name=name)
        run_id: str = made.info.run_id
        self._place.run_ids[PARENT] = run_id
        self._places.save(self._place)
        return run_id

    def _experiment_id(self) -> str:
        """The experiment of the configuration, else of MLflow's variables, else the default one."""
        name, given = self._experiment or os.environ.get(EXPERIMENT_NAME_VARIABLE), None
        if name is None:
            given, name = os.environ.get(EXPERIMENT_ID_VARIABLE), DEFAULT_EXPERIMENT
        if given is not None:
            found = self._open.get_experiment(given)
        else:
            found = self._open.get_experiment_by_name(name) or self._make_experiment(name)
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the experiment {found.name!r} was deleted; restore it or name another: track.experiment"
            )
        return str(found.experiment_id)

    def _make_experiment(self, name: str) -> Any:
        try:
            self._open.create_experiment(name, artifact_location=artifact_location(self._place.uri))
        except Exception as error:
            if code_of(error) != "RESOURCE_ALREADY_EXISTS":  # another process has just created it
                raise
        return self._open.get_experiment_by_name(name)

    def _check_alive(self, run_id: str) -> None:
        if self._open.get_run(run_id).info.lifecycle_stage != "active":
            raise DeletedRunError(f"the MLflow run {run_id} was deleted")

    def _is_only_the_step(self, run: str) -> bool:
        """True for a step whose parent run exists. Raises if the parent run does not exist."""
        if run == PARENT:
            return False
        self._check_alive(self._place.run_ids[PARENT])
        return True


def _batches(entries: Iterable[tuple[Entry, int]]) -> Iterator[tuple[list[Entry], int]]:
    """Batches and their end in the journal: successive metrics of one step together, other entries alone."""
    batch: list[Entry] = []
    batch_end = 0
    for entry, end in entries:
        is_metrics = entry.kind == "metrics"
        is_full = len(batch) == MAX_METRICS_AT_ONCE
        if batch and (not is_metrics or entry.run != batch[0].run or is_full):
            yield batch, batch_end
            batch = []
        if is_metrics:
            batch.append(entry)
            batch_end = end
        else:
            yield [entry], end
    if batch:
        yield batch, batch_end
