"""Decoding ahead of use, in a few threads, with a bounded number of results in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

from recsys.errors import DataError, MediumError

Source = TypeVar("Source")
Result = TypeVar("Result")


class Decoded(Generic[Source, Result]):
    """A source with its result, or with the reason of the failure."""

    def __init__(self, source: Source, result: Result | None, reason: str | None) -> None:
        self.source = source
        self.result = result
        self.reason = reason


def prefetch(
    sources: Iterable[Source], load: Callable[[Source], Result], *, num_threads: int = 2, ahead: int = 64
) -> Iterator[Decoded[Source, Result]]:
    """`load` of each source, in order; at most `ahead` results wait in memory.

    A `DataError` or OSError of one source becomes its reason; any other error is raised.
    """

    def attempt(source: Source) -> Decoded[Source, Result]:
        try:
            return Decoded(source, load(source), None)
        except (DataError, OSError) as error:
            return Decoded(source, None, _reason(error))

    remaining = iter(sources)
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
    waiting: deque[Future[Decoded[Source, Result]]] = deque()
    try:
        waiting.extend(pool.submit(attempt, source) for source in islice(remaining, ahead))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(attempt, source) for source in islice(remaining, 1))
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _reason(error: DataError | OSError) -> str:
    """The message in one line, without the name of the medium."""
    if isinstance(error, MediumError):
        return error.reason
    words = error.strerror if isinstance(error, OSError) else None
    return " ".join((words or str(error)).split())
