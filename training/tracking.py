"""Tracking of a run's settings, metrics and files in MLflow, or nowhere. Only this module imports `mlflow`.

The import takes seconds, so it happens when an `MlflowTracker` is entered.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from recsys.config import TrackConfig
from recsys.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
ARTIFACT_FOLDER = "mlartifacts"  # beside the SQLite file
# Environment variables that `mlflow run` sets for its command.
RUN_ID_VARIABLE = "MLFLOW_RUN_ID"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
_MAX_PARAMS_AT_ONCE = 100  # limits of MLflow's log-batch call
_MAX_METRICS_AT_ONCE = 1000
_MAX_PARAM_LENGTH = 6000


class Tracker(Protocol):
    """One tracked run, open inside `with`. Names may contain any character."""

    @property
    def run_id(self) -> str | None:
        """The id with which `make_tracker` continues this run; None where nothing is tracked."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def log_params(self, params: Mapping[str, object]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store the file or the directory at `path`."""
        ...

    def log_text(self, text: str, name: str) -> None:
        """Store `text` as the file `name`, which may contain folders."""
        ...


class NullTracker:
    """A tracker that stores nothing."""

    run_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def log_params(self, params: Mapping[str, object]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...

    def log_text(self, text: str, name: str) -> None: ...


class MlflowTracker:
    """A run of an MLflow server, or of a local SQLite file with artifacts beside it.

    Inside `mlflow run` it uses the run that MLflow made, and MLflow ends it. Otherwise it continues `run_id`
    or makes a new run, which ends as FINISHED, FAILED, or KILLED (Ctrl-C).
    """

    def __init__(self, uri: str | None, experiment: str, run_name: str, *, run_id: str | None = None) -> None:
        self._uri = uri or os.environ.get(URI_VARIABLE) or DEFAULT_URI
        self._experiment = experiment
        self._run_name = run_name
        joined = os.environ.get(RUN_ID_VARIABLE)
        self._owns_run = joined is None
        self.run_id = joined or run_id
        self._client: MlflowClient | None = None

    def __enter__(self) -> Self:
        client = self._client = _connect(self._uri)
        with _quiet(), _explained(self._uri):
            if self.run_id is not None:
                client.get_run(self.run_id)
                if self._owns_run:
                    client.update_run(self.run_id, status="RUNNING")
                return self
            experiment = client.get_experiment_by_name(self._experiment)
            id_ = experiment.experiment_id if experiment else self._create_experiment(client)
            self.run_id = client.create_run(id_, run_name=self._run_name).info.run_id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, run_id = self._open()
        if self._owns_run:
            stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
            status = "FINISHED" if kind is None else "KILLED" if stopped else "FAILED"
            with _quiet():
                client.set_terminated(run_id, status)
        self._client = None

    def log_params(self, params: Mapping[str, object]) -> None:
        """Store `params`. MLflow does not allow to change the value of a parameter.

        A parameter that the run already has with another value, for example from the command line of
        `mlflow run`, is stored as "recsys.<name>".
        """
        client, run_id = self._open()
        from mlflow.entities import Param

        with _quiet():
            held: Mapping[str, str] = client.get_run(run_id).data.params
            entries = []
            for name, value in params.items():
                key, text = _safe(name), str(value)[:_MAX_PARAM_LENGTH]
                if key in held and held[key] != text:
                    key = f"recsys.{key}"
                entries.append(Param(key, text))
            for start in range(0, len(entries), _MAX_PARAMS_AT_ONCE):
                client.log_batch(run_id, params=entries[start : start + _MAX_PARAMS_AT_ONCE])

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        client, run_id = self._open()
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now_ms = get_current_time_millis()
        entries = [Metric(_safe(name), float(value), now_ms, step or 0) for name, value in metrics.items()]
        with _quiet():
            for start in range(0, len(entries), _MAX_METRICS_AT_ONCE):
                client.log_batch(run_id, metrics=entries[start : start + _MAX_METRICS_AT_ONCE])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        client, run_id = self._open()
        with _quiet():
            if path.is_dir():
                client.log_artifacts(run_id, str(path), folder)
            else:
                client.log_artifact(run_id, str(path), folder)

    def log_text(self, text: str, name: str) -> None:
        client, run_id = self._open()
        with _quiet():
            client.log_text(run_id, text, name)

    def _open(self) -> tuple["MlflowClient", str]:
        assert self._client is not None, "a tracker is used inside `with`"
        assert self.run_id is not None
        return self._client, self.run_id

    def _create_experiment(self, client: "MlflowClient") -> str:
        location = None  # a server has its own location of artifacts
        if self._uri.startswith("sqlite:///"):
            database = Path(self._uri.removeprefix("sqlite:///")).resolve()
            location = (database.parent / ARTIFACT_FOLDER).as_uri()
        created: str = client.create_experiment(self._experiment, artifact_location=location)
        return created


def make_tracker(config: TrackConfig, run_name: str, *, run_id: str | None = None) -> Tracker:
    """The tracker of `config`; with `run_id` it continues that run."""
    if not config.enabled:
        return NullTracker()
    return MlflowTracker(config.uri, config.experiment, run_name, run_id=run_id)


class RunTracker:
    """One tracked run for all steps of a run directory; `id_file` has its id."""

    def __init__(self, config: TrackConfig, run_name: str, id_file: Path) -> None:
        self._config, self._run_name, self._id_file = config, run_name, id_file
        self._active: Tracker | None = None

    @contextmanager
    def active(self) -> Iterator[Tracker]:
        """The open tracker. Reentrant."""
        if self._active is not None:
            yield self._active
            return
        run_id = self._id_file.read_text("utf-8").strip() if self._id_file.exists() else None
        with make_tracker(self._config, self._run_name, run_id=run_id) as tracker:
            if tracker.run_id is not None:
                self._id_file.write_text(tracker.run_id, "utf-8")
            self._active = tracker
            try:
                yield tracker
            finally:
                self._active = None


def _connect(uri: str) -> "MlflowClient":
    # Otherwise the import of mlflow contacts a telemetry server.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).resolve().parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError:
            raise MissingExtraError("mlflow", "train") from None
        with _explained(uri):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ConfigError(
            f"MLflow cannot open the run at {uri!r}: {error.message}\n"
            f"The address is track.uri, else the variable {URI_VARIABLE}, else {DEFAULT_URI!r}; "
            f"a run to join is named by {RUN_ID_VARIABLE}. Without tracking: --set track.enabled=false"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore the warning about a deprecated option of SQLAlchemy that mlflow itself uses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The ``noload`` loader strategy is deprecated")
        yield


def _safe(name: str) -> str:
    """`name` without characters that MLflow refuses: "ndcg@10" becomes "ndcg_at_10"."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))
