"""Numbers as the report writes them, and the findings in sentences, each made from the results of the run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from features.leakage import Audit
from recsys.metrics import Estimate
from training.evaluation import (
    FEW_USERS,
    ID_ONLY,
    LATER,
    MODEL,
    PLACES,
    REFERENCES,
    TOWERS,
    Evaluation,
    metric_name,
)

MANY_COMPETITORS = 4  # more are counted instead of named

Verdict = Literal["ahead", "behind", "even"]
Kind = Literal["ours", "part", "competitor", "reference"]

NAMES: Mapping[str, str] = {"als": "ALS", "bpr": "BPR", "random": "chance", "oracle": "the oracle"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding of the test: whether our model is ahead, and the difference that shows it."""

    verdict: Verdict
    text: str
    gap: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The findings of one view."""

    place: str
    num_users: int
    found: tuple[Finding, ...]


def model_name(model: str) -> str:
    return NAMES.get(model, model)


def kind_of(model: str) -> Kind:
    """The role of a model in the comparison: ours, a part of ours, a competitor, or a reference."""
    if model in REFERENCES:
        return "reference"
    return "ours" if model == MODEL else "part" if model in (TOWERS, ID_ONLY, LATER) else "competitor"


def figure(value: float) -> str:
    """Four decimals, one for numbers of events, as the tables of the terminal have them; a true minus."""
    return (f"{value:,.1f}" if abs(value) >= 30 else f"{value:.4f}").replace("-", "−")


def with_interval(estimate: Estimate) -> str:
    return f"{figure(estimate.value)} (95% interval {figure(estimate.low)} to {figure(estimate.high)})"


def verdict(gap: Estimate) -> Verdict:
    """Ahead or behind only where the interval of the difference leaves 0 out."""
    return "ahead" if gap.low > 0 else "behind" if gap.high < 0 else "even"


def main_view(evaluation: Evaluation) -> str:
    """The view of the headline: items with a past, or new ones where the test holds no others."""
    return next((name for name in ("warm", "cold_full") if evaluation.views[name].num_users), "warm")


def baselines(evaluation: Evaluation, view: str, metric: str) -> list[str]:
    """Competitors in that view, the best first."""
    models = evaluation.views[view].models
    competitors = [name for name in models if kind_of(name) == "competitor"]
    return sorted(competitors, key=lambda name: -models[name][metric].value)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Our model against every other one in one view, paired by user."""

    view: str
    metric: str
    num_users: int
    models: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]  # model -> how much more ours has


def compare(evaluation: Evaluation, view: str) -> Comparison | None:
    """None where no user counts in the view."""
    found = evaluation.views[view]
    if not found.num_users:
        return None
    metric = f"ndcg@{evaluation.ks[0]}"
    return Comparison(
        view=view,
        metric=metric,
        num_users=found.num_users,
        models={name: by[metric] for name, by in found.models.items()},
        gaps={name: by[metric] for name, by in found.differences.items()},
    )


def tagline(main: Comparison, competitors: Iterable[str]) -> str:
    """The comparison with the baselines in half a sentence."""
    found = {name: verdict(main.gaps[name]) for name in competitors}
    place = PLACES[main.view]
    if not found:
        return "No baseline was asked for, so nothing says whether this is good"
    behind = [model_name(name) for name, each in found.items() if each == "behind"]
    even = [model_name(name) for name, each in found.items() if each == "even"]
    if behind:
        return f"Loses to {listed(behind)} {place}"
    if even:
        return f"Not clearly better than {listed(even)} {place}"
    names = (
        listed(map(model_name, found)) if len(found) <= MANY_COMPETITORS else f"all {len(found)} baselines"
    )
    return f"Beats {names} {place}"


def headline(main: Comparison) -> str:
    """NDCG at the first k with its interval, in a sentence."""
    return (
        f"{metric_name(main.metric)} is {with_interval(main.models[MODEL])} {PLACES[main.view]}, "
        f"over {counted(main.num_users, 'test user')}."
    )


def findings(each: Comparison, competitors: Iterable[str]) -> Findings:
    """Against each baseline, chance, the towers alone and the id-only model; then the way to the oracle."""
    found = [*_against_competitors(each, list(competitors)), *_against_chance(each)]
    found += [*_worth(each, TOWERS, "The ranker"), *_worth(each, ID_ONLY, "Content"), *_way_to_oracle(each)]
    if each.num_users < FEW_USERS:
        found.append(
            Finding(verdict="even", text=f"With {counted(each.num_users, 'user')} none of this is firm")
        )
    return Findings(place=PLACES[each.view], num_users=each.num_users, found=tuple(found))


def _against_competitors(each: Comparison, competitors: list[str]) -> list[Finding]:
    nothing = [name for name in competitors if each.models[name].high == 0]
    found = [_versus(name, each.gaps[name]) for name in competitors if name not in nothing]
    if nothing:
        names, verb = listed(map(model_name, nothing)), "finds" if len(nothing) == 1 else "find"
        gap = each.gaps[nothing[0]]
        # A hit where a competitor has none counts only where our model beats chance.
        beats_chance = "random" not in each.gaps or verdict(each.gaps["random"]) == "ahead"
        found.append(
            Finding(
                verdict=verdict(gap) if beats_chance else "even",
                text=f"{names[0].upper()}{names[1:]} {verb} nothing",
                gap=gap,
            )
        )
    return found


def _versus(name: str, gap: Estimate) -> Finding:
    words: Mapping[Verdict, str] = {
        "ahead": "Better than {}",
        "behind": "Worse than {}",
        "even": "No clear difference to {}",
    }
    return Finding(verdict=verdict(gap), text=words[verdict(gap)].format(model_name(name)), gap=gap)


def _against_chance(each: Comparison) -> list[Finding]:
    """A finding only where our model is not clearly better than chance."""
    gap = each.gaps.get("random")
    return [] if gap is None or verdict(gap) == "ahead" else [_versus("random", gap)]


def _worth(each: Comparison, without: str, what: str) -> list[Finding]:
    gap = each.gaps.get(without)
    if gap is None:
        return []
    words: Mapping[Verdict, str] = {
        "ahead": "{} gains",
        "behind": "{} costs",
        "even": "{} makes no clear difference",
    }
    return [Finding(verdict=verdict(gap), text=words[verdict(gap)].format(what), gap=gap)]


def _way_to_oracle(each: Comparison) -> list[Finding]:
    chance, best = each.models.get("random"), each.models.get("oracle")
    if chance is None or best is None or best.value <= chance.value:
        return []
    share = (each.models[MODEL].value - chance.value) / (best.value - chance.value)
    if share <= 0:
        return []  # said already: not better than chance
    return [Finding(verdict="even", text=f"{share:.0%} of the way from chance to the oracle")]


def audit_words(audits: Mapping[str, Audit]) -> str:
    """The checks of the audits of the evaluated model and of its test, in a sentence."""
    mine = [audits[stage] for stage in ("main", "test") if stage in audits]
    if not mine:
        return "This run was not audited for leaks; train it anew for an audit."
    checked = "; ".join(words for audit in mine for words in audit.checked)
    left = "; ".join(dict.fromkeys(words for audit in mine for words in audit.not_checked))
    return f"Audited for leaks, none found: {checked}." + (f" Not looked at: {left}." if left else "")


def counted(num: int, noun: str) -> str:
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def short(text: str, length: int) -> str:
    """`text` in one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"
