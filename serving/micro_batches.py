"""`MicroBatches`: requests for lists that are in flight at the same time are computed together.

Nobody waits for company: a request that finds no computation under way begins one at once, and takes along
what is queued by then. The thread of a request computes; there is no further thread.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.history import History
from recsys.retrieval import RuledLists, Rules
from serving.engine import Engine

MAX_BATCH: Final = 32
REASONS_LATE: Final = "time_budget: reasons by attention"
Clock = Callable[[], float]  # seconds


@dataclass(frozen=True, kw_only=True)
class ListRequest:
    """One user's list."""

    engine: Engine
    history: History | None
    k: int
    rules: Rules
    seed: int
    user: str | None = None
    exclude_seen: bool = True
    allowed: Bools | None = None
    diversity: float = 0.0
    explain: bool = False  # by leave-one-out, for the reasons
    deadline: float | None = None  # by the clock; after it the retriever's order is the answer

    def is_like(self, other: "ListRequest") -> bool:
        """Whether both can be computed together."""
        return self is other or (
            self.engine is other.engine
            and self.rules is other.rules
            and self.allowed is None
            and other.allowed is None
            and (self.k, self.exclude_seen, self.diversity) == (other.k, other.exclude_seen, other.diversity)
        )


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One user's list, and what was left out of it for lack of time."""

    ruled: RuledLists
    degraded: tuple[str, ...] = ()


@dataclass(eq=False)
class _Waiting:
    request: ListRequest
    answer: Listed | None = None
    error: BaseException | None = None
    is_done: bool = field(default=False)

    def result(self) -> Listed:
        if self.error is not None:
            raise self.error
        assert self.answer is not None
        return self.answer


class MicroBatches:
    """Computes lists, at most `max_batch` at once, `num_workers` batches at a time.

    `observe` is told the size of each batch. `max_batch` 1: every request alone, all of them at a time.
    """

    def __init__(
        self,
        *,
        max_batch: int = MAX_BATCH,
        num_workers: int = 1,
        clock: Clock = time.perf_counter,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._max_batch, self._clock, self._observe = max_batch, clock, observe
        self._queue: list[_Waiting] = []
        self._free = num_workers
        self._changed = threading.Condition()

    def recommend(self, request: ListRequest) -> Listed:
        """The list of `request`, as `Engine.recommend_by_rules` gives it; raises what that raises."""
        own = _Waiting(request)
        if self._max_batch <= 1:
            self._compute([own])
            return own.result()
        with self._changed:
            self._queue.append(own)
        while (batch := self._taken(own)) is not None:
            try:
                self._compute(batch)
            finally:
                with self._changed:
                    self._free += 1
                    for each in batch:
                        each.is_done = True
                    self._changed.notify_all()
        return own.result()

    def _taken(self, own: _Waiting) -> list[_Waiting] | None:
        """The next batch, once a worker is free; None where `own` was computed by another thread."""
        with self._changed:
            self._changed.wait_for(lambda: own.is_done or (self._free and own in self._queue))
            if own.is_done:
                return None
            first = self._queue[0].request
            batch = [each for each in self._queue if each.request.is_like(first)][: self._max_batch]
            self._queue = [each for each in self._queue if each not in batch]
            self._free -= 1
            return batch

    def _compute(self, batch: Sequence[_Waiting]) -> None:
        """Fill in the answers. An error of several together is that of each alone."""
        self._observe(len(batch))
        try:
            for each, answer in zip(batch, self._lists([each.request for each in batch]), strict=True):
                each.answer = answer
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            else:
                for each in batch:
                    self._compute([each])

    def _lists(self, requests: Sequence[ListRequest]) -> list[Listed]:
        first = requests[0]
        has_deadline = any(each.deadline is not None for each in requests)

        def is_late(rows: Ints) -> Bools:
            return np.array([self._is_over(requests[row]) for row in rows], np.bool_)

        found = first.engine.recommend_by_rules(
            [each.history for each in requests],
            first.k,
            first.rules,
            seeds=[each.seed for each in requests],
            users=[each.user for each in requests],
            exclude_seen=first.exclude_seen,
            allowed=first.allowed,
            diversity=first.diversity,
            is_late=is_late if has_deadline else None,
        )
        return [self._explained(each, found.row(row)) for row, each in enumerate(requests)]

    def _explained(self, request: ListRequest, answer: RuledLists) -> Listed:
        if not request.explain:
            return Listed(ruled=answer)
        if answer.recommendations.history_attention is not None and self._is_over(request):
            return Listed(ruled=answer, degraded=(REASONS_LATE,))
        explained = request.engine.explained(answer.recommendations, request.history)
        return Listed(ruled=replace(answer, recommendations=explained))

    def _is_over(self, request: ListRequest) -> bool:
        """Whether the time of the request has run out."""
        return request.deadline is not None and self._clock() > request.deadline
