"""Files that appear whole or not at all, and locks between processes."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from recsys.checksums import sync, sync_path
from recsys.errors import DiskFullError, LockedError

_LOCK_ATTEMPTS: Final = 100  # one fails only if another process releases the lock in the same moment
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that write by themselves raise errors of their own; their messages hold the system's text.
_FULL_WORDS: Final = tuple(os.strerror(number).lower() for number in _FULL)
_TEMPORARY: Final = ".tmp"
_FORMER: Final = ".old"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write, which is renamed to `path` at the end, once its content is on the disk.

    After an error `path` is as before and the temporary file is removed. Raises `DiskFullError` where the
    disk is full.
    """
    temporary = temporary_path(path)
    try:
        with disk_full_named(path):
            yield temporary
            sync_path(temporary)
            os.replace(temporary, path)
            sync_path(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def temporary_path(path: Path) -> Path:
    """The temporary path that `replacing` writes."""
    return path.with_name(f"{path.name}{_TEMPORARY}")


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """An empty temporary directory to fill, which is renamed to `path` at the end. Errors as in `replacing`.

    A former directory at `path` is moved aside for the moment of the renaming. A process killed in that
    moment leaves it aside; `remove_unfinished` moves it back.
    """
    temporary, former = _beside(path, _TEMPORARY), _beside(path, _FORMER)
    remove_unfinished(path)
    temporary.mkdir(parents=True)
    try:
        with disk_full_named(path):
            yield temporary
            sync(temporary)
            if path.exists():
                path.rename(former)
            temporary.rename(path)
            sync_path(path.parent)
    except BaseException:
        remove_unfinished(path)
        raise
    shutil.rmtree(former, ignore_errors=True)


def remove_unfinished(path: Path) -> None:
    """Remove what a killed process left of writing `path`; a former directory that was moved aside is back.

    Only for a process that alone writes `path`.
    """
    temporary_path(path).unlink(missing_ok=True)
    shutil.rmtree(_beside(path, _TEMPORARY), ignore_errors=True)
    former = _beside(path, _FORMER)
    if former.exists() and not path.exists():
        former.rename(path)
    shutil.rmtree(former, ignore_errors=True)


def remove_unfinished_in(directory: Path) -> None:
    """`remove_unfinished` for every file and directory that a killed process was writing in `directory`."""
    if not directory.is_dir():
        return
    for found in directory.iterdir():
        if found.name.startswith(".") and found.suffix in (_TEMPORARY, _FORMER):
            remove_unfinished(found.with_name(found.name[1:].removesuffix(found.suffix)))
        elif found.suffix == _TEMPORARY:
            remove_unfinished(found.with_suffix(""))


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """An error of writing `path` to a full disk becomes `DiskFullError` with the file and the free space."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise DiskFullError(path, _free_bytes(path)) from error


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    chain = [error, *(each for each in (error.__cause__, error.__context__) if each is not None)]
    return any(
        (isinstance(each, OSError) and each.errno in _FULL)
        or any(words in str(each).lower() for words in _FULL_WORDS)
        for each in chain
    )


def _free_bytes(path: Path) -> int:
    while not path.exists() and path != path.parent:
        path = path.parent
    with suppress(OSError):
        return shutil.disk_usage(path).free
    return 0


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}{ending}")


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
