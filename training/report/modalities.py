"""The contribution of each modality: knock-outs as charts, sentences and a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from recsys.columns import Columns
from recsys.metrics import Estimate
from training.evaluation import VIEW_PHRASES, metric_name
from training.knockouts import (
    VERDICT_KINDS,
    Contribution,
    Kind,
    Knockout,
    Knockouts,
    contributions,
    main_metric,
    percent,
)
from training.report.charts import Band, Chart, Legend, Whisker, interval_chart
from training.report.words import counted

COLOURS: Mapping[Kind, str] = {"absent": "main", "shuffled": "competitor"}  # classes of style.css

NO_HIT = "the full model has no hit"


@dataclass(frozen=True, kw_only=True)
class KnockoutRow:
    """One group and its changes, in the order of the columns."""

    name: str
    knockout: Knockout
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Modalities:
    metric: str
    users: str
    charts: tuple[Chart, ...]
    sentences: tuple[Contribution, ...]
    columns: tuple[str, ...]
    rows: tuple[KnockoutRow, ...]


def modalities(knockouts: Knockouts | None) -> Modalities | None:
    """None without knock-outs, or where no view has a user."""
    if knockouts is None:
        return None
    views = [view for view, full in knockouts.views.items() if full.num_users]
    if not views:
        return None
    metric = main_metric(knockouts)
    return Modalities(
        metric=metric_name(metric),
        users=_users(knockouts),
        charts=tuple(_chart(knockouts, view, metric) for view in views),
        sentences=contributions(knockouts),
        columns=tuple(f"{view}, {kind}" for view in views for kind in knockouts.kinds),
        rows=tuple(
            KnockoutRow(
                name=_label(group),
                knockout=knockouts.of(group, knockouts.kinds[0]),
                cells=tuple(
                    _cell(knockouts.relative(group, kind, view, metric))
                    for view in views
                    for kind in knockouts.kinds
                ),
            )
            for group in knockouts.groups
        ),
    )


def _chart(knockouts: Knockouts, view: str, metric: str) -> Chart:
    full = knockouts.views[view]
    value = full.metrics[metric].value
    return interval_chart(
        [_band(knockouts, group, view, metric) for group in knockouts.groups],
        title=f"{metric_name(metric)} {VIEW_PHRASES[view]}",
        description="; ".join(_words(knockouts, group, view, metric) for group in knockouts.groups),
        note=f"The full model has {value:.4f}, over {counted(full.num_users, 'user')}.",
        x_label=f"change of {metric_name(metric)} in percent",
        legend=[Legend(kind=colour, text=kind) for kind, colour in COLOURS.items()],
    )


def _band(knockouts: Knockouts, group: str, view: str, metric: str) -> Band:
    found = {kind: knockouts.relative(group, kind, view, metric) for kind in VERDICT_KINDS}
    whiskers = tuple(
        Whisker(
            kind=COLOURS[kind],
            value=100 * each.value,
            low=100 * each.low,
            high=100 * each.high,
            text=percent(each.value),
        )
        for kind, each in found.items()
        if each is not None
    )
    return Band(label=_label(group), whiskers=whiskers, note="" if whiskers else NO_HIT)


def _words(knockouts: Knockouts, group: str, view: str, metric: str) -> str:
    found = {kind: knockouts.relative(group, kind, view, metric) for kind in VERDICT_KINDS}
    changes = [f"{kind} {percent(each.value)}" for kind, each in found.items() if each is not None]
    return f"{_label(group)}: {', '.join(changes) or NO_HIT}"


def _cell(change: Estimate | None) -> str:
    if change is None:
        return "–"
    return f"{percent(change.value)} ({percent(change.low)} to {percent(change.high)})"


def _label(group: str) -> str:
    return group.removeprefix(Columns.CATEGORY_PREFIX).replace("_", " ")


def _users(knockouts: Knockouts) -> str:
    """The users whose lists were compared, in words."""
    if knockouts.num_drawn == knockouts.num_users:
        return f"all {counted(knockouts.num_users, 'test user')}"
    drawn = f"{knockouts.num_drawn:,} of {counted(knockouts.num_users, 'test user')}"
    return f"{drawn}, drawn at random with a fixed seed"
