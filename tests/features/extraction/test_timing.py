"""StepClock: the time of an inner step is not counted for the outer one."""

import pytest

from features.dataset.tables import StepTime
from features.extraction import timing
from features.extraction.timing import StepClock


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is set by the test; the CPU time is twice the elapsed time."""
    now = [0.0]
    monkeypatch.setattr(timing, "_now", lambda: (now[0], 2 * now[0]))
    return now


def test_inner_steps_are_taken_out_of_outer_ones(at: list[float]) -> None:
    clock = StepClock()
    at[0] = 5.0  # outside of every step: nobody's
    with clock.step("outer", 3):
        at[0] = 6.0
        with clock.step("inner", 2):
            at[0] = 10.0
        at[0] = 10.5
    with clock.step("outer", 4):
        at[0] = 11.0
    assert clock.times == {
        "outer": StepTime(num_media=7, seconds=2.0, cpu_seconds=4.0),
        "inner": StepTime(num_media=2, seconds=4.0, cpu_seconds=8.0),
    }


def test_a_step_without_media_is_left_out(at: list[float]) -> None:
    clock = StepClock()
    with clock.step("nothing"):
        at[0] = 1.0
    assert clock.times == {}
    clock.count("nothing", 2)
    assert clock.times["nothing"].num_media == 2


def test_a_step_that_fails_is_over(at: list[float]) -> None:
    clock = StepClock()
    with pytest.raises(ValueError, match="no"), clock.step("fails", 1):
        raise ValueError("no")
    at[0] = 9.0
    with clock.step("next", 1):
        pass
    assert clock.times == {"next": StepTime(num_media=1)}
