"""Knock-outs as sentences and as a table for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table

from recsys.columns import Columns
from recsys.metrics import Estimate
from recsys.modalities import GROUP_PLURALS, MODALITIES
from recsys.models import ID_TOKEN
from training.evaluation import FEW_USERS, VIEW_PHRASES, metric_name
from training.knockouts.alteration import Kind
from training.knockouts.measure import Knockouts

Verdict = Literal["helps", "nothing", "harms", "mixed", "no_hit", "few_users"]

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
    def contributes_nothing(self) -> bool:
        return all(each == "nothing" for each in self.verdicts.values())


def main_metric(knockouts: Knockouts) -> str:
    """Recall at the largest k: where cold items are few, the metric that depends least on single hits."""
    return f"recall@{max(knockouts.ks)}"


def plural(group: str) -> str:
    """The group's name in a sentence."""
    field = group.removeprefix(Columns.CATEGORY_PREFIX)
    return PLURALS.get(group, group) if field == group else f"values of {field}"


def percent(share: float) -> str:
    """A change in whole percent with its sign; the minus sign is U+2212. Below half a percent it is 0%."""
    rounded = round(100 * share)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded)}%"


def verdict_of(knockouts: Knockouts, group: str, view: str, metric: str) -> Verdict:
    """The verdict from the 95% intervals of the changes when the group is absent and when it is shuffled.

    "helps": one interval is below 0; "harms": one is above 0; "mixed": both occur; "nothing": both contain 0.
    "no_hit": the full model's metric is 0 and none rises. "few_users": fewer than `FEW_USERS` users.
    """
    full = knockouts.views[view]
    changes = [knockouts.of(group, kind).views[view][metric].change for kind in VERDICT_KINDS]
    loses, gains = any(each.high < 0 for each in changes), any(each.low > 0 for each in changes)
    if full.metrics[metric].value == 0 and not gains:
        return "no_hit"
    if full.is_small:
        return "few_users"
    return "mixed" if loses and gains else "helps" if loses else "harms" if gains else "nothing"


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
        where = _listed([VIEW_PHRASES[view] for view in verdicts], "or")
        text = (
            f"{name} contribute nothing on these data: neither removing them nor exchanging them between "
            f"the items changes {metric_name(metric)} by more than chance {where}."
        )
    else:
        text = f"{name} {'; '.join(_clauses(knockouts, group, verdicts))}."
    return Contribution(group=group, verdicts=verdicts, text=text)


def _clauses(knockouts: Knockouts, group: str, verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    phrases: Mapping[Verdict, str] = {
        "helps": "help {}", "mixed": "both help and harm {}", "harms": "harm {}",
        "nothing": "contribute nothing {}",
        "no_hit": "cannot be measured {}, where the full model has no hit",
        "few_users": f"cannot be measured {{}}, where there are fewer than {FEW_USERS} users",
    }  # fmt: skip
    for verdict, phrase in phrases.items():
        views = [view for view, each in verdicts.items() if each == verdict]
        if views:
            changes = [VIEW_PHRASES[view] + _percentages(knockouts, group, view, verdict) for view in views]
            yield phrase.format(_listed(changes, "or" if verdict == "nothing" else "and"))


def _percentages(knockouts: Knockouts, group: str, view: str, verdict: Verdict) -> str:
    """Both changes in parentheses; empty for the verdicts "nothing", "no_hit" and "few_users"."""
    metric, words = main_metric(knockouts), {"absent": "without them", "shuffled": "exchanged"}
    found = {kind: knockouts.relative(group, kind, view, metric) for kind in VERDICT_KINDS}
    parts = [f"{percent(each.value)} {words[kind]}" for kind, each in found.items() if each]
    return (
        f" ({metric_name(metric)} {', '.join(parts)})"
        if parts and verdict in ("helps", "mixed", "harms")
        else ""
    )


def knockouts_table(knockouts: Knockouts, *, intervals: bool = True) -> Table:
    """Relative changes of the main metric: one row for each group, one column for each view and kind.

    `intervals` adds half the width of the 95% interval, in percentage points.
    """
    metric = main_metric(knockouts)
    table = Table(title=f"Knock-outs: change of {metric}", caption=_caption(knockouts, metric))
    table.caption_justify = "left"
    table.add_column("knocked out", no_wrap=True)
    views = [view for view, full in knockouts.views.items() if full.num_users]
    for view in views:
        for at, kind in enumerate(knockouts.kinds):
            table.add_column(f"{'' if at else view}\n{kind}", justify="right", no_wrap=True)
    for group in knockouts.groups:
        cells = [
            _cell(knockouts.relative(group, kind, view, metric), intervals)
            for view in views
            for kind in knockouts.kinds
        ]
        table.add_row(group, *cells)
    return table


def _cell(change: Estimate | None, intervals: bool) -> str:
    if change is None:
        return "–"
    half = f" ±{100 * (change.high - change.low) / 2:.0f}" if intervals else ""
    differs = change.low > 0 or change.high < 0
    return f"[bold]{percent(change.value)}[/]{half}" if differs else f"{percent(change.value)}{half}"


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
    return f"Full model: {full}.{drawn} Bold: the interval does not contain 0."


def _listed(names: Sequence[str], last: str) -> str:
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end
