"""The report that `recsys check` and `recsys prepare` print of a dataset, in memory or on disk."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from features.dataset import Dataset, Rejected, count_reasons, summarise, summary_in_words, write_rejected
from features.event_log.dataset import load_streamed
from recsys.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    name: str
    summary: dict[str, Any]  # `summary_in_words`
    reasons: list[dict[str, Any]]  # what was rejected, counted
    messages: list[str]  # what was written where
    warnings: list[str] = field(default_factory=list)  # what may be meant otherwise than it was read


def check_dataset(dataset: Dataset, *, rejected: Path | None = None) -> DatasetReport:
    """What is in the dataset; what was rejected is written to `rejected`, .csv or .parquet.

    The rows of an event log go to a file beside it, since they can be more than memory holds.
    """
    summary = summarise(dataset)
    reasons = summary.pop("rejected")
    messages = []
    if rejected is not None:
        number = write_rejected(dataset.rejected, rejected)
        messages.append(f"{number:,} rows rejected, with reasons, in {rejected}")
        beside = rejected.with_stem(f"{rejected.stem}_interactions")
        if dataset.write_rejected_interactions(beside):
            messages.append(f"the interactions among what was rejected, with reasons, in {beside}")
    return DatasetReport(
        name=dataset.name,
        summary=summary_in_words(summary),
        reasons=reasons,
        messages=messages,
        warnings=list(dataset.warnings),
    )


def prepare_dataset(root: Path, out: Path, *, progress: Progress = silent) -> DatasetReport:
    """Prepare the log of the dataset in `root` in `out`."""
    dataset = load_streamed(root, out, progress=progress)
    report = check_dataset(dataset)
    manifest = dataset.log.manifest
    message = (
        f"{manifest.num_events:,} events of {manifest.num_users:,} users in {out}; "
        f"{manifest.num_rows - manifest.num_events:,} rows are in its rejected.parquet."
    )
    return replace(report, messages=[message])


def all_reasons(dataset: Dataset, more: tuple[Rejected, ...] = ()) -> list[dict[str, Any]]:
    """Everything of the dataset that was rejected, and `more`, counted."""
    return [*count_reasons((*dataset.rejected, *more)), *dataset.event_summary().reasons]
