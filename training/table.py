"""An `Evaluation` as a table for the terminal, and as a frame."""

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl
from rich.table import Table
from rich.text import Text

from training.evaluation import Evaluation, ViewResult

# The two ends of the scale: shown, but no competitors.
REFERENCES = {"random": "chance", "oracle": "oracle (upper end)"}


def metrics_table(
    evaluation: Evaluation, *, metrics: Sequence[str] | None = None, intervals: bool = True
) -> Table:
    """One row a model, one column a view and metric; the best model of each column is bold.

    `metrics` are names such as "ndcg@10"; by default Recall and NDCG at the first k. Views without
    users are left out, and the caption says so. `intervals` adds half the width of the 95% interval.
    """
    chosen = tuple(metrics or (f"recall@{evaluation.ks[0]}", f"ndcg@{evaluation.ks[0]}"))
    views = {name: view for name, view in evaluation.views.items() if view.models}
    table = Table(title=f"Test, {evaluation.protocol}", caption=_caption(evaluation), caption_justify="left")
    table.add_column("model", no_wrap=True)
    for name, view in views.items():
        for at, metric in enumerate(chosen):
            group = f"{name}\n{view.num_users:,} users" if at == 0 else "\n"
            table.add_column(f"{group}\n{metric}", justify="right", no_wrap=True)
    names = list(dict.fromkeys(model for view in views.values() for model in view.models))
    for model in sorted(names, key=lambda name: name in REFERENCES):
        cells = [_cell(view, model, metric, intervals) for view in views.values() for metric in chosen]
        style = "dim" if model in REFERENCES else ""
        table.add_row(REFERENCES.get(model, model), *cells, style=style)
    return table


def _cell(view: ViewResult, model: str, metric: str, intervals: bool) -> Text:
    estimate = view.models[model][metric]
    text = Text(f"{estimate.value:.4f}", style="bold" if is_best(view, model, metric) else "")
    if intervals:
        text.append(f" ±{(estimate.high - estimate.low) / 2:.3f}", style="dim")
    return text


def is_best(view: ViewResult, model: str, metric: str) -> bool:
    """Whether no competitor has more; chance and oracle never are, nor is anybody who finds nothing."""
    value = view.models[model][metric].value
    rivals = [by[metric].value for name, by in view.models.items() if name not in REFERENCES]
    return model not in REFERENCES and value == max(rivals) and value > 0


def _caption(evaluation: Evaluation) -> str:
    counts = evaluation.counts
    parts = [f"Full ranking over {counts['catalogue_items']:,} items, {counts['cold_items']:,} of them cold."]
    if evaluation.exclude_seen:
        parts.append(f"Seen items left out ({counts['repeats_dropped']:,} repeats are no truth).")
    else:
        parts.append("Seen items may be recommended.")
    empty = [name for name, view in evaluation.views.items() if not view.num_users]
    if empty:
        parts.append(f"Nobody to count in: {', '.join(empty)}.")
    return " ".join(parts)


def describe(evaluation: Evaluation) -> pl.DataFrame:
    """The evaluation as a flat frame: view, model, metric, value, low, high."""
    rows = [
        {"view": view, "model": model, "metric": metric, **asdict(estimate)}
        for view, result in evaluation.views.items()
        for model, metrics in result.models.items()
        for metric, estimate in metrics.items()
    ]
    return pl.DataFrame(rows)
