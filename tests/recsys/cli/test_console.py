"""Progress in a terminal and in a log."""

import io
import logging

import pytest
from rich.console import Console

from recsys.cli.console import SECONDS_BETWEEN_LINES, ConsoleProgress, in_words, logged_warnings, pairs_table


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("recsys.cli.console.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=120, color_system=None), out


def test_a_log_gets_a_line_now_and_then_and_the_last_one(clock: Clock) -> None:
    to, out = console(terminal=False)
    with ConsoleProgress(to) as progress:
        for done in range(1, 101):
            progress("train", done, 100, f"loss {done}")
            clock.now += SECONDS_BETWEEN_LINES / 30
    assert out.getvalue().splitlines() == [
        "train: 1/100 loss 1",
        "train: 31/100 loss 31",
        "train: 61/100 loss 61",
        "train: 91/100 loss 91",
        "train: 100/100 loss 100",
    ]


def test_each_step_has_its_own_pace(clock: Clock) -> None:
    to, out = console(terminal=False)
    with ConsoleProgress(to) as progress:
        for done in (1, 2):
            progress("image", done, 3_000)
            progress("text", done, 5)
    assert out.getvalue().splitlines() == ["image: 1/3,000", "text: 1/5"]


def test_a_note_may_look_like_markup(clock: Clock) -> None:
    to, out = console(terminal=False)
    ConsoleProgress(to)("train [red]", 1, 1, "[bold]loss[/]")
    assert out.getvalue() == "train [red]: 1/1 [bold]loss[/]\n"


def test_a_terminal_gets_one_bar_a_step() -> None:
    to, out = console(terminal=True)
    with ConsoleProgress(to) as progress:
        for done in range(4):
            progress("images", done, 3)
            progress("texts", done, 50, "nearly")
    last = out.getvalue().split("images")[-1]
    assert "3/3" in last
    assert "3/50" in last
    assert "nearly" in last


def test_a_terminal_is_given_back_after_an_error() -> None:
    to, out = console(terminal=True)

    def work() -> None:
        with ConsoleProgress(to) as progress:
            progress("images", 1, 3)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert out.getvalue().endswith("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "yes"),
        (12345, "12,345"),
        (0.123456, "0.1235"),
        ({"a": 1, "b": 0.5}, "a 1, b 0.5"),
        ([], "none"),
        ([{"a": 1}, {"a": 2}], "a 1; a 2"),
        (None, "None"),
    ],
)
def test_values_in_words(value: object, shown: str) -> None:
    assert in_words(value) == shown


def test_names_and_values_with_brackets_are_shown_as_they_are() -> None:
    to, out = console(terminal=False)
    to.print(pairs_table("[shop]", {"counts": {"[red]": 3, "users": 4}, "name": "a [b]"}))
    said = out.getvalue()
    assert all(text in said for text in ("[shop]", "[red]", "a [b]"))
    assert said.count("counts") == 1


def test_a_logged_warning_is_printed_as_other_warnings() -> None:
    to, out = console(terminal=False)
    handlers = list(logging.getLogger().handlers)
    with logged_warnings(to):
        logging.getLogger("training.tracking").warning("no [b]server[/b]")
        logging.getLogger("training.tracking").info("not shown")
        logging.getLogger("serving").error("broken")
    assert logging.getLogger().handlers == handlers
    assert out.getvalue().splitlines() == ["Warning: no [b]server[/b]", "Error: broken"]
