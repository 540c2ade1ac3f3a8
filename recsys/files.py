"""Files that appear whole or not at all, and locks between processes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from recsys.errors import LockedError

_LOCK_ATTEMPTS: Final = 100  # one fails only if another process releases the lock in the same moment


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write, which is renamed to `path` at the end. After an error it is not renamed."""
    temporary = path.with_name(f"{path.name}.tmp")
    yield temporary
    os.replace(temporary, path)


@contextmanager
def exclusive(
    path: Path,
    *,
    wait: bool = False,
    what: str | None = None,
    remedy: str = "wait until it has ended, or name another --out",
) -> Iterator[None]:
    """Only one process at a time writes to `path`; the lock is the hidden file .NAME.lock beside it.

    See `ProcessLock`.
    """
    lock_file = path.with_name(f".{path.name}.lock")
    with ProcessLock(lock_file, what or str(path), remedy).held(wait=wait):
        yield


class ProcessLock:
    """A lock between processes: the file `lock_file`, which exists while the lock is held, names its owner.

    `what` and `remedy` are words of the error: the locked thing, and the advice for another process.
    The lock of a process that died is free: the operating system releases it.
    """

    def __init__(
        self,
        lock_file: Path,
        what: str,
        remedy: str = "wait until it has ended, or name another --out",
    ) -> None:
        self.lock_file, self.what, self.remedy = lock_file, what, remedy
        self._is_held = False

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the lock. Re-entrant: inside of it, the same object gets it again.

        Where another process (or another object) has it, wait, or without `wait` raise `LockedError`.
        """
        if self._is_held:
            yield
            return
        handle = self._acquire(wait)
        try:
            os.ftruncate(handle, 0)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            os.write(handle, f"process {os.getpid()} since {since}\n".encode())
            self._is_held = True
            yield
        finally:
            self._is_held = False
            self.lock_file.unlink(missing_ok=True)  # while locked, so that it is surely this process's
            os.close(handle)

    def _acquire(self, wait: bool) -> int:
        """The open lock file. A former owner may remove the file between opening and locking it."""
        for _ in range(_LOCK_ATTEMPTS):
            handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if _is_same_file(handle, self.lock_file):
                    return handle
            except BlockingIOError:
                owner = os.read(handle, 100).decode("utf-8", "replace").strip() or "another process"
                os.close(handle)
                raise LockedError(f"{self.what} is in use by {owner}; {self.remedy}") from None
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        raise LockedError(f"{self.lock_file} cannot be locked")


def _is_same_file(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
