"""An `Evaluation` as tables for the terminal, and as a data frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import polars as pl
from rich.table import Table
from rich.text import Text

from recsys.errors import ConfigError, did_you_mean
from recsys.metrics import BEYOND, METRICS
from training.evaluation.results import Evaluation, ViewResult

# The lower and the upper end of the scale; they are not competitors.
REFERENCES = {"random": "chance", "oracle": "oracle (upper end)"}
ALL = "all"


def parse_metrics(
    text: str, ks: Sequence[int], *, measured: Sequence[str] = (*METRICS, *BEYOND)
) -> tuple[str, ...]:
    """ "all" or names such as "recall@10,coverage@20"; raises `ConfigError` for one not `measured`."""
    known = tuple(f"{name}@{k}" for k in ks for name in measured)
    if text.strip() == ALL:
        return known
    chosen = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in chosen:
        if name not in known:
            raise ConfigError(f"unknown metric {name!r}; {did_you_mean(name, known)}")
    return chosen


def main_metrics(evaluation: Evaluation) -> tuple[str, ...]:
    return (f"recall@{evaluation.ks[0]}", f"ndcg@{evaluation.ks[0]}")


def metrics_table(
    evaluation: Evaluation, *, metrics: Sequence[str] | None = None, intervals: bool = True
) -> Table:
    """One row for each model, one column for each view and metric; the best model of a column is bold.

    `metrics` are names such as "ndcg@10"; by default Recall and NDCG at the first k. Views without users have
    no column, and the caption names them. `intervals` adds half the width of the 95% interval.
    """
    chosen = tuple(metrics or main_metrics(evaluation))
    table = _side_by_side(evaluation.views, chosen, intervals)
    table.title, table.caption, table.caption_justify = (
        f"Test, {evaluation.protocol}", _caption(evaluation), "left",
    )  # fmt: skip
    return table


def view_tables(evaluation: Evaluation, metrics: Sequence[str], *, intervals: bool = True) -> Iterator[Table]:
    """One table for each view with users: one row for each metric, one column for each model."""
    for name, view in evaluation.views.items():
        if view.models:
            yield _by_metric(f"{name}: {_counted(view)}", view, metrics, intervals)


def slice_tables(
    evaluation: Evaluation, metrics: Sequence[str] | None = None, *, intervals: bool = True
) -> Iterator[Table]:
    """One table for each kind of slice; with `metrics`, one table for each slice."""
    for kind, parts in evaluation.slices.items():
        if metrics is None:
            table = _side_by_side(parts, main_metrics(evaluation), intervals)
            table.title = f"Slices by {kind}"
            table.caption = "\n".join(f"{name}: {part.description}" for name, part in parts.items())
            table.caption_justify = "left"
            yield table
            continue
        for name, part in parts.items():
            if part.models:
                yield _by_metric(f"{name} {kind}: {_counted(part)}", part, metrics, intervals)


def _side_by_side(parts: Mapping[str, ViewResult], metrics: Sequence[str], intervals: bool) -> Table:
    shown = {name: part for name, part in parts.items() if part.models}
    table = Table("model")
    table.columns[0].no_wrap = True
    for name, part in shown.items():
        for at, metric in enumerate(metrics):
            group = f"{name}\n{part.num_users:,} users" if at == 0 else "\n"
            table.add_column(f"{group}\n{metric}", justify="right", no_wrap=True)
    names = list(dict.fromkeys(model for part in shown.values() for model in part.models))
    for model in sorted(names, key=lambda name: name in REFERENCES):
        cells = [_cell(part, model, metric, intervals) for part in shown.values() for metric in metrics]
        table.add_row(REFERENCES.get(model, model), *cells, style="dim" if model in REFERENCES else "")
    return table


def _by_metric(title: str, part: ViewResult, metrics: Sequence[str], intervals: bool) -> Table:
    models = sorted(part.models, key=lambda name: name in REFERENCES)
    table = Table("metric", title=title)
    for model in models:
        style = "dim" if model in REFERENCES else ""
        table.add_column(REFERENCES.get(model, model), justify="right", style=style)
    for metric in metrics:
        table.add_row(metric, *(_cell(part, model, metric, intervals) for model in models))
    return table


def _cell(part: ViewResult, model: str, metric: str, intervals: bool) -> Text:
    estimate = part.models[model].get(metric)
    if estimate is None:
        return Text("–")
    value, half = estimate.value, (estimate.high - estimate.low) / 2
    events = abs(value) >= 30  # a mean number of events: shares end at 1, and bits rarely reach 30
    text = Text(
        f"{value:,.1f}" if events else f"{value:.4f}", style="bold" if is_best(part, model, metric) else ""
    )
    if intervals:
        text.append(f" ±{half:,.1f}" if events else f" ±{half:.3f}", style="dim")
    return text


def is_best(part: ViewResult, model: str, metric: str) -> bool:
    """Whether no competitor has a higher value.

    False for chance, the oracle, a value of 0, and metrics beyond accuracy (higher is not better).
    """
    if model in REFERENCES or metric.partition("@")[0] not in METRICS:
        return False
    value = part.models[model][metric].value
    competitors = [by[metric].value for name, by in part.models.items() if name not in REFERENCES]
    return value == max(competitors) and value > 0


def _counted(part: ViewResult) -> str:
    return f"{part.num_users:,} users, {part.num_pairs:,} pairs, {part.num_ranked:,} items ranked"


def _caption(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    parts = [f"Full ranking over {counts['catalogue_items']:,} items, {counts['cold_items']:,} of them cold."]
    if evaluation.exclude_seen:
        parts.append(f"Seen items left out ({counts['repeats_dropped']:,} repeats are not ground truth).")
    else:
        parts.append("Seen items may be recommended.")
    empty = [name for name, view in evaluation.views.items() if not view.num_users]
    if evaluation.not_measured:
        parts.append(f"Nothing could be measured: {evaluation.not_measured}.")
    elif empty:
        parts.append(f"No user to measure on in: {', '.join(empty)}.")
    return " ".join(parts)


def describe(evaluation: Evaluation) -> pl.DataFrame:
    """The evaluation as a flat data frame: view, model, metric, value, low, high."""
    rows = [
        {"view": view, "model": model, "metric": metric, **asdict(estimate)}
        for view, result in evaluation.views.items()
        for model, metrics in result.models.items()
        for metric, estimate in metrics.items()
    ]
    return pl.DataFrame(rows)


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table; "|" in a cell becomes "∣"."""
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"
