"""The windows of a backtest.

          training          | validation |   test   |  not read
    ------------------------+------------+----------+-----------
                    validation_start   start       end

Validation is as long as the test, so that settings are chosen on a task like that of the test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from recsys.arrays import Ints
from recsys.config import Config, changed, microseconds_of
from recsys.errors import ConfigError

DAY: Final = 86_400_000_000  # microseconds
SHARE: Final = 0.1  # of the positive events in a window, without a length in days


@dataclass(frozen=True, kw_only=True)
class Window:
    """Times in microseconds since 1970; a start is inside, an end is not."""

    validation_start: int
    start: int
    end: int

    @property
    def name(self) -> str:
        """The start, such as "2020-06-15", with the time of day where it is not midnight."""
        return _iso(self.start)

    def config(self, config: Config) -> Config:
        """`config` for the window: the dataset ends with it, the test starts with it."""
        return changed(
            config,
            {
                "data.until": _iso(self.end),
                "split.protocol": "global_temporal",
                "split.validation_start": _iso(self.validation_start),
                "split.test_start": _iso(self.start),
                "split.cold_fraction": 0.0,  # items without events are in the test as they come
            },
        )


def choose_windows(
    positive_times: Ints, num: int, *, days: float | None = None, cutoffs: Sequence[str] = ()
) -> list[Window]:
    """The windows, the earliest first. `positive_times` are the times of all positive events.

    With `cutoffs`, the starts of the windows, each is `days` long. Else they are the `num` last windows of
    `days` one after the other, or, without `days`, of a tenth of the positive events each. Raises
    `ConfigError` for windows that overlap, or that the data do not fill.
    """
    if cutoffs and days is None:
        raise ConfigError("the cut-offs need the length of a window: --days")
    times = np.sort(positive_times)
    if not len(times):
        raise ConfigError("a backtest needs positive events, and the dataset has none")
    if cutoffs:
        starts = sorted(_cutoff(each) for each in cutoffs)
        spans = [(start, start + round((days or 0) * DAY)) for start in starts]
    elif days is not None:
        end, length = int(times[-1]) + 1, round(days * DAY)
        spans = [(end - at * length, end - (at - 1) * length) for at in range(num, 0, -1)]
    else:
        spans = _quantile_spans(times, num)
    windows = [Window(validation_start=start - (end - start), start=start, end=end) for start, end in spans]
    _check(windows, times)
    return windows


def _quantile_spans(times: Ints, num: int) -> list[tuple[int, int]]:
    share = min(SHARE, 0.5 / num)  # at least half of the events before the first window
    edges = [int(times[int(len(times) * (1 - at * share))]) for at in range(num, 0, -1)]
    edges.append(int(times[-1]) + 1)
    return list(pairwise(edges))


def _check(windows: Sequence[Window], times: Ints) -> None:
    for one, other in pairwise(windows):
        if one.end > other.start:
            raise ConfigError(f"the window from {one.name} overlaps the window from {other.name}")
    for window in windows:
        spans = {
            f"training, before {_iso(window.validation_start)}": (int(times[0]), window.validation_start),
            f"validation, before {_iso(window.start)}": (window.validation_start, window.start),
            f"its test, before {_iso(window.end)}": (window.start, window.end),
        }
        for words, (start, end) in spans.items():
            if not ((times >= start) & (times < end)).any():
                raise ConfigError(
                    f"the window from {window.name} has no positive event for {words}; the events are from "
                    f"{_iso(int(times[0]))} to {_iso(int(times[-1]))}: choose fewer or other windows"
                )


def _cutoff(text: str) -> int:
    try:
        return microseconds_of(text)
    except ValueError as error:
        raise ConfigError(f"--cutoffs: {error}") from None


def _iso(microseconds: int) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    if (time.hour, time.minute, time.second, time.microsecond) == (0, 0, 0, 0):
        return time.date().isoformat()
    return time.replace(tzinfo=None).isoformat()
