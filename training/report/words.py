"""Number formats of the report, and the findings of the run as sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from features.leakage import Audit
from recsys.metrics import Estimate
from training.evaluation import (
    FEW_USERS,
    ID_ONLY,
    MODEL,
    REFERENCES,
    TOWERS,
    VIEW_PHRASES,
    WITH_VALIDATION,
    Evaluation,
    metric_name,
)

MANY_COMPETITORS = 4  # a sentence names at most this many competitors; of more it gives the number

Verdict = Literal["ahead", "behind", "even"]
Kind = Literal["main", "variant", "competitor", "reference"]

NAMES: Mapping[str, str] = {"als": "ALS", "bpr": "BPR", "random": "chance", "oracle": "the oracle"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding of the test: whether the model is ahead, and the paired difference behind the verdict."""

    verdict: Verdict
    text: str
    gap: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The findings of one view."""

    view: str  # in words, such as "on warm items"
    num_users: int
    found: tuple[Finding, ...]


def model_name(model: str) -> str:
    return NAMES.get(model, model)


def kind_of(model: str) -> Kind:
    """The role of a model: the evaluated model, a variant of it, a competitor, or a reference."""
    if model in REFERENCES:
        return "reference"
    return (
        "main"
        if model == MODEL
        else "variant"
        if model in (TOWERS, ID_ONLY, WITH_VALIDATION)
        else "competitor"
    )


def formatted(value: float) -> str:
    """Four decimals; one decimal from 30 on, where the value is a number of events. The minus sign is U+2212.

    The tables in the terminal round in the same way.
    """
    return (f"{value:,.1f}" if abs(value) >= 30 else f"{value:.4f}").replace("-", "−")


def with_interval(estimate: Estimate) -> str:
    return (
        f"{formatted(estimate.value)} (95% interval {formatted(estimate.low)} to {formatted(estimate.high)})"
    )


def verdict(gap: Estimate) -> Verdict:
    """Ahead or behind only where the interval of the difference does not contain 0."""
    return "ahead" if gap.low > 0 else "behind" if gap.high < 0 else "even"


def main_view(evaluation: Evaluation) -> str:
    """The view of the headline: warm items, or cold items where the test holds no others."""
    return next((name for name in ("warm", "cold_full") if evaluation.views[name].num_users), "warm")


def baselines(evaluation: Evaluation, view: str, metric: str) -> list[str]:
    """The competitors in `view`, by falling `metric`."""
    models = evaluation.views[view].models
    competitors = [name for name in models if kind_of(name) == "competitor"]
    return sorted(competitors, key=lambda name: -models[name][metric].value)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The model against every other model in one view, paired by user."""

    view: str
    metric: str
    num_users: int
    models: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]  # other model -> the metric of recsys minus the metric of the other model


def compare(evaluation: Evaluation, view: str) -> Comparison | None:
    """The first NDCG of every model in `view`; None where the view has no user."""
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
    """The comparison with the baselines as a clause without a full stop."""
    found = {name: verdict(main.gaps[name]) for name in competitors}
    view = VIEW_PHRASES[main.view]
    if not found:
        return "No baseline was evaluated, so there is nothing to compare with"
    behind = [model_name(name) for name, each in found.items() if each == "behind"]
    even = [model_name(name) for name, each in found.items() if each == "even"]
    if behind:
        return f"Worse than {listed(behind)} {view}"
    if even:
        return f"Not clearly better than {listed(even)} {view}"
    names = (
        listed(map(model_name, found)) if len(found) <= MANY_COMPETITORS else f"all {len(found)} baselines"
    )
    return f"Better than {names} {view}"


def headline(main: Comparison) -> str:
    """NDCG at the first k with its interval, in a sentence."""
    return (
        f"{metric_name(main.metric)} is {with_interval(main.models[MODEL])} {VIEW_PHRASES[main.view]}, "
        f"over {counted(main.num_users, 'test user')}."
    )


def findings(each: Comparison, competitors: Iterable[str]) -> Findings:
    """Findings against each baseline, chance, the towers alone, the id-only model and the oracle."""
    found = [*_against_competitors(each, list(competitors)), *_against_chance(each)]
    found += [*_gain_of(each, TOWERS, "The ranker"), *_gain_of(each, ID_ONLY, "Content")]
    found += _share_of_oracle(each)
    if each.num_users < FEW_USERS:
        found.append(
            Finding(
                verdict="even",
                text=f"With only {counted(each.num_users, 'user')} none of these differences is reliable",
            )
        )
    return Findings(view=VIEW_PHRASES[each.view], num_users=each.num_users, found=tuple(found))


def _against_competitors(each: Comparison, competitors: list[str]) -> list[Finding]:
    without_hits = [name for name in competitors if each.models[name].high == 0]
    found = [_versus(name, each.gaps[name]) for name in competitors if name not in without_hits]
    if without_hits:
        names, verb = listed(map(model_name, without_hits)), "has" if len(without_hits) == 1 else "have"
        gap = each.gaps[without_hits[0]]
        # A hit that a competitor lacks counts only where the model is better than chance.
        beats_chance = "random" not in each.gaps or verdict(each.gaps["random"]) == "ahead"
        found.append(
            Finding(
                verdict=verdict(gap) if beats_chance else "even",
                text=f"{names[0].upper()}{names[1:]} {verb} no hit",
                gap=gap,
            )
        )
    return found


def _versus(name: str, gap: Estimate) -> Finding:
    words: Mapping[Verdict, str] = {
        "ahead": "Better than {}",
        "behind": "Worse than {}",
        "even": "No clear difference from {}",
    }
    return Finding(verdict=verdict(gap), text=words[verdict(gap)].format(model_name(name)), gap=gap)


def _against_chance(each: Comparison) -> list[Finding]:
    """One finding where the model is not clearly better than chance, else none."""
    gap = each.gaps.get("random")
    return [] if gap is None or verdict(gap) == "ahead" else [_versus("random", gap)]


def _gain_of(each: Comparison, without: str, part: str) -> list[Finding]:
    """The finding on a `part` of the model, from the model `without` it; none where that is not measured."""
    gap = each.gaps.get(without)
    if gap is None:
        return []
    words: Mapping[Verdict, str] = {
        "ahead": "{} improves the result",
        "behind": "{} worsens the result",
        "even": "{} makes no clear difference",
    }
    return [Finding(verdict=verdict(gap), text=words[verdict(gap)].format(part), gap=gap)]


def _share_of_oracle(each: Comparison) -> list[Finding]:
    """(model - chance) / (oracle - chance) in percent; none without an oracle or at most at chance."""
    chance, best = each.models.get("random"), each.models.get("oracle")
    if chance is None or best is None or best.value <= chance.value:
        return []
    share = (each.models[MODEL].value - chance.value) / (best.value - chance.value)
    if share <= 0:
        return []  # `_against_chance` has the finding
    return [Finding(verdict="even", text=f"{share:.0%} of the distance from chance to the oracle")]


def audit_words(audits: Mapping[str, Audit]) -> str:
    """The checks of the audits of the evaluated model and of its test, in a sentence."""
    found = [audits[stage] for stage in ("main", "test") if stage in audits]
    if not found:
        return "This run was not audited for leaks; train it again for an audit."
    checked = "; ".join(words for audit in found for words in audit.checked)
    left = "; ".join(dict.fromkeys(words for audit in found for words in audit.not_checked))
    return f"Audited for leaks, none found: {checked}." + (f" Not checked: {left}." if left else "")


def counted(num: int, noun: str) -> str:
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def listed(names: Iterable[str]) -> str:
    """The names as "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def short(text: str, length: int) -> str:
    """`text` in one line of at most `length` characters, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"
