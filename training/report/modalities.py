"""What each modality brings: knock-outs as charts, sentences and a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from recsys.columns import Columns
from recsys.metrics.bootstrap import Estimate
from training.evaluation.names import PLACES, metric_name
from training.knockouts.alteration import KINDS, Kind
from training.knockouts.measure import Knockout, Knockouts
from training.knockouts.words import JUDGED, Brought, brought, main_metric, percent
from training.report.charts import Band, Chart, Legend, Whisker, interval_chart
from training.report.words import counted

COLOURS: Mapping[Kind, str] = {"absent": "ours", "shuffled": "competitor"}


@dataclass(frozen=True, kw_only=True)
class KnockoutRow:
    """One target: whom it concerns, and its changes by view and way in the order of the columns."""

    name: str
    knockout: Knockout
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Modalities:
    metric: str
    asked: str
    charts: tuple[Chart, ...]
    sentences: tuple[Brought, ...]
    columns: tuple[str, ...]
    rows: tuple[KnockoutRow, ...]


def modalities(knockouts: Knockouts | None) -> Modalities | None:
    """None without knock-outs, or where no user counts."""
    if knockouts is None:
        return None
    views = [view for view, whole in knockouts.views.items() if whole.num_users]
    if not views:
        return None
    metric = main_metric(knockouts)
    return Modalities(
        metric=metric_name(metric),
        asked=_asked(knockouts),
        charts=tuple(_chart(knockouts, view, metric) for view in views),
        sentences=brought(knockouts),
        columns=tuple(f"{view}, {kind}" for view in views for kind in KINDS),
        rows=tuple(
            KnockoutRow(
                name=_label(target),
                knockout=knockouts.of(target, KINDS[0]),
                cells=tuple(
                    _cell(knockouts.relative(target, kind, view, metric)) for view in views for kind in KINDS
                ),
            )
            for target in knockouts.targets
        ),
    )


def _chart(knockouts: Knockouts, view: str, metric: str) -> Chart:
    whole = knockouts.views[view]
    value = whole.metrics[metric].value
    return interval_chart(
        [_band(knockouts, target, view, metric) for target in knockouts.targets],
        title=f"{metric_name(metric)} {PLACES[view]}",
        description="; ".join(_words(knockouts, target, view, metric) for target in knockouts.targets),
        note=f"It is {value:.4f} with nothing knocked out, over {counted(whole.num_users, 'user')}.",
        x_label=f"change of {metric_name(metric)} in percent of it",
        legend=[Legend(kind=colour, text=kind) for kind, colour in COLOURS.items()],
    )


def _band(knockouts: Knockouts, target: str, view: str, metric: str) -> Band:
    found = {kind: knockouts.relative(target, kind, view, metric) for kind in JUDGED}
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
    return Band(label=_label(target), whiskers=whiskers, note="" if whiskers else "finds nothing anyway")


def _words(knockouts: Knockouts, target: str, view: str, metric: str) -> str:
    found = {kind: knockouts.relative(target, kind, view, metric) for kind in JUDGED}
    said = [f"{kind} {percent(each.value)}" for kind, each in found.items() if each is not None]
    return f"{_label(target)}: {', '.join(said) or 'finds nothing anyway'}"


def _cell(change: Estimate | None) -> str:
    if change is None:
        return "–"
    return f"{percent(change.value)} ({percent(change.low)} to {percent(change.high)})"


def _label(target: str) -> str:
    return target.removeprefix(Columns.CATEGORY_PREFIX).replace("_", " ")


def _asked(knockouts: Knockouts) -> str:
    if knockouts.num_drawn == knockouts.num_users:
        return f"all {counted(knockouts.num_users, 'test user')}"
    asked = f"{knockouts.num_drawn:,} of {counted(knockouts.num_users, 'test user')}"
    return f"{asked}, drawn by lot with a fixed seed"
