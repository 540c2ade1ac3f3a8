"""Files that appear whole or not at all, and locks between processes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recsys.errors import DataError

_LOCK_ATTEMPTS: Final = 100  # one fails only if another process releases the lock in the same moment


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write, which is renamed to `path` at the end. After an error it is not renamed."""
    temporary = path.with_name(f"{path.name}.tmp")
    yield temporary
    os.replace(temporary, path)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Only one process at a time writes to `path`; the lock is the hidden file .NAME.lock beside it.

    Raises `DataError` at once where another process has the lock. The lock of a process that died is
    free: the operating system releases it.
    """
    lock_path = path.with_name(f".{path.name}.lock")
    handle = _locked(lock_path, path)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        lock_path.unlink(missing_ok=True)  # while locked, so that no other process's lock is removed
        os.close(handle)


def _locked(lock_path: Path, path: Path) -> int:
    for _ in range(_LOCK_ATTEMPTS):
        handle = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(handle, lock_path):
                return handle
        except BlockingIOError:
            owner = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise DataError(
                f"{path} is being written by another process (process id {owner}); wait for it, or name "
                "another --out"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its owner removed the file between the calls of open and flock
    raise DataError(f"{lock_path} cannot be locked")


def _is_same_file(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
