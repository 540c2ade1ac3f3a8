"""A file appears whole or not at all, and one process at a time writes it."""

import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest

from recsys.errors import DiskFullError, LockedError
from recsys.files import exclusive, remove_unfinished_in, replacing, replacing_directory


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


@contextmanager
def files_of_at_most(num_bytes):
    """The system refuses to write longer files, as it refuses any writing to a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_version_and_names_the_file_and_the_space(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("before", "utf-8")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"x" * 5000)

    with files_of_at_most(1000), pytest.raises(DiskFullError, match=r"figures\.json: .*MB free") as raised:
        write()
    assert path.read_text("utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]
    assert raised.value.free_bytes > 0
    write()
    assert path.stat().st_size == 5000


def test_a_full_disk_is_recognised_in_the_errors_of_polars_and_torch(tmp_path):
    import torch

    def as_parquet(temporary):
        pl.DataFrame({"a": np.random.default_rng(0).random(5000)}).write_parquet(temporary)

    def as_checkpoint(temporary):
        with temporary.open("wb") as file:
            torch.save(torch.rand(5000), file)

    for write in (as_parquet, as_checkpoint):
        with files_of_at_most(1000), pytest.raises(DiskFullError), replacing(tmp_path / "a") as temporary:
            write(temporary)
    assert list(tmp_path.iterdir()) == []


# In a namespace of its own the program may mount a disk of one megabyte; it fills it and prints the error.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
exec "$2" -c '
import sys
from pathlib import Path
from recsys.files import replacing
path = Path(sys.argv[1]) / "main.pt"
path.write_bytes(b"last good")
try:
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(2_000_000))
except Exception as error:
    print(type(error).__name__, error)
print([each.name for each in path.parent.iterdir()], path.read_bytes())
' "$1"
"""


@pytest.mark.slow
def test_on_a_disk_that_is_really_full(tmp_path):
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"]
    try:
        done = subprocess.run([*command, tmp_path, sys.executable], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr}")
    assert "DiskFullError" in done.stdout
    assert f"{tmp_path / 'main.pt'}: cannot be written" in done.stdout
    assert "['main.pt'] b'last good'" in done.stdout


def test_a_directory_appears_whole_and_replaces_the_former_one(tmp_path):
    path = tmp_path / "parts"
    for content in ("first", "second"):
        with replacing_directory(path) as draft:
            (draft / content).write_text(content, "utf-8")
            assert not (path / content).exists()
        assert [each.name for each in path.iterdir()] == [content]
    with pytest.raises(RuntimeError), replacing_directory(path) as draft:
        raise RuntimeError
    assert [each.name for each in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moment", ["filling", "first renaming", "second renaming"])
def test_leftovers_of_a_killed_process_are_removed_and_the_former_directory_is_back(tmp_path, moment):
    former, path = tmp_path / ".parts.old", tmp_path / "parts"
    (tmp_path / ".parts.tmp").mkdir()
    (tmp_path / "table.parquet.tmp").write_text("half", "utf-8")
    (former if moment == "second renaming" else path).mkdir()
    if moment == "first renaming":
        former.mkdir()
    remove_unfinished_in(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
