"""The SQLite file of MLflow after a kill while it was made, and a damaged one."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tracking_parts import TrackedRun, take_steps

from recsys.errors import TrackingError
from training.tracking import connect, deliver_now
from training.tracking.sqlite_file import damage_in, make_database

REMEDY = r"delete it \(or move it away\); then `recsys track RUN` sends everything again"


@pytest.mark.long
def test_a_kill_while_the_file_is_made_leaves_none(tmp_path: Path) -> None:
    database, aside = tmp_path / "mlflow.db", tmp_path / "mlflow.db.tmp"
    code = f"from training.tracking import connect; connect('sqlite:///{database}')"
    process = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 60
    while time.monotonic() < until and not (aside.exists() and aside.stat().st_size):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert aside.exists(), "killed in the middle"
    assert not database.exists()
    client = connect(f"sqlite:///{database}")
    assert [each.name for each in client.search_experiments()] == ["Default"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db"]


def test_a_file_that_is_there_is_kept_and_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_text("a user's")
    for name in ("mlflow.db.tmp", "mlflow.db.tmp-journal"):
        (tmp_path / name).write_text("half")
    make_database(f"sqlite:///{database}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a user's"]


def test_a_half_migrated_file_is_named_with_the_remedy(
    run: TrackedRun, caplog: pytest.LogCaptureFixture
) -> None:
    run.path.mkdir(parents=True)
    database = run.path.parent / "mlflow.db"
    with sqlite3.connect(database) as opened:  # tables without the version that Alembic keeps
        opened.execute("create table metrics (key text, step integer, is_nan boolean)")
    opened.close()
    take_steps(run, None)
    (warning,) = [each.getMessage() for each in caplog.records if each.name.startswith("training")]
    assert f"{database}: the file is damaged, or was left half made" in warning
    with pytest.raises(TrackingError, match=REMEDY):
        deliver_now(run.path, run.folder, uri=None, experiment=None)


def test_a_file_that_is_no_database_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database " * 100)
    with pytest.raises(TrackingError, match=rf"mlflow\.db: .*{REMEDY}"):
        connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert (tmp_path / "mlflow.db").read_text().startswith("no database")


def test_other_errors_have_no_such_remedy() -> None:
    assert damage_in(RuntimeError("(sqlite3.OperationalError) database is locked")) is None
    assert damage_in(RuntimeError("Experiment(name=x) already exists")) is None
    assert damage_in(RuntimeError("(sqlite3.OperationalError) table _alembic_tmp_jobs already exists"))
