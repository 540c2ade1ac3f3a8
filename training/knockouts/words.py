"""Knock-outs in words and as a table, made from the results alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table

from recsys.columns import Columns
from recsys.metrics import Estimate
from recsys.modalities import GROUP_PLURALS, MODALITIES
from recsys.models import ID_TOKEN
from training.evaluation import FEW_USERS, PLACES, metric_name
from training.knockouts.alteration import KINDS, Kind
from training.knockouts.measure import Knockouts

Verdict = Literal["counts", "nothing", "harms", "mixed", "unfound", "few"]

VERDICT_KINDS: tuple[Kind, Kind] = ("absent", "shuffled")
PLURALS: Mapping[str, str] = {each.name: each.plural for each in MODALITIES} | {
    ID_TOKEN: "ids",
    **GROUP_PLURALS,
}


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """The contribution of one group: a verdict for each view with users, and a sentence."""

    group: str
    verdicts: Mapping[str, Verdict]
    text: str

    @property
    def brings_nothing(self) -> bool:
        return all(each == "nothing" for each in self.verdicts.values())


def main_metric(knockouts: Knockouts) -> str:
    """Recall at the largest k, the metric that depends least on single hits where cold items are few."""
    return f"recall@{max(knockouts.ks)}"


def plural(group: str) -> str:
    """The group's name in a sentence."""
    field = group.removeprefix(Columns.CATEGORY_PREFIX)
    return PLURALS.get(group, group) if field == group else f"values of {field}"


def percent(share: float) -> str:
    """A change in whole percent with its sign, a true minus; one of less than half a percent is 0%."""
    rounded = round(100 * share)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded)}%"


def verdict_of(knockouts: Knockouts, group: str, view: str, metric: str) -> Verdict:
    """From the 95% intervals of the changes when the group is absent and when it is shuffled.

    "counts": one is below 0; "harms": one is above 0; "mixed": both occur; "nothing": both hold 0.
    "unfound": the full model's metric is 0 and none rises. "few": fewer than `FEW_USERS` users.
    """
    full = knockouts.views[view]
    changes = [knockouts.of(group, kind).views[view][metric].change for kind in VERDICT_KINDS]
    loses, gains = any(each.high < 0 for each in changes), any(each.low > 0 for each in changes)
    if full.metrics[metric].value == 0 and not gains:
        return "unfound"
    if full.is_small:
        return "few"
    return "mixed" if loses and gains else "counts" if loses else "harms" if gains else "nothing"


def contributions(knockouts: Knockouts) -> tuple[Contribution, ...]:
    """A sentence for each group, by the main metric."""
    return tuple(_contribution(knockouts, group) for group in knockouts.groups)


def _contribution(knockouts: Knockouts, group: str) -> Contribution:
    metric = main_metric(knockouts)
    verdicts = {
        view: verdict_of(knockouts, group, view, metric)
        for view, full in knockouts.views.items()
        if full.num_users
    }
    name = plural(group)
    name = name[0].upper() + name[1:]
    if all(each == "nothing" for each in verdicts.values()):
        where = _listed([PLACES[view] for view in verdicts], "or")
        text = (
            f"{name} bring nothing on these data: neither leaving them out nor exchanging them between "
            f"the items changes {metric_name(metric)} by more than chance {where}."
        )
    else:
        text = f"{name} {'; '.join(_clauses(knockouts, group, verdicts))}."
    return Contribution(group=group, verdicts=verdicts, text=text)


def _clauses(knockouts: Knockouts, group: str, verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    phrases: Mapping[Verdict, str] = {
        "counts": "count {}", "mixed": "cut both ways {}", "harms": "harm {}", "nothing": "bring nothing {}",
        "unfound": "have nothing to lose {}, where nothing is found anyway",
        "few": f"are not judged {{}}, where fewer than {FEW_USERS} users count",
    }  # fmt: skip
    for verdict, phrase in phrases.items():
        views = [view for view, each in verdicts.items() if each == verdict]
        if views:
            said = [PLACES[view] + _percentages(knockouts, group, view, verdict) for view in views]
            yield phrase.format(_listed(said, "or" if verdict == "nothing" else "and"))


def _percentages(knockouts: Knockouts, group: str, view: str, verdict: Verdict) -> str:
    """Both changes in parentheses; empty for the verdicts nothing, unfound and few."""
    metric, words = main_metric(knockouts), {"absent": "without them", "shuffled": "exchanged"}
    found = {kind: knockouts.relative(group, kind, view, metric) for kind in VERDICT_KINDS}
    parts = [f"{percent(each.value)} {words[kind]}" for kind, each in found.items() if each]
    return (
        f" ({metric_name(metric)} {', '.join(parts)})"
        if parts and verdict in ("counts", "mixed", "harms")
        else ""
    )


def knockouts_table(knockouts: Knockouts, *, intervals: bool = True) -> Table:
    """One row a group, one column a view and way: the change of the main metric relative to the full model.

    `intervals` adds half the width of the 95% interval, in points of percent.
    """
    metric = main_metric(knockouts)
    table = Table(title=f"Knock-outs: change of {metric}", caption=_caption(knockouts, metric))
    table.caption_justify = "left"
    table.add_column("knocked out", no_wrap=True)
    views = [view for view, full in knockouts.views.items() if full.num_users]
    for view in views:
        for kind in KINDS:
            table.add_column(f"{view if kind == KINDS[0] else ''}\n{kind}", justify="right", no_wrap=True)
    for group in knockouts.groups:
        cells = [
            _cell(knockouts.relative(group, kind, view, metric), intervals)
            for view in views
            for kind in KINDS
        ]
        table.add_row(group, *cells)
    return table


def _cell(change: Estimate | None, intervals: bool) -> str:
    if change is None:
        return "–"
    half = f" ±{100 * (change.high - change.low) / 2:.0f}" if intervals else ""
    sure = change.low > 0 or change.high < 0
    return f"[bold]{percent(change.value)}[/]{half}" if sure else f"{percent(change.value)}{half}"


def _caption(knockouts: Knockouts, metric: str) -> str:
    full = ", ".join(
        f"{view} {each.metrics[metric].value:.4f} ({each.num_users:,} users)"
        for view, each in knockouts.views.items()
        if each.num_users
    )
    drawn = (
        ""
        if knockouts.num_drawn == knockouts.num_users
        else f" {knockouts.num_drawn:,} of {knockouts.num_users:,} test users drawn at random."
    )
    return f"With nothing knocked out: {full}.{drawn} Bold: the interval leaves 0 out."


def _listed(names: Sequence[str], last: str) -> str:
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end
