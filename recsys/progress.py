"""How a long step says how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with the step's name, what is done of how much, and a short note."""

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None: ...


def silent(step: str, done: int, total: int, note: str = "") -> None:
    """Say nothing."""
