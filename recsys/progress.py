"""The callback by which a long step reports its progress, and what it does not log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

TRACING_NOTE: Final = "is_fx_tracing will return true"


class Progress(Protocol):
    """Called with the name of the step, the number done, the total, and a short note."""

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None: ...


def silent(step: str, done: int, total: int, note: str = "") -> None:
    """The callback that does nothing."""


@contextmanager
def without_tracing_note() -> Iterator[None]:
    """Context in which torch.fx does not log its note, once in a process, on a call in torch's own code.

    The first TorchRec tensor of a training or the export of a graph causes it.
    """
    logger = logging.getLogger("torch.fx._symbolic_trace")
    is_outer = _is_no_tracing_note not in logger.filters
    logger.addFilter(_is_no_tracing_note)
    try:
        yield
    finally:
        if is_outer:
            logger.removeFilter(_is_no_tracing_note)


def _is_no_tracing_note(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(TRACING_NOTE)
