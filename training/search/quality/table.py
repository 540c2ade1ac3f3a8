"""A `SearchEvaluation` as tables for the terminal."""

from collections.abc import Iterator

from rich.table import Table

from recsys.metrics import Estimate
from training.search.quality.results import DENSE, HYBRID, LEXICAL, MAIN_METRIC, PERSONAL, SearchEvaluation

_ORDER = (LEXICAL, DENSE, HYBRID, PERSONAL)


def metric_label(metric: str) -> str:
    """ "ndcg@10" as "NDCG@10", "recall@10" as "Recall@10"."""
    name, at, k = metric.partition("@")
    return f"{name.upper() if name in ('ndcg', 'mrr') else name.capitalize()}{at}{k}"


def interval(estimate: Estimate | None, *, signed: bool = False) -> str:
    """ "0.123 [0.100, 0.140]"; a dash without a value."""
    if estimate is None or estimate.value != estimate.value:
        return "—"
    form = "+.4f" if signed else ".4f"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def ordered_systems(evaluation: SearchEvaluation) -> list[str]:
    """The single vector legs, then words, all vectors, and the hybrids."""
    legs = [name for name in evaluation.systems if name not in _ORDER]
    return [*legs, *(name for name in _ORDER if name in evaluation.systems)]


def search_tables(evaluation: SearchEvaluation, *, intervals: bool = True) -> Iterator[Table]:
    """Accuracy of every system, then relevance, cross-modal recall and latency where they were measured."""
    yield _accuracy(evaluation, intervals)
    if evaluation.endings is not None:
        yield _relevance(evaluation)
    if evaluation.cross_modal:
        yield _cross_modal(evaluation)
    if evaluation.milliseconds:
        table = Table("stage", title="Milliseconds of a search")
        for name in ("median", "95%"):
            table.add_column(name, justify="right")
        for stage, each in evaluation.milliseconds.items():
            table.add_row(stage, f"{each.median:.1f}", f"{each.p95:.1f}")
        yield table


def _accuracy(evaluation: SearchEvaluation, intervals: bool) -> Table:
    counted = f"{evaluation.num_queries:,} queries"
    if evaluation.num_clusters < evaluation.num_queries - evaluation.num_unanswerable:
        counted += f" of {evaluation.num_clusters:,} users"
    table = Table("system", title=f"Search: {counted}", caption=evaluation.description or None)
    table.caption_justify = "left"
    systems = ordered_systems(evaluation)
    metrics = list(next(iter(evaluation.systems.values()), {}))
    for metric in metrics:
        table.add_column(metric_label(metric), justify="right")
    table.add_column(f"hybrid minus it, {metric_label(MAIN_METRIC)}", justify="right")
    for system in systems:
        values = evaluation.systems[system]
        cells = [
            interval(values[metric]) if intervals else f"{values[metric].value:.4f}" for metric in metrics
        ]
        table.add_row(system, *cells, _difference(evaluation, system))
    return table


def _difference(evaluation: SearchEvaluation, system: str) -> str:
    if system == PERSONAL:
        return f"personal minus hybrid {interval(evaluation.personal[MAIN_METRIC], signed=True)}"
    if system == HYBRID:
        return ""
    best = " (best leg)" if system == evaluation.best_leg else ""
    return interval(evaluation.differences[system][MAIN_METRIC], signed=True) + best


def _relevance(evaluation: SearchEvaluation) -> Table:
    endings, reliability = evaluation.endings, evaluation.reliability
    assert endings is not None, "asked for where lists end"
    table = Table("relevance", title="Relevance of the first ten hits, and where lists end")
    for name in ("hits", "mean", "share judged relevant"):
        table.add_column(name, justify="right")
    for each in reliability.bins if reliability else ():
        table.add_row(
            f"{each.low:.1f} to {each.high:.1f}",
            f"{each.num_hits:,}",
            f"{each.mean_relevance:.3f}",
            f"{each.share_relevant:.3f}",
        )
    table.caption = (
        (f"Expected calibration error {reliability.error:.3f}. " if reliability else "")
        + f"Lists end below a relevance of {endings.min_relevance:.3f}. Of the answerable queries "
        f"{interval(endings.share_found)} have a relevant item in the first ten, "
        f"{interval(endings.share_empty)} none at all; mean length {endings.mean_length:.1f}. Of the "
        f"{evaluation.num_unanswerable} others {interval(endings.share_answered_wrongly)} have any."
    )
    table.caption_justify = "left"
    return table


def _cross_modal(evaluation: SearchEvaluation) -> Table:
    names = [name for name in evaluation.cross_modal[0] if name not in ("query", "item")]
    table = Table("query", "item", title="Search between modalities, on items held out of the alignment")
    for name in names:
        table.add_column(name, justify="right")
    for row in evaluation.cross_modal:
        values = [row[name] for name in names]
        table.add_row(
            row["query"],
            row["item"],
            *(f"{value:.3f}" if isinstance(value, float) else f"{value:,}" for value in values),
        )
    return table
