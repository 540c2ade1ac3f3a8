"""What the data are: how many, how skewed, how long, since when, with which media, and what was left out."""

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

MAX_BARS = 60
LONG_HISTORY, MAX_CLASSES = 100, 16
LORENZ_POINTS = 100
MAX_REASONS = 25
PERIODS: Mapping[str, tuple[str, str]] = {  # finest first: how it is called, how one is written
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
class LeftOut:
    """Rows or media rejected for one reason, with one of them."""

    where: str
    reason: str
    count: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    counts: Mapping[str, str]
    charts: tuple[Chart, ...]
    coverage: tuple[Coverage, ...]
    left_out: tuple[LeftOut, ...]  # the most frequent reasons
    num_left_out: int
    num_reasons: int
    has_clock: bool
    kinds: str  # kinds of event, with their numbers


def facts(dataset: Dataset, coverage: Mapping[str, int], rejected: Path) -> Facts:
    """The dataset in figures; `coverage` counts the items that have each modality."""
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
    return Facts(
        counts=counts,
        charts=tuple(charts),
        coverage=_coverage(coverage, dataset.items.height),
        left_out=tuple(_left_out(reason) for reason in reasons[:MAX_REASONS]),
        num_left_out=sum(reason["count"] for reason in reasons),
        num_reasons=len(reasons),
        has_clock=dataset.has_clock,
        kinds=", ".join(f"{name} {num:,}" for name, num in summary["events"].items()),
    )


def gini(counts: npt.NDArray[np.int64]) -> float:
    """0 where all have as many, towards 1 where one has all (Gini 1912, the discrete form)."""
    ordered, num = np.sort(counts).astype(np.float64), len(counts)
    if not num or not ordered.sum():
        return 0.0
    return float(2 * (np.arange(1, num + 1) @ ordered) / (num * ordered.sum()) - (num + 1) / num)


def popularity_chart(dataset: Dataset) -> Chart:
    """The Lorenz curve of events over items, the most popular first."""
    events = dataset.event_summary().by_item
    joined = dataset.items.select(Columns.ITEM).join(events, on=Columns.ITEM, how="left")
    counts = joined["len"].fill_null(0).cast(pl.Int64).to_numpy()
    held = np.concatenate([[0], np.cumsum(np.sort(counts)[::-1])]) / max(int(counts.sum()), 1)
    at = np.unique(np.linspace(0, len(counts), LORENZ_POINTS).round().astype(int))
    top = float(held[-(-len(counts) // 5)])
    words = f"The most popular fifth of the items holds {top:.0%} of the events; Gini {gini(counts):.2f}."
    return line_chart(
        [
            Series(name="events", kind="ours", x=(at / max(len(counts), 1)).tolist(), y=held[at].tolist()),
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
    """Users by their number of events: in classes of one width, or where histories are long, of doubled."""
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
    """Where classes of whole numbers from `low` to `high` begin, and where the last ends (exclusive)."""
    if high < LONG_HISTORY:
        step = next(step for step in (1, 2, 5, 10) if (high - low) // step < MAX_CLASSES)
        first = low // step * step
        return list(range(first, high + step + 1, step))[: (high - first) // step + 2]
    return [2**at for at in range(low.bit_length() - 1, high.bit_length() + 1)]


def time_chart(dataset: Dataset) -> Chart:
    """Events by hour, day, week, ... century: the finest of which there are not too many."""
    times = dataset.event_times().cast(pl.Datetime("us"))
    every, bins = next((every, bins) for every in PERIODS if (bins := _bins(times, every)) is not None)
    name, written = PERIODS[every]
    labels = bins["time"].dt.to_string(written).to_list()
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
    """Events of each period between the first and the last, None where that is too many periods."""
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
    """One sentence, empty without any."""
    if not quality:
        return ""
    names = {"text": "their words", "voice": "their voices", "both": "both together"}
    said = [f"{names[name]} {each.correlation:.2f}" for name, each in quality.items()]
    most = max(each.num_rated for each in quality.values())
    return (
        f"Ratings predicted from reviews, of held-out items: correlation by {', by '.join(said)} "
        f"({most:,} rated reviews; each rating minus its author's mean)."
    )


def _read_rejected(path: Path, root: Path) -> list[Rejected]:
    """The entries, with paths relative to the dataset: a report names no folder of the machine."""
    frame = pl.read_csv(path, schema=SCHEMA, glob=False)
    entries = []
    for values in frame.iter_rows(named=True):
        value, reason = (relative(values[name] or "", root) for name in ("value", "reason"))
        values |= {"value": value, "reason": reason.removeprefix(f"{value}: ")}
        entries.append(Rejected(**values))
    return entries


def relative(text: str, root: Path) -> str:
    """`text` with every path below `root` written as seen from there."""
    for folder in dict.fromkeys((str(root.resolve()), str(root.absolute()), str(root))):
        if len(folder) > 1:
            text = text.replace(f"{folder}/", "")
    return text


def _left_out(reason: Mapping[str, object]) -> LeftOut:
    example = reason["example"]
    assert isinstance(example, Mapping)
    value = f": {short(str(example['value']), 60)!r}" if example["value"] else ""
    return LeftOut(
        where=f"{reason['table']}, {reason['column']}",
        reason=short(str(reason["reason"]), 200),
        count=int(str(reason["count"])),
        example=f"{example['path']}, row {example['row']}{value}",
    )
