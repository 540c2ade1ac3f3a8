"""Metrics beyond accuracy: a table, and one sentence for each metric."""

from collections.abc import Mapping
from dataclasses import dataclass

from recsys.metrics import BEYOND, Estimate
from training.evaluation import MODEL, REFERENCES, VIEW_PHRASES, Evaluation, ViewResult, metric_name
from training.report.words import Kind, formatted, kind_of, listed, main_view, model_name, verdict

# Metric -> its definition, then the words for a model that has more and for one that has less of it.
MEANINGS: Mapping[str, tuple[str, str, str]] = {
    "coverage": ("share of the {items:,} items that are in at least one list", "more", "less"),
    "gini": (
        "how unevenly the ranks are spread over the items, from 0 (evenly) to 1 (one item has all)",
        "more unevenly", "more evenly",
    ),
    "novelty": (
        "how rare the listed items are, in bits: one bit more is half as many training events",
        "rarer items", "less rare items",
    ),
    "ild": (
        "mean cosine distance of two items of a list by their {content}: 0 alike, 1 unrelated, 2 opposite",
        "more varied lists", "less varied lists",
    ),
    "arp": (
        "mean number of positive training events of a listed item",
        "more popular items", "less popular items",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BeyondRow:
    model: str
    label: str
    kind: Kind
    cells: tuple[Estimate | None, ...]  # None: the lists are too short for the metric


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One sentence on one metric."""

    metric: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Beyond:
    view: str
    phrase: str
    num_users: int
    metrics: tuple[str, ...]
    rows: tuple[BeyondRow, ...]
    meanings: tuple[Meaning, ...]


def beyond(evaluation: Evaluation, baseline: str | None) -> Beyond | None:
    """Metrics of the headline's view at the first k; None where the view has no user."""
    view = main_view(evaluation)
    found = evaluation.views[view]
    known = {metric for by_metric in found.models.values() for metric in by_metric}
    metrics = tuple(f"{name}@{evaluation.ks[0]}" for name in BEYOND if f"{name}@{evaluation.ks[0]}" in known)
    if not metrics:
        return None
    models = sorted(found.models, key=lambda model: model in REFERENCES)
    return Beyond(
        view=view,
        phrase=VIEW_PHRASES[view],
        num_users=found.num_users,
        metrics=metrics,
        rows=tuple(
            BeyondRow(
                model=model,
                label=REFERENCES.get(model, model_name(model)),
                kind=kind_of(model),
                cells=tuple(found.models[model].get(metric) for metric in metrics),
            )
            for model in models
        ),
        meanings=tuple(
            Meaning(metric=metric, text=_meaning(metric, found, evaluation.content, baseline))
            for metric in metrics
        ),
    )


def _meaning(metric: str, found: ViewResult, content: tuple[str, ...], baseline: str | None) -> str:
    definition, more, less = MEANINGS[metric.partition("@")[0]]
    media = listed(name.replace("_", " ") for name in content) if content else "content"
    text = f"{metric_name(metric)}: {definition.format(items=found.num_ranked, content=media)}"
    main = found.models[MODEL].get(metric)
    gap = found.differences.get(baseline, {}).get(metric) if baseline else None
    if main is None or gap is None or baseline is None:
        return f"{text}."
    difference = {"ahead": more, "behind": less, "even": "no clear difference"}[verdict(gap)]
    other = formatted(found.models[baseline][metric].value)
    return f"{text}. Here {formatted(main.value)}, {model_name(baseline)} {other}: {difference}."
