"""Progress and tables in a terminal; plain lines where there is none."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich import progress as bars
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.progress import without_tracing_note

SECONDS_BETWEEN_LINES = 15.0


class ConsoleProgress:
    """A `recsys.progress.Progress`: a bar for each step; where output is no terminal, lines at intervals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, bars.TaskID] = {}
        self._last_line: dict[str, float] = {}
        self._rich: bars.Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._rich = bars.Progress(
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TimeElapsedColumn(),
                bars.TimeRemainingColumn(),
                bars.TextColumn("{task.fields[note]}"),
                console=self._console,
            )
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        if self._rich is None:
            self._line(step, done, total, note)
            return
        if step not in self._bars:
            self._bars[step] = self._rich.add_task(step, total=total, note=note)
        self._rich.update(self._bars[step], completed=done, total=total, note=note)

    def _line(self, step: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if done < total and now - self._last_line.get(step, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            return
        self._last_line[step] = now
        self._console.print(f"{step}: {done:,}/{total:,} {note}".rstrip(), highlight=False, markup=False)


def say(console: Console, text: str) -> None:
    """Print a sentence without line breaks in a path and without markup in a name such as "shop [b]"."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def warn(console: Console, warning: str) -> None:
    console.print(f"Warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)


class _WarningHandler(logging.Handler):
    """Prints the records of all loggers as `warn` does; errors with their traceback."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            warn(self._console, self.format(record))
        else:
            say(self._console, f"{record.levelname.capitalize()}: {self.format(record)}")


@contextmanager
def logged_warnings(console: Console) -> Iterator[None]:
    """Print logged warnings to `console`, without the note of torch.fx.

    Libraries that would set up logging by themselves find it done.
    """
    handler = _WarningHandler(console)
    logging.getLogger().addHandler(handler)
    try:
        with without_tracing_note():
            yield
    finally:
        logging.getLogger().removeHandler(handler)


def pairs_table(title: str, pairs: Mapping[str, Any]) -> Table:
    """Names and values; a nested mapping has one row for each entry."""
    table = Table(title=escape(title), show_header=False)
    for name, value in pairs.items():
        nested = value if isinstance(value, Mapping) else {"": value}
        for at, (key, inner) in enumerate(nested.items()):
            table.add_row(escape(name) if at == 0 else "", escape(str(key)), escape(in_words(inner)))
    return table


def in_words(value: Any) -> str:
    """A value as text: numbers with separators, lists and mappings flattened, yes and no."""
    match value:
        case dict():
            return ", ".join(f"{name} {in_words(inner)}" for name, inner in value.items())
        case list() | tuple():
            return "; ".join(map(in_words, value)) or "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
    return str(value)


def reasons_table(entries: Iterable[Mapping[str, Any]]) -> Table:
    """The rejected values, as `features.dataset.rejected.count_reasons` counts them."""
    table = Table("count", "column", "reason", "for example", title="Rejected")
    for entry in entries:
        example = entry["example"]
        place = f"{example['path']}, row {example['row']}: {example['value']!r}"
        where = f"{entry['table']}.{entry['column']}"
        table.add_row(f"{entry['count']:,}", *map(escape, (where, entry["reason"], place)))
    return table


def print_reasons(console: Console, entries: Sequence[Mapping[str, Any]]) -> None:
    """Print `reasons_table`, unless nothing was rejected."""
    if entries:
        console.print(reasons_table(entries))


def print_dataset(console: Console, report: Any) -> None:
    """A `features.event_log.report.DatasetReport`."""
    console.print(pairs_table(report.name, report.summary))
    print_reasons(console, report.reasons)
    for warning in report.warnings:
        warn(console, warning)
    for message in report.messages:
        say(console, message)


def print_times(console: Console, times: Mapping[str, Any]) -> None:
    """`features.dataset.tables.StepTime` of each step; CPU seconds are of all cores together."""
    table = Table("step", "media", "seconds", "CPU seconds", "media a second", title="Time")
    for name, spent in times.items():
        rates = (spent.seconds, spent.cpu_seconds, spent.num_media / max(spent.seconds, 1e-9))
        table.add_row(name, f"{spent.num_media:,}", *(f"{rate:,.1f}" for rate in rates))
    console.print(table)
