"""Windows of a backtest: one after the other, filled, and as settings of a run."""

import numpy as np
import pytest

from recsys.config import load_config, microseconds_of
from recsys.errors import ConfigError
from training.backtest.windows import DAY, Window, choose_windows

FIRST = microseconds_of("2024-01-01")
DAYS = FIRST + np.arange(100) * DAY  # an event a day, up to 2024-04-09


def names(windows: list[Window]) -> list[str]:
    return [window.name for window in windows]


def test_the_last_windows_of_so_many_days_end_with_the_last_event() -> None:
    windows = choose_windows(DAYS, 3, days=10)
    assert names(windows) == [
        "2024-03-10T00:00:00.000001",
        "2024-03-20T00:00:00.000001",
        "2024-03-30T00:00:00.000001",
    ]
    assert windows[-1].end == DAYS[-1] + 1
    for window in windows:
        assert window.end - window.start == window.start - window.validation_start == 10 * DAY
    assert [one.end for one in windows[:-1]] == [other.start for other in windows[1:]]


def test_without_a_length_each_window_has_a_tenth_of_the_events() -> None:
    windows = choose_windows(np.random.default_rng(0).permutation(DAYS), 3)
    assert names(windows) == ["2024-03-11", "2024-03-21", "2024-03-31"]
    counts = [((each.start <= DAYS) & (each.end > DAYS)).sum() for each in windows]
    assert counts == [10, 10, 10]


def test_half_of_the_events_are_before_the_first_of_many_windows() -> None:
    windows = choose_windows(DAYS, 10)
    assert (windows[0].start > DAYS).sum() == 50


def test_cut_offs_are_named() -> None:
    windows = choose_windows(DAYS, 3, days=5, cutoffs=["2024-03-10", "2024-02-10T12:00+02:00"])
    assert names(windows) == ["2024-02-10T10:00:00", "2024-03-10"]
    assert windows[1].end == microseconds_of("2024-03-15")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cutoffs": ["2024-03-10"]}, "need the length of a window: --days"),
        ({"cutoffs": ["10.3.2024"], "days": 3}, r"--cutoffs: '10\.3\.2024' is not a time; write 2020-09-23"),
        ({"cutoffs": ["2024-03-10", "2024-03-12"], "days": 3}, "from 2024-03-10 overlaps .* 2024-03-12"),
        ({"cutoffs": ["2024-01-03"], "days": 3}, "no positive event for training, before 2023-12-31; the"),
        ({"cutoffs": ["2024-05-01"], "days": 3}, "no positive event for validation, before 2024-05-01"),
        ({"cutoffs": ["2024-04-10"], "days": 3}, "no positive event for its test, before 2024-04-13"),
        ({"days": 40}, "no positive event for training"),
    ],
)  # fmt: skip
def test_windows_that_cannot_be(asked: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_windows(DAYS, 3, **asked)  # type: ignore[arg-type]


def test_without_events_there_is_no_window() -> None:
    with pytest.raises(ConfigError, match="the dataset has none"):
        choose_windows(np.empty(0, np.int64), 3)


def test_a_window_as_settings() -> None:
    window = choose_windows(DAYS, 1, days=5, cutoffs=["2024-03-10"])[0]
    config = window.config(load_config(overrides=["split.cold_fraction=0.5", "train.epochs=2"]))
    assert config.data.until == "2024-03-15"
    assert config.train.epochs == 2
    split = config.split
    assert (split.protocol, split.validation_start, split.test_start) == (
        "global_temporal", "2024-03-05", "2024-03-10",
    )  # fmt: skip
    assert split.cold_fraction == 0.0
