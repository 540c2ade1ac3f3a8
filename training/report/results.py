"""The results as tables and interval charts: every view, every model, and the slices of the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys.metrics import METRICS, Estimate
from training.evaluation import MODEL, REFERENCES, VIEW_PHRASES, Evaluation, ViewResult, is_best, metric_name
from training.report.charts import Band, Chart, Legend, Whisker, interval_chart
from training.report.words import Kind, Verdict, formatted, kind_of, main_view, model_name, verdict


@dataclass(frozen=True, kw_only=True)
class Cell:
    estimate: Estimate
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    model: str
    label: str
    kind: Kind
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """One view: every metric of every model, and the first NDCG of each model as a chart."""

    name: str
    phrase: str  # its name in sentences, such as "on warm items"
    result: ViewResult
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    chart: Chart | None


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """One part of the test; `gap` is the NDCG of recsys minus that of the baseline, where there is one."""

    name: str
    part: ViewResult
    estimates: tuple[Estimate, ...]
    gap: Estimate | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Slices:
    """One division of the test into parts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[SliceRow, ...]
    chart: Chart


def views(evaluation: Evaluation) -> tuple[View, ...]:
    """Every view of the evaluation, those without users too."""
    return tuple(_view(name, result, evaluation) for name, result in evaluation.views.items())


def slices(evaluation: Evaluation, baseline: str | None) -> tuple[Slices, ...]:
    """By the popularity of the held-out items and by the length of the history: recsys, then `baseline`."""
    titles = {
        "items": "By the popularity of the held-out items",
        "users": f"By the number of known items of the user, {VIEW_PHRASES[main_view(evaluation)]}",
    }
    models = [MODEL, baseline] if baseline else [MODEL]
    k = evaluation.ks[0]
    return tuple(_slices(titles[kind], parts, models, k) for kind, parts in evaluation.slices.items())


def _view(name: str, result: ViewResult, evaluation: Evaluation) -> View:
    metrics = tuple(f"{each}@{k}" for k in evaluation.ks for each in METRICS)
    models = sorted(result.models, key=lambda model: model in REFERENCES)
    rows = tuple(
        Row(
            model=model,
            label=REFERENCES.get(model, model_name(model)),
            kind=kind_of(model),
            cells=tuple(
                Cell(estimate=result.models[model][metric], best=is_best(result, model, metric))
                for metric in metrics
            ),
        )
        for model in models
    )
    metric = f"ndcg@{evaluation.ks[0]}"
    return View(
        name=name,
        phrase=VIEW_PHRASES[name],
        result=result,
        metrics=metrics,
        rows=rows,
        chart=_view_chart(name, result, rows, metric) if rows else None,
    )


def _view_chart(name: str, result: ViewResult, rows: Sequence[Row], metric: str) -> Chart:
    bands = [
        Band(label=row.label, kind=row.kind, whiskers=(_whisker(result.models[row.model][metric], row.kind),))
        for row in rows
    ]
    words = ", ".join(f"{row.label} {formatted(result.models[row.model][metric].value)}" for row in rows)
    return interval_chart(
        bands,
        title=f"{metric_name(metric)} {VIEW_PHRASES[name]}",
        description=f"{words}.",
        note=f"Lines are 95% intervals over {result.num_users:,} users.",
        x_label=metric_name(metric),
    )


def _whisker(estimate: Estimate, kind: str) -> Whisker:
    return Whisker(
        kind=kind, value=estimate.value, low=estimate.low, high=estimate.high, text=formatted(estimate.value)
    )


def _slices(title: str, parts: Mapping[str, ViewResult], models: Sequence[str], k: int) -> Slices:
    metrics = (f"ndcg@{k}", f"recall@{k}")
    names = [model_name(model) for model in models]
    return Slices(
        title=title,
        columns=tuple(f"{metric_name(metric)}, {name}" for metric in metrics for name in names),
        rows=tuple(_slice_row(name, part, models, metrics) for name, part in parts.items()),
        chart=interval_chart(
            [_slice_band(name, part, models, metrics[0]) for name, part in parts.items()],
            title=title,
            description="; ".join(
                _slice_words(name, part, models, metrics[0]) for name, part in parts.items()
            ),
            x_label=metric_name(metrics[0]),
            legend=[Legend(kind=kind_of(model), text=model_name(model)) for model in models],
        ),
    )


def _slice_row(name: str, part: ViewResult, models: Sequence[str], metrics: Sequence[str]) -> SliceRow:
    values = [part.models[model][metric] for metric in metrics for model in models] if part.models else []
    gaps = [part.differences[model][metrics[0]] for model in models[1:] if model in part.differences]
    gap = gaps[0] if gaps else None
    return SliceRow(
        name=name, part=part, estimates=tuple(values), gap=gap, verdict=verdict(gap) if gap else "even"
    )


def _slice_band(name: str, part: ViewResult, models: Sequence[str], metric: str) -> Band:
    if not part.models:
        return Band(label=name, note="no user to measure on")
    whiskers = tuple(_whisker(part.models[model][metric], kind_of(model)) for model in models)
    return Band(label=f"{name}{' *' if part.is_small else ''}", whiskers=whiskers)


def _slice_words(name: str, part: ViewResult, models: Sequence[str], metric: str) -> str:
    if not part.models:
        return f"{name}: no user to measure on"
    metrics = ", ".join(
        f"{model_name(model)} {formatted(part.models[model][metric].value)}" for model in models
    )
    return f"{name}: {metrics} over {part.num_users:,} users"
