"""Calls of MLflow with a time limit, and the meaning of their errors.

Only this package imports `mlflow`, and only when something is sent: the import takes seconds.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import MissingExtraError, RecsysError, TrackingError
from recsys.files import exclusive
from training.tracking.places import SQLITE, database_of, without_password
from training.tracking.sqlite_file import damage_in, make_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

# By default MLflow waits 120 seconds for an answer and repeats the call seven times. With these settings a
# server that does not answer costs 8 seconds. Variables that the user has set have precedence.
HTTP_LIMITS: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
# A server answers when it has passed the file on to its own storage.
UPLOAD_LIMITS: Final = HTTP_LIMITS | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
LOGGERS: Final = ("mlflow", "alembic", "urllib3")  # they print tracebacks and every retry
_REFUSED: Final = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
_RETRIED: Final = (401, 403, 404, 408, 429)  # HTTP statuses of an upload that may succeed later
# Parts of the messages of urllib3, which have hundreds of characters, and their meaning.
_UNREACHABLE: Final = {
    "Connection refused": "connection refused",
    "timed out": "no answer in time",
    "too many 5": "the server answers with an error",
    "NameResolutionError": "the name of the server is unknown",
    "unreachable": "the network is unreachable",
    "No route to host": "no route to the server",
    "CERTIFICATE_VERIFY_FAILED": "the certificate of the server is not accepted",
    "SSLError": "no TLS connection",
    "Connection aborted": "the server closes the connection",
    "Connection reset": "the server closes the connection",
}


class DeletedRunError(TrackingError):
    """A run was deleted in MLflow."""


def connect(uri: str) -> "MlflowClient":
    """A client of the server or SQLite file at `uri`. Creates the file and its tables if they are missing.

    Raises `TrackingError` if the file cannot be opened, `MissingExtraError` if mlflow is not installed.
    """
    load_mlflow()
    from mlflow import MlflowClient

    database = database_of(uri)
    if database is None:
        with limited(uri):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
    # Two processes that create the tables of a SQLite file at the same time both fail.
    with limited(uri):
        database.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(database, wait=True):
            make_database(uri)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)  # opens the file
    _remove_stray_folder(uri)
    return client


def load_mlflow() -> None:
    """Import mlflow. Raises `MissingExtraError` if it is not installed."""
    # Otherwise the import of mlflow contacts a telemetry server.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow.entities  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("mlflow", "train") from None


@contextmanager
def limited(uri: str, *, is_upload: bool = False) -> Iterator[None]:
    """Calls in it have a time limit and print nothing; errors become `TrackingError` or `DeletedRunError`."""
    try:
        with _http_limits(UPLOAD_LIMITS if is_upload else HTTP_LIMITS), _silent():
            yield
    except RecsysError:
        raise
    except Exception as error:
        kind = DeletedRunError if is_lost(error) else TrackingError
        raise kind(f"{without_password(uri)}: {damage_in(error) or message_of(error)}") from error


def is_lost(error: Exception) -> bool:
    """Whether MLflow does not have the run, or has it as deleted."""
    return (
        isinstance(error, DeletedRunError)
        or code_of(error) == "RESOURCE_DOES_NOT_EXIST"
        or "must be in the 'active' state" in str(error)
    )


def is_refused(error: Exception) -> bool:
    """Whether MLflow rejected the content of a call, so that repeating the call cannot help."""
    response = getattr(error, "response", None)  # of an upload
    status = getattr(response, "status_code", 0)
    return (
        code_of(error) in _REFUSED
        or (400 <= status < 500 and status not in _RETRIED)
        or isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError)
    )


def is_busy(error: Exception) -> bool:
    """Whether another process is writing to the SQLite file."""
    return code_of(error) == "TEMPORARILY_UNAVAILABLE" and "locked" in str(error)


def code_of(error: Exception) -> str:
    return str(getattr(error, "error_code", ""))


def message_of(error: Exception) -> str:
    """The first line of MLflow's message without passwords; for a server that is not there, a few words."""
    text = str(getattr(error, "message", error)).strip() or type(error).__name__
    if text.startswith("API request to") or "ConnectionPool(" in text:
        status = re.search(r"failed with error code (\d+)", text)
        if status is not None:
            return f"the server answers with HTTP status {status[1]}"
        return next((words for part, words in _UNREACHABLE.items() if part in text), "no connection")
    return re.sub(r"//[^/\s@]+@", "//", text.splitlines()[0])[:300]


def safe_name(name: str) -> str:
    """`name` without characters that MLflow refuses: "ndcg@10" becomes "ndcg_at_10"."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))


def _remove_stray_folder(uri: str) -> None:
    """Remove a folder that MLflow creates because it does not decode "%3F" in an address."""
    database, named = database_of(uri), Path(uri.removeprefix(SQLITE).partition("?")[0])
    if database is None or named == database:
        return
    with suppress(OSError):
        for folder in named.parents:
            folder.rmdir()  # fails for a folder that is not empty


@contextmanager
def _http_limits(settings: dict[str, str]) -> Iterator[None]:
    """MLflow reads these settings from the environment at every call."""
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
