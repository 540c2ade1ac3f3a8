"""The callback by which a long step reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """Called with the name of the step, the number done, the total, and a short note."""

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None: ...


def silent(step: str, done: int, total: int, note: str = "") -> None:
    """The callback that does nothing."""
