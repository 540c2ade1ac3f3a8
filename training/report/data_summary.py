"""The dataset in numbers and charts: counts, popularity, times, coverage, rejected rows and media."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import SCHEMA, Dataset, Rejected, count_reasons, summarise
from features.inputs import Quality
from recsys.columns import Columns
from recsys.modalities import BY_NAME
from training.report.charts import Chart, Series, bar_chart, line_chart
from training.report.words import short

MAX_BARS = 60  # of the chart over time
# Histories up to this length are counted in classes of one width, longer ones in classes that double.
LONG_HISTORY, MAX_CLASSES = 100, 16
LORENZ_POINTS = 100  # of the popularity curve
MAX_REASONS = 25  # for rejection that the report lists, the most frequent ones
PERIODS: Mapping[str, tuple[str, str]] = {  # finest first: polars duration -> name, and format of one period
    "1h": ("hour", "%d %H h"),
    "1d": ("day", "%d %b"),
    "1w": ("week", "%d %b"),
    "1mo": ("month", "%Y-%m"),
    "1q": ("quarter", "%Y-%m"),
    "1y": ("year", "%Y"),
    "10y": ("decade", "%Y"),
    "100y": ("century", "%Y"),
}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    name: str
    num: int
    share: float


@dataclass(frozen=True, kw_only=True)
class RejectedRows:
    """The number of rows or media that were rejected for one reason, and one of them."""

    where: str
    reason: str
    count: int
    example: str


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    counts: Mapping[str, str]
    charts: tuple[Chart, ...]
    coverage: tuple[Coverage, ...]
    rejected: tuple[RejectedRows, ...]  # by the most frequent reasons
    num_rejected: int  # for all reasons
    num_reasons: int
    has_clock: bool
    kinds: str  # "view 120, cart 30"


def data_summary(dataset: Dataset, coverage: Mapping[str, int], rejected: Path) -> DataSummary:
    """The summary of `dataset`. `coverage` is modality -> number of items; `rejected` is rejected.csv."""
    events = dataset.event_summary()
    summary = summarise(dataset)
    counts = {name: f"{num:,}" for name, num in summary["counts"].items()}
    counts["positive events"] = f"{summary['positive_share']:.1%}"
    if dataset.has_clock:
        counts["from"], counts["to"] = (str(summary["time"][end])[:10] for end in ("first", "last"))
    entries = _read_rejected(rejected, dataset.root)
    reasons = sorted([*count_reasons(entries), *events.reasons], key=lambda reason: -reason["count"])
    charts = [popularity_chart(dataset), history_chart(dataset)]
    if dataset.has_clock:
        charts.append(time_chart(dataset))
    return DataSummary(
        counts=counts,
        charts=tuple(charts),
        coverage=_coverage(coverage, dataset.items.height),
        rejected=tuple(_rejected_rows(reason) for reason in reasons[:MAX_REASONS]),
        num_rejected=sum(reason["count"] for reason in reasons),
        num_reasons=len(reasons),
        has_clock=dataset.has_clock,
        kinds=", ".join(f"{name} {num:,}" for name, num in summary["events"].items()),
    )


def gini(counts: npt.NDArray[np.int64]) -> float:
    """Gini coefficient (Gini 1912, discrete form): 0 if all counts are equal, near 1 if one has all."""
    ordered, num = np.sort(counts).astype(np.float64), len(counts)
    if not num or not ordered.sum():
        return 0.0
    return float(2 * (np.arange(1, num + 1) @ ordered) / (num * ordered.sum()) - (num + 1) / num)


def popularity_chart(dataset: Dataset) -> Chart:
    """Share of the events over share of the items, the most popular items first (a Lorenz curve)."""
    events = dataset.event_summary().by_item
    joined = dataset.items.select(Columns.ITEM).join(events, on=Columns.ITEM, how="left")
    counts = joined["len"].fill_null(0).cast(pl.Int64).to_numpy()
    held = np.concatenate([[0], np.cumsum(np.sort(counts)[::-1])]) / max(int(counts.sum()), 1)
    at = np.unique(np.linspace(0, len(counts), LORENZ_POINTS).round().astype(int))
    top = float(held[-(-len(counts) // 5)])
    words = f"The most popular fifth of the items holds {top:.0%} of the events; Gini {gini(counts):.2f}."
    return line_chart(
        [
            Series(name="events", kind="main", x=(at / max(len(counts), 1)).tolist(), y=held[at].tolist()),
            Series(name="if equal", kind="reference", x=[0.0, 1.0], y=[0.0, 1.0]),
        ],
        title="Popularity of items",
        description=words,
        note=words,
        x_label="share of items, most popular first",
        y_label="share of events",
        percent=True,
    )


def history_chart(dataset: Dataset) -> Chart:
    """Users by their number of events, in the classes of `class_edges`."""
    lengths = dataset.history_lengths()
    edges = class_edges(int(lengths.min()), int(lengths.max()))
    held, _ = np.histogram(lengths, edges)
    names = [f"{low}" if high - low == 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)]
    words = (
        f"Half of the users have at most {np.median(lengths):,.0f} events, "
        f"one in ten has {np.quantile(lengths, 0.9):,.0f} or more."
    )
    return bar_chart(
        list(zip(names, map(float, held), strict=True)),
        title="Length of histories",
        description=words,
        note=words,
        x_label="events of a user",
        y_label="users",
    )


def class_edges(low: int, high: int) -> list[int]:
    """The first number of each class of numbers from `low` to `high`, then the end (exclusive)."""
    if high < LONG_HISTORY:
        step = next(step for step in (1, 2, 5, 10) if (high - low) // step < MAX_CLASSES)
        first = low // step * step
        return list(range(first, high + step + 1, step))[: (high - first) // step + 2]
    return [2**at for at in range(low.bit_length() - 1, high.bit_length() + 1)]


def time_chart(dataset: Dataset) -> Chart:
    """Events by hour, day, week, ... century: the shortest period with at most `MAX_BARS` bars."""
    times = dataset.event_times().cast(pl.Datetime("us"))
    every, bins = next((every, bins) for every in PERIODS if (bins := _bins(times, every)) is not None)
    name, format_ = PERIODS[every]
    labels = bins["time"].dt.to_string(format_).to_list()
    bars = list(zip(labels, map(float, bins["len"]), strict=True))
    busiest = max(bars, key=lambda bar: bar[1])
    words = f"The busiest {name}, from {busiest[0]} on, has {busiest[1]:,.0f} events."
    return bar_chart(
        bars,
        title=f"Events by {name}",
        description=words,
        note=words,
        x_label=name,
        y_label="events",
    )


def _bins(times: pl.Series, every: str) -> pl.DataFrame | None:
    """Number of events in each period from the first event to the last; None for too many periods."""
    starts = times.dt.truncate(every).alias("time")
    counted = starts.to_frame().group_by("time").len()
    if counted.height > MAX_BARS:
        return None
    first, last = pl.lit(starts.min()), pl.lit(starts.max())
    all_ = pl.select(pl.datetime_range(first, last, every).alias("time"))
    if all_.height > MAX_BARS and every != list(PERIODS)[-1]:
        return None
    return all_.join(counted, on="time", how="left", maintain_order="left").fill_null(0)


def _plural(modality: str) -> str:
    known = BY_NAME.get(modality)
    return known.plural if known else modality.replace("_", " ")


def _coverage(coverage: Mapping[str, int], num_items: int) -> tuple[Coverage, ...]:
    return tuple(
        Coverage(name=_plural(name), num=num, share=num / max(num_items, 1)) for name, num in coverage.items()
    )


def sentiment_words(quality: Mapping[str, Quality]) -> str:
    """How well ratings are predicted from reviews, in one sentence; empty where no review has a rating."""
    if not quality:
        return ""
    names = {"text": "text", "voice": "voice", "both": "both together"}
    correlations = [f"{names[name]} {each.correlation:.2f}" for name, each in quality.items()]
    most = max(each.num_rated for each in quality.values())
    return (
        f"Ratings predicted from reviews, correlation with the true ratings of held-out items: "
        f"{', '.join(correlations)} ({most:,} rated reviews; each rating minus its author's mean)."
    )


def _read_rejected(path: Path, root: Path) -> list[Rejected]:
    """The entries with paths relative to the dataset: the report must not name folders of the machine."""
    frame = pl.read_csv(path, schema=SCHEMA, glob=False)
    entries = []
    for values in frame.iter_rows(named=True):
        value, reason = (relative(values[name] or "", root) for name in ("value", "reason"))
        values |= {"value": value, "reason": reason.removeprefix(f"{value}: ")}
        entries.append(Rejected(**values))
    return entries


def relative(text: str, root: Path) -> str:
    """`text` with every path below `root` made relative to `root`."""
    for folder in dict.fromkeys((str(root.resolve()), str(root.absolute()), str(root))):
        if len(folder) > 1:
            text = text.replace(f"{folder}/", "")
    return text


def _rejected_rows(reason: Mapping[str, object]) -> RejectedRows:
    example = reason["example"]
    assert isinstance(example, Mapping)
    value = f": {short(str(example['value']), 60)!r}" if example["value"] else ""
    return RejectedRows(
        where=f"{reason['table']}, {reason['column']}",
        reason=short(str(reason["reason"]), 200),
        count=int(str(reason["count"])),
        example=f"{example['path']}, row {example['row']}{value}",
    )
