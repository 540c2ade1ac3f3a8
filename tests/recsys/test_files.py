"""A file appears whole or not at all, and one process at a time writes it."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from recsys.errors import LockedError
from recsys.files import exclusive, replacing


def test_what_was_written_stands_at_the_path_and_nothing_beside_it(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("before", "utf-8")
    with replacing(path) as temporary:
        temporary.write_text("after", "utf-8")
        assert path.read_text("utf-8") == "before"
    assert path.read_text("utf-8") == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there_before(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("before", "utf-8")

    def half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("hal", "utf-8")
            raise ValueError("half written")

    with pytest.raises(ValueError, match="half"):
        half()
    assert path.read_text("utf-8") == "before"


@contextmanager
def another_process_has(path):
    """Another process that holds the lock of `path` until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from recsys.files import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_lock_of_another_process_is_refused_at_once_and_names_it(tmp_path):
    with another_process_has(tmp_path / "out.parquet") as process:
        said = f"in use by process {process.pid} since"
        with pytest.raises(LockedError, match=said), exclusive(tmp_path / "out.parquet"):
            pass
        with exclusive(tmp_path / "other.parquet"):
            pass


def test_the_lock_of_a_dead_process_is_free(tmp_path):
    with another_process_has(tmp_path / "out.parquet"):
        pass
    assert os.listdir(tmp_path) == [".out.parquet.lock"]
    with exclusive(tmp_path / "out.parquet"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), exclusive(tmp_path / "out.parquet"):
        raise RuntimeError
    with exclusive(tmp_path / "out.parquet"):
        pass
