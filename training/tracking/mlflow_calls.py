"""Calls of MLflow that end soon, and what their errors mean. With delivery.py the home of `mlflow`."""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import DataError, MissingExtraError, RecsysError
from recsys.files import exclusive
from training.tracking.places import SQLITE, database_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults wait two minutes a call and repeat it seven times. With these an answer that does not
# come costs 8 seconds. Variables that the user has set win.
PATIENCE: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
UPLOAD_PATIENCE: Final = PATIENCE | {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"
}  # a server may pass a file on first
LOGGERS: Final = ("mlflow", "alembic", "urllib3")  # print tracebacks and every retry
SECONDS_TO_OPEN_A_DATABASE: Final = 60.0  # while another process makes its tables
_REFUSED: Final = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
_LATER: Final = (401, 403, 404, 408, 429)  # of HTTP; an upload with another 4xx is refused for good


class Unavailable(RecsysError):
    """MLflow takes nothing now."""


class Lost(Unavailable):
    """A run of MLflow was deleted."""


def connect(uri: str) -> "MlflowClient":
    """A client of the server or SQLite file at `uri`; makes the tables of a new file.

    Raises `Unavailable` where it cannot be opened, `MissingExtraError` without mlflow.
    """
    load_mlflow()
    from mlflow import MlflowClient

    with answered(uri), _one_process_at_a_time(database_of(uri)):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if database_of(uri) is not None:
            client.get_experiment("0")  # makes the tables
            _remove_stray_folder(uri)
    return client


def load_mlflow() -> None:
    """Import mlflow. Raises `MissingExtraError` where it is not installed."""
    # mlflow asks a server of its own for settings as it is imported; a run sends no telemetry.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow.entities  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("mlflow", "train") from None


@contextmanager
def answered(uri: str, *, is_upload: bool = False) -> Iterator[None]:
    """Calls that end soon and print nothing. Their errors are raised as `Unavailable` or `Lost`."""
    try:
        with _patient(UPLOAD_PATIENCE if is_upload else PATIENCE), _silent():
            yield
    except RecsysError:
        raise
    except Exception as error:
        kind = Lost if is_lost(error) else Unavailable
        raise kind(f"{uri}: {message_of(error)}") from error


def is_lost(error: Exception) -> bool:
    """Whether MLflow has no such run, or has it among the deleted ones."""
    return (
        isinstance(error, Lost)
        or code_of(error) == "RESOURCE_DOES_NOT_EXIST"
        or "must be in the 'active' state" in str(error)
    )


def is_refused(error: Exception) -> bool:
    """Whether MLflow answered, and would refuse the same again."""
    response = getattr(error, "response", None)  # of an upload
    status = getattr(response, "status_code", 0)
    return (
        code_of(error) in _REFUSED
        or (400 <= status < 500 and status not in _LATER)
        or isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError)
    )


def is_busy(error: Exception) -> bool:
    """Whether another process writes to the same SQLite file."""
    return code_of(error) == "TEMPORARILY_UNAVAILABLE" and "locked" in str(error)


def code_of(error: Exception) -> str:
    return str(getattr(error, "error_code", ""))


def message_of(error: Exception) -> str:
    """The first line of what MLflow says, which may go on for pages."""
    return (str(getattr(error, "message", error)).strip() or type(error).__name__).splitlines()[0][:300]


def safe_name(name: str) -> str:
    """`name` with what MLflow refuses in one written out: "ndcg@10" is "ndcg_at_10"."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))


def _remove_stray_folder(uri: str) -> None:
    """MLflow makes the folder of a SQLite file under the name that it has in the address, "%3F" for "?"."""
    database, named = database_of(uri), Path(uri.removeprefix(SQLITE).partition("?")[0])
    if database is None or named == database:
        return
    with suppress(OSError):
        for folder in named.parents:
            folder.rmdir()  # not one with anything in it


@contextmanager
def _patient(settings: dict[str, str]) -> Iterator[None]:
    """MLflow reads its timeouts from the environment at every call."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _silent() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextmanager
def _one_process_at_a_time(database: Path | None) -> Iterator[None]:
    """Two processes that made the tables of one SQLite file at the same time would both fail."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + SECONDS_TO_OPEN_A_DATABASE
    while True:
        try:
            lock = exclusive(database)
            lock.__enter__()
            break
        except DataError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)
