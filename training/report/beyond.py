"""What the lists are like beyond their hits: a small table, and a sentence a figure."""

from collections.abc import Mapping
from dataclasses import dataclass

from recsys.metrics import BEYOND, Estimate
from training.evaluation import MODEL, PLACES, REFERENCES, Evaluation, ViewResult, metric_name
from training.report.words import Kind, figure, kind_of, listed, main_view, model_name, verdict

# What a figure is, and what our model does where it has more of it than another.
MEANINGS: Mapping[str, tuple[str, str, str]] = {
    "coverage": ("share of the {items:,} items that are in at least one list", "more", "less"),
    "gini": (
        "how unevenly the places go to the items, from 0 (all alike) to 1 (one item has them all)",
        "more unevenly", "more evenly",
    ),
    "novelty": (
        "how rare the listed items are, in bits: one bit more is half as many training events",
        "rarer items", "less rare items",
    ),
    "ild": (
        "how far apart two items of a list are by their {content}: 0 alike, 1 unrelated, 2 opposite",
        "more varied lists", "less varied lists",
    ),
    "arp": (
        "how many positive training events a listed item has on average, the lean to the popular",
        "more popular items", "less popular items",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BeyondRow:
    model: str
    label: str
    kind: Kind
    cells: tuple[Estimate | None, ...]  # None: its lists are too short to have one


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One sentence on one figure."""

    metric: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Beyond:
    view: str
    place: str
    num_users: int
    metrics: tuple[str, ...]
    rows: tuple[BeyondRow, ...]
    meanings: tuple[Meaning, ...]


def beyond(evaluation: Evaluation, baseline: str | None) -> Beyond | None:
    """Of the headline's view, at the first k; None where no user counts in it."""
    view = main_view(evaluation)
    found = evaluation.views[view]
    known = {metric for by_metric in found.models.values() for metric in by_metric}
    metrics = tuple(f"{name}@{evaluation.ks[0]}" for name in BEYOND if f"{name}@{evaluation.ks[0]}" in known)
    if not metrics:
        return None
    models = sorted(found.models, key=lambda model: model in REFERENCES)
    return Beyond(
        view=view,
        place=PLACES[view],
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
    what, more, less = MEANINGS[metric.partition("@")[0]]
    media = listed(name.replace("_", " ") for name in content) if content else "content"
    text = f"{metric_name(metric)}: {what.format(items=found.num_ranked, content=media)}"
    ours = found.models[MODEL].get(metric)
    gap = found.differences.get(baseline, {}).get(metric) if baseline else None
    if ours is None or gap is None or baseline is None:
        return f"{text}."
    said = {"ahead": more, "behind": less, "even": "no clear difference"}[verdict(gap)]
    theirs = figure(found.models[baseline][metric].value)
    return f"{text}; {figure(ours.value)} against {model_name(baseline)}'s {theirs}, {said}."
