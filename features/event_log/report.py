"""The report that `recsys check` and `recsys prepare` print of a dataset, in memory or on disk."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from features.dataset import (
    Dataset,
    Rejected,
    count_reasons,
    index_command,
    summarise,
    summary_in_words,
    write_rejected,
)
from features.event_log.dataset import load_streamed
from recsys.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    name: str
    summary: dict[str, Any]  # `summary_in_words`
    reasons: list[dict[str, Any]]  # `count_reasons` of all rejected rows
    messages: list[str]  # files that were written
    warnings: list[str] = field(default_factory=list)  # `Dataset.warnings`


def check_dataset(dataset: Dataset, *, rejected: Path | None = None) -> DatasetReport:
    """The report of a dataset. Its rejected rows are written to `rejected`, a .csv or .parquet file.

    Rejected rows of an event log are written to a second file beside it, since they may not fit in memory.
    """
    summary = summarise(dataset)
    reasons = summary.pop("rejected")
    messages = [] if dataset.has_interactions else [_use_without_interactions(dataset)]
    if rejected is not None:
        number = write_rejected(dataset.rejected, rejected)
        messages.append(f"{number:,} rows rejected, with reasons, in {rejected}")
        beside = rejected.with_stem(f"{rejected.stem}_interactions")
        if dataset.write_rejected_interactions(beside):
            messages.append(f"rejected interactions, with reasons, in {beside}")
    return DatasetReport(
        name=dataset.name,
        summary=summary_in_words(summary),
        reasons=reasons,
        messages=messages,
        warnings=list(dataset.warnings),
    )


def _use_without_interactions(dataset: Dataset) -> str:
    """What a dataset without interactions can be used for, and the command."""
    return (
        "It has no [interactions]: its items can be searched and compared, in the same order for everyone:  "
        f"{index_command(dataset.root)}   Recommendations, and an order that suits the person who asks, need "
        "a table of events in [interactions]"
    )


def prepare_dataset(root: Path, out: Path, *, progress: Progress = silent) -> DatasetReport:
    """Build the event log of the dataset in `root` in `out`; returns the report."""
    dataset = load_streamed(root, out, progress=progress)
    report = check_dataset(dataset)
    manifest = dataset.log.manifest
    message = (
        f"{manifest.num_events:,} events of {manifest.num_users:,} users in {out}; "
        f"{manifest.num_rows - manifest.num_events:,} rows are in its rejected.parquet."
    )
    return replace(report, messages=[message])


def all_reasons(dataset: Dataset, more: tuple[Rejected, ...] = ()) -> list[dict[str, Any]]:
    """Counts by reason of all rejected rows of the dataset, and of `more`."""
    return [*count_reasons((*dataset.rejected, *more)), *dataset.event_summary().reasons]
