"""An ablation as a table in the terminal and as ablation.md, with the same cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from recsys.files import replacing
from recsys.metrics import Estimate
from training.evaluation import markdown_row
from training.experiments.results import Ablation, Row

SELECTION = (
    "Choose options by the validation column, not by the test. Of twenty options without any effect, one has "
    "an interval that does not contain 0, by chance."
)


@dataclass(frozen=True, kw_only=True)
class _Cell:
    text: str
    is_clear: bool = False  # the interval of a change does not contain 0


def main_metrics(ablation: Ablation) -> tuple[str, ...]:
    k = ablation.ks[0]
    return f"ndcg@{k}", f"recall@{k}"


def ablation_table(ablation: Ablation, metric: str, *, intervals: bool = True) -> Table:
    """One row for each option, with its result and its change against the base in each view with users.

    `intervals` adds half the width of the 95% interval of the change.
    """
    table = Table(title=f"Ablation: {metric}", caption="\n".join(notes(ablation, metric)))
    table.caption_justify = "left"
    for at, name in enumerate(_columns(ablation)):
        table.add_column(name, justify="left" if at == 0 else "right", no_wrap=True)
    for row in ablation.rows:
        cells = _cells(ablation, row, metric, _half if intervals else _nothing)
        table.add_row(*(Text(cell.text, style="bold" if cell.is_clear else "") for cell in cells))
    return table


def write_markdown(ablation: Ablation, path: Path, metrics: Sequence[str]) -> None:
    """Write ablation.md: one table for each metric, the settings of each option, and the options left out."""
    lines = ["# Ablation", "", ablation.description, ""]
    for metric in metrics:
        names = [name.replace("\n", " ").strip() for name in _columns(ablation)]
        lines += [
            f"## {metric}",
            "",
            markdown_row(names),
            markdown_row(["---", *["---:"] * (len(names) - 1)]),
        ]
        for row in ablation.rows:
            cells = _cells(ablation, row, metric, _both_ends)
            lines.append(markdown_row([f"**{cell.text}**" if cell.is_clear else cell.text for cell in cells]))
        lines += ["", *notes(ablation, metric), ""]
    lines += ["## Options", "", markdown_row(["option", "settings"]), markdown_row(["---", "---"])]
    lines += [markdown_row([row.name, f"`{_settings(row)}`"]) for row in ablation.rows[1:]]
    lines += ["", *(f"Left out: {name}, because {reason}." for name, reason in ablation.left_out.items())]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", "utf-8")


def notes(ablation: Ablation, metric: str) -> list[str]:
    """The notes below a table of `metric`."""
    num, shown = len(ablation.seeds), _shown(ablation)
    lines = [
        f"{'Towers and ranker' if ablation.is_full_system else 'Towers alone'}, "
        + (f"means over {num} seeds" if num > 1 else "one seed")
        + ". Change: paired difference from the base with its 95% bootstrap interval over users"
        + (", after averaging each user's results over the seeds" if num > 1 else "")
        + "; bold: the interval does not contain 0.",
        SELECTION,
    ]
    if num > 1:
        spread = ", ".join(f"{view} {_spread(ablation.base, view, metric):.4f}" for view in shown)
        lines.append(f"Standard deviation of the base's {metric} over the seeds: {spread}.")
    else:
        lines.append("With one seed a change also contains the effect of the seed.")
    empty = [name for name in ablation.views if name not in shown]
    return [*lines, *([f"No test user in: {', '.join(empty)}."] if empty else [])]


def _columns(ablation: Ablation) -> list[str]:
    views = [
        part
        for name in _shown(ablation)
        for part in (f"{name}\n{ablation.views[name].num_users:,} users", "\nchange")
    ]
    return ["option", "validation\nNDCG@10", *views, "CPU\nseconds"]


def _cells(ablation: Ablation, row: Row, metric: str, interval: Callable[[Estimate], str]) -> list[_Cell]:
    views = [
        cell
        for view in _shown(ablation)
        for cell in (
            _Cell(text=f"{row.views[view][metric].value.value:.4f}"),
            _Cell(text="") if row is ablation.base else _change(row.views[view][metric].change, interval),
        )
    ]
    validation, seconds = row.validation_ndcg, row.cpu_seconds
    return [
        _Cell(text=row.name),
        _Cell(text="–" if validation is None else f"{validation:.4f}"),
        *views,
        _Cell(text="–" if seconds is None else f"{seconds:,.0f}"),
    ]


def _change(change: Estimate, interval: Callable[[Estimate], str]) -> _Cell:
    is_clear = change.low > 0 or change.high < 0
    return _Cell(text=_signed(change.value) + interval(change), is_clear=is_clear)


def _nothing(change: Estimate) -> str:
    return ""


def _half(change: Estimate) -> str:
    return f" ±{(change.high - change.low) / 2:.3f}"


def _both_ends(change: Estimate) -> str:
    return f" [{_signed(change.low)}, {_signed(change.high)}]"


def _signed(value: float) -> str:
    """Four decimals with a sign (U+2212 for minus); a number that rounds to 0 has no sign."""
    text = f"{abs(value):.4f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def _shown(ablation: Ablation) -> list[str]:
    return [name for name, view in ablation.views.items() if view.num_users]


def _spread(row: Row, view: str, metric: str) -> float:
    return float(np.std(row.by_seed[view][metric], ddof=1))


def _settings(row: Row) -> str:
    return " ".join(f"{name}={_toml(value)}" for name, value in row.settings.items())


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
