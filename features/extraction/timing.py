"""The time of each step of an extraction, in elapsed seconds and CPU seconds."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from features.dataset import StepTime


class StepClock:
    """Adds up the time of named steps. The time of an inner step is not counted for the outer one."""

    def __init__(self) -> None:
        self._times: dict[str, StepTime] = {}
        self._running: list[str] = []
        self._since = _now()

    @property
    def times(self) -> Mapping[str, StepTime]:
        """The times of all steps that had media."""
        return {name: spent for name, spent in self._times.items() if spent.num_media}

    @contextmanager
    def step(self, name: str, num_media: int = 0) -> Iterator[None]:
        """Add the time of the block, and `num_media`, to the step `name`."""
        self._charge()
        self._running.append(name)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()
        self.count(name, num_media)

    def count(self, name: str, num_media: int) -> None:
        """Add media to a step."""
        before = self._times.get(name, StepTime())
        self._times[name] = before.plus(num_media=num_media)

    def _charge(self) -> None:
        """Add the time since the last call to the innermost running step."""
        now = _now()
        if self._running:
            name = self._running[-1]
            seconds, cpu_seconds = now[0] - self._since[0], now[1] - self._since[1]
            before = self._times.get(name, StepTime())
            self._times[name] = before.plus(seconds=seconds, cpu_seconds=cpu_seconds)
        self._since = now


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
