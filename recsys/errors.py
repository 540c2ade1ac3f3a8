"""One error tree.

    RecsysError
    ├── ConfigError      (also ValueError)  an option is unknown or out of range
    ├── DataError        (also ValueError)  a user's table, row or medium breaks the contract
    │   └── MediumError                     a picture, sound or video cannot be used
    ├── EncoderError                        an encoder directory is missing, altered or unfit
    ├── BundleError                         a bundle is broken, altered or of a newer format
    ├── GateError                           a bundle does not pass the bars of `recsys publish`
    ├── LeakError                           a model could read what is held out from it
    ├── LockedError                         another process is writing the same file or directory
    ├── StateError                          the histories of users cannot be read or written now
    ├── DiskFullError                       a file cannot be written: no space, or a limit of its size
    ├── TrackingError                       MLflow does not answer, or a run in it was deleted
    ├── ProviderError                       a device or execution provider is not available
    ├── RankError                           another process of the same training was lost
    ├── MissingExtraError                   an optional package is not installed
    └── RequestError     (also ValueError)  a query cannot be answered

A message shows the rejected value, its place (file, row, column or key) and the remedy. These errors are for
mistakes of callers; `assert` is for invariants of the code.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

MAX_NAMES_SHOWN = 20
MAX_VALUE_SHOWN = 120


class RecsysError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(RecsysError, ValueError):
    """A configuration value is unknown or out of range."""


class DataError(RecsysError, ValueError):
    """A dataset breaks its contract; `problems` lists every problem that was found."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  - {problem}" for problem in self.problems)]))


class MediumError(DataError):
    """A medium cannot be used. `reason` does not name the medium, so that equal reasons can be counted."""

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class EncoderError(RecsysError):
    """An encoder directory cannot be used."""


class BundleError(RecsysError):
    """A bundle cannot be used."""


class LockedError(RecsysError):
    """Another process is writing the file or directory."""


class GateError(RecsysError):
    """A bundle is not served, because of the bars that the message names."""


class StateError(RecsysError):
    """The state does not answer, or no longer holds the histories that this process opened."""


class DiskFullError(RecsysError):
    """A file cannot be written: the disk is full, or a quota or a limit of the file's size is reached."""

    def __init__(self, path: Path, free_bytes: int) -> None:
        self.path, self.free_bytes = path, free_bytes
        super().__init__(
            f"{path}: cannot be written, the disk is full or a limit is reached ({free_bytes / 1e6:,.1f} MB "
            "free there); the last complete version is kept. Free some space, then run the same command again"
        )


class LeakError(RecsysError):
    """A model could read held-out data, and its metrics would be too high.

    `table` has the leak: a part of the split, a table of the dataset, or an array of the model inputs.
    """

    def __init__(
        self, what: str, *, table: str, remedy: str, user: str | None = None, item: str | None = None
    ) -> None:
        self.table, self.user, self.item = table, user, item
        named = {"user": user, "item": item}
        where = [table, *(f"{name} {value!r}" for name, value in named.items() if value is not None)]
        super().__init__(f"leak: {what} ({', '.join(where)}); {remedy}")


class TrackingError(RecsysError):
    """MLflow does not accept the tracked values of a run."""


class ProviderError(RecsysError):
    """The requested device is not available, and a slower one was not allowed."""


class RankError(RecsysError):
    """Another process of the same training has ended, is silent, or works on something else."""


class MissingExtraError(RecsysError):
    """A package of an optional extra is missing."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'recsys[{extra}]'")


class RequestError(RecsysError, ValueError):
    """A query cannot be answered; `field` is the part of the query with the error."""

    def __init__(self, field: str, message: str, value: object = None) -> None:
        self.field, self.message, self.value = field, message, value
        super().__init__(f"{field}: {message}" if value is None else f"{field} = {value!r}: {message}")


def clipped(text: str) -> str:
    """The text as a message shows it: whole up to 120 characters, else its beginning and its length."""
    if len(text) <= MAX_VALUE_SHOWN:
        return text
    return f"{text[:MAX_VALUE_SHOWN]}… ({len(text):,} characters)"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known name, or the first known ones when none is near."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
    return f"known: {', '.join(names[:MAX_NAMES_SHOWN])}{more}"
