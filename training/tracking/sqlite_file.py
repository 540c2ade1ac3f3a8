"""The SQLite file of MLflow: made whole or not at all, and the remedy for a damaged one."""

import os
from pathlib import Path
from typing import Final

from recsys.checksums import sync_path
from recsys.files import temporary_path
from training.tracking.places import artifact_location, database_of, uri_of

REMEDY: Final = "delete it (or move it away); then `recsys track RUN` sends everything again"
_SIDE_FILES: Final = ("", "-journal", "-wal", "-shm")
# SQLite's texts for a file whose tables were made or migrated in part, and for one that is no database.
_DAMAGED: Final = (
    "already exists",
    "duplicate column name",
    "no such column",
    "no such table",
    "file is not a database",
    "disk image is malformed",
)


def make_database(uri: str) -> None:
    """Make the SQLite file of `uri` with MLflow's tables, unless it exists.

    MLflow makes the tables in steps that are committed one by one, so they are made in a temporary file,
    which is then renamed. Only for a process that holds the lock of the file.
    """
    database = database_of(uri)
    assert database is not None
    temporary = temporary_path(database)
    _remove(temporary)  # of a killed process
    if database.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    try:
        store = SqlAlchemyStore(uri_of(temporary), artifact_location(uri))
        store.engine.dispose()
        sync_path(temporary)
        _rename(temporary, database)
        sync_path(database.parent)
    finally:
        _remove(temporary)


def damage_in(error: BaseException) -> str | None:
    """The remedy for a SQLite file that is damaged or half migrated, None for any other error."""
    text = str(error)
    if "sqlite3." in text and any(words in text for words in _DAMAGED):
        return f"the file is damaged, or was left half made by a process that was killed: {REMEDY}"
    return None


def _rename(temporary: Path, database: Path) -> None:
    """Rename, but never over a file that a process without the lock (`mlflow server`) has made meanwhile."""
    try:
        os.link(temporary, database)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if database.exists():
            return
        temporary.rename(database)


def _remove(temporary: Path) -> None:
    for ending in _SIDE_FILES:
        temporary.with_name(temporary.name + ending).unlink(missing_ok=True)
