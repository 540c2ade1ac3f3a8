"""What knock-outs say in words and in a table; every word is made from the figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table

from recsys.columns import Columns
from recsys.metrics.bootstrap import Estimate
from recsys.modalities import GROUP_PLURALS, MODALITIES
from recsys.models.item_tower import ID_TOKEN
from training.evaluation.names import PLACES, metric_name
from training.evaluation.results import FEW_USERS
from training.knockouts.alteration import KINDS, Kind
from training.knockouts.measure import Knockouts

Verdict = Literal["counts", "nothing", "harms", "mixed", "unfound", "few"]

JUDGED: tuple[Kind, Kind] = ("absent", "shuffled")
PLURALS: Mapping[str, str] = {each.name: each.plural for each in MODALITIES} | {
    ID_TOKEN: "ids",
    **GROUP_PLURALS,
}


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What one target brings: a verdict a view with users, and all of it in a sentence."""

    target: str
    verdicts: Mapping[str, Verdict]
    text: str

    @property
    def brings_nothing(self) -> bool:
        return all(each == "nothing" for each in self.verdicts.values())


def main_metric(knockouts: Knockouts) -> str:
    """Recall at the largest k: on few new items the least hangs on single hits."""
    return f"recall@{max(knockouts.ks)}"


def plural(target: str) -> str:
    """The target as users speak of it."""
    field = target.removeprefix(Columns.CATEGORY_PREFIX)
    return PLURALS.get(target, target) if field == target else f"values of {field}"


def percent(share: float) -> str:
    """A change in whole percent with its sign, a true minus; one of less than half a percent is 0%."""
    rounded = round(100 * share)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded)}%"


def judged(knockouts: Knockouts, target: str, view: str, metric: str) -> Verdict:
    """Nothing where the intervals of the change hold 0 both when it is absent and when it is shuffled.

    What finds nothing with nothing knocked out has nothing to lose ("unfound"), and of few users nothing is
    said ("few").
    """
    whole = knockouts.views[view]
    changes = [knockouts.of(target, kind).views[view][metric].change for kind in JUDGED]
    loses, gains = any(each.high < 0 for each in changes), any(each.low > 0 for each in changes)
    if whole.metrics[metric].value == 0 and not gains:
        return "unfound"
    if whole.is_small:
        return "few"
    return "mixed" if loses and gains else "counts" if loses else "harms" if gains else "nothing"


def brought(knockouts: Knockouts) -> tuple[Brought, ...]:
    """A sentence a target, by the main metric."""
    return tuple(_brought(knockouts, target) for target in knockouts.targets)


def _brought(knockouts: Knockouts, target: str) -> Brought:
    metric = main_metric(knockouts)
    verdicts = {
        view: judged(knockouts, target, view, metric)
        for view, whole in knockouts.views.items()
        if whole.num_users
    }
    name = plural(target)
    name = name[0].upper() + name[1:]
    if all(each == "nothing" for each in verdicts.values()):
        where = _listed([PLACES[view] for view in verdicts], "or")
        text = (
            f"{name} bring nothing on these data: neither leaving them out nor exchanging them between "
            f"the items changes {metric_name(metric)} by more than chance {where}."
        )
    else:
        text = f"{name} {'; '.join(_clauses(knockouts, target, verdicts))}."
    return Brought(target=target, verdicts=verdicts, text=text)


def _clauses(knockouts: Knockouts, target: str, verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    phrases: Mapping[Verdict, str] = {
        "counts": "count {}", "mixed": "cut both ways {}", "harms": "harm {}", "nothing": "bring nothing {}",
        "unfound": "have nothing to lose {}, where nothing is found anyway",
        "few": f"are not judged {{}}, where fewer than {FEW_USERS} users count",
    }  # fmt: skip
    for verdict, phrase in phrases.items():
        views = [view for view, each in verdicts.items() if each == verdict]
        if views:
            said = [PLACES[view] + _figures(knockouts, target, view, verdict) for view in views]
            yield phrase.format(_listed(said, "or" if verdict == "nothing" else "and"))


def _figures(knockouts: Knockouts, target: str, view: str, verdict: Verdict) -> str:
    """The two changes in parentheses; nothing where they are nothing, of nothing or of few users."""
    metric, words = main_metric(knockouts), {"absent": "without them", "shuffled": "exchanged"}
    found = {kind: knockouts.relative(target, kind, view, metric) for kind in JUDGED}
    parts = [f"{percent(each.value)} {words[kind]}" for kind, each in found.items() if each]
    return (
        f" ({metric_name(metric)} {', '.join(parts)})"
        if parts and verdict in ("counts", "mixed", "harms")
        else ""
    )


def knockouts_table(knockouts: Knockouts, *, intervals: bool = True) -> Table:
    """One row a target, one column a view and way: the change of the main metric as a share of the whole's.

    `intervals` adds half the width of the 95% interval, in points of percent.
    """
    metric = main_metric(knockouts)
    table = Table(title=f"Knock-outs: change of {metric}", caption=_caption(knockouts, metric))
    table.caption_justify = "left"
    table.add_column("knocked out", no_wrap=True)
    views = [view for view, whole in knockouts.views.items() if whole.num_users]
    for view in views:
        for kind in KINDS:
            table.add_column(f"{view if kind == KINDS[0] else ''}\n{kind}", justify="right", no_wrap=True)
    for target in knockouts.targets:
        cells = [
            _cell(knockouts.relative(target, kind, view, metric), intervals)
            for view in views
            for kind in KINDS
        ]
        table.add_row(target, *cells)
    return table


def _cell(change: Estimate | None, intervals: bool) -> str:
    if change is None:
        return "–"
    half = f" ±{100 * (change.high - change.low) / 2:.0f}" if intervals else ""
    sure = change.low > 0 or change.high < 0
    return f"[bold]{percent(change.value)}[/]{half}" if sure else f"{percent(change.value)}{half}"


def _caption(knockouts: Knockouts, metric: str) -> str:
    whole = ", ".join(
        f"{view} {each.metrics[metric].value:.4f} ({each.num_users:,} users)"
        for view, each in knockouts.views.items()
        if each.num_users
    )
    drawn = (
        ""
        if knockouts.num_drawn == knockouts.num_users
        else f" {knockouts.num_drawn:,} of {knockouts.num_users:,} test users drawn by lot."
    )
    return f"With nothing knocked out: {whole}.{drawn} Bold: the interval leaves 0 out."


def _listed(names: Sequence[str], last: str) -> str:
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end
