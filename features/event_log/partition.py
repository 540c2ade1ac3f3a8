"""First step of the preparation: raw rows to validated, encoded events, partitioned by user.

parts/part-000007.parquet       events of one part of the log, sorted by partition
parts/part-000007.npy           row at which each partition starts in that file, then its number of rows
parts/rejected-000007.parquet   rejected values of that part, if there are any
state.json                      `PartitionState`: an interrupted run continues from here
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.dataset import (
    SCHEMA,
    InteractionsSpec,
    KnownIds,
    RawTable,
    check_interactions,
    named_files,
    nothing_left,
)
from features.event_log.chunk_checker import ChunkChecker, ColumnStatistics, StatisticsChanged
from features.event_log.source import LogSource
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.files import replace_text
from recsys.history import EVENT_NUMBERS
from recsys.ids import NUM_RESERVED
from recsys.progress import Progress

PARTITION = "partition"
_ROW_GROUP = 16_384
PARTS = "parts"
STATE = "state.json"


@dataclass(kw_only=True)
class PartitionState:
    """Progress of the preparation, stored as JSON. An interrupted preparation continues from it."""

    fingerprint: dict[str, Any]
    num_partitions: int
    statistics: ColumnStatistics = field(default_factory=ColumnStatistics)
    problems: list[str] = field(default_factory=list)  # of the first part that had any
    num_rows: int = 0  # raw rows that have been read
    num_events: int = 0  # kept rows
    num_parts: int = 0
    heights: dict[int, int] = field(default_factory=dict)  # rows of the files that have been read
    kinds: list[str] = field(default_factory=list)  # by first appearance
    reasons: list[dict[str, Any]] = field(default_factory=list)
    is_done: bool = False

    @classmethod
    def load(cls, work: Path, fingerprint: dict[str, Any], num_partitions: int) -> "PartitionState":
        """The state in `work` if its fingerprint is the same, else a new state and an empty directory."""
        try:
            values = json.loads((work / STATE).read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            values = {}
        if values.get("fingerprint") != fingerprint:
            return cls(fingerprint=fingerprint, num_partitions=num_partitions).begin(work)
        heights = {int(at): height for at, height in values["heights"].items()}
        return cls(
            **values | {"statistics": ColumnStatistics.restore(values["statistics"]), "heights": heights}
        )

    def begin(self, work: Path) -> "PartitionState":
        """The state itself, after `work` was emptied and the state saved in it."""
        shutil.rmtree(work, ignore_errors=True)
        (work / PARTS).mkdir(parents=True)
        self.save(work)
        return self

    def again(self) -> "PartitionState":
        """A state in which no part has been read, with the statistics that decide how values are cast."""
        return PartitionState(
            fingerprint=self.fingerprint,
            num_partitions=self.num_partitions,
            statistics=self.statistics.casting_decisions(),
        )

    def save(self, work: Path) -> None:
        replace_text(work / STATE, json.dumps(vars(self) | {"statistics": self.statistics.as_dict()}))


def write_partitions(
    source: LogSource,
    spec: InteractionsSpec,
    items: pl.Series,
    work: Path,
    state: PartitionState,
    *,
    part_rows: int,
    estimate: int,
    progress: Progress,
) -> PartitionState:
    """Read the remaining rows in parts, and write events and rejected values; returns the final state.

    Raises `DataError` with every problem of the table.
    """
    item_ids = pl.DataFrame(
        {Columns.ITEM: items, "id": pl.int_range(NUM_RESERVED, len(items) + NUM_RESERVED, eager=True)},
        schema_overrides={"id": pl.UInt32},
    )
    known = KnownIds(items)
    while not state.is_done:
        try:
            for raw in source.parts(part_rows, skip=state.num_rows, known=state.heights):
                _write_part(raw, spec, item_ids, known, work, state)
                progress("prepare log", state.num_rows, max(estimate, state.num_rows), _note(state))
            state.is_done = True
        except StatisticsChanged:
            state = state.again().begin(work)
    _refuse_problems(source.files, spec, state)
    state.save(work)
    return state


def partition_frame(work: Path, num_parts: int, partition: int) -> pl.DataFrame:
    """All events of one partition, in the order of the log."""
    scans = []
    for part in range(num_parts):
        start, end = np.load(work / PARTS / f"part-{part:06}.npy")[partition : partition + 2].tolist()
        if end > start:
            path = work / PARTS / f"part-{part:06}.parquet"
            scans.append(pl.scan_parquet(path, glob=False).slice(start, end - start))
    return pl.concat(scans).collect() if scans else pl.DataFrame(schema=_SCHEMA)


_SCHEMA = {
    Columns.USER: pl.String,
    Columns.ITEM: pl.UInt32,
    Columns.TIMESTAMP: pl.Int64,
    Columns.EVENT: pl.UInt32,
    **dict.fromkeys(EVENT_NUMBERS, pl.Float32),
    Columns.POSITIVE: pl.Boolean,
    Columns.ROW: pl.Int64,
}


def _write_part(
    raw: RawTable,
    spec: InteractionsSpec,
    item_ids: pl.DataFrame,
    known: KnownIds,
    work: Path,
    state: PartitionState,
) -> None:
    table = ChunkChecker(raw, state.statistics)
    events = table.finish(check_interactions(table, spec, known))
    state.num_rows = raw.offset + raw.frame.height
    state.num_events += events.height
    if not state.problems and table.problems:
        state.problems = table.problems
        if state.statistics.are_final():
            _refuse_problems(raw.files, spec, state)
    if state.problems:
        return  # later parts are read, not written: they may change the types of columns
    events = events.join(item_ids, on=Columns.ITEM, how="left", maintain_order="left")
    encoded = events.with_columns(
        pl.col("id").alias(Columns.ITEM),
        _kind_codes(events[Columns.EVENT], state.kinds).alias(Columns.EVENT),
        pl.col(EVENT_NUMBERS).cast(pl.Float32),
        (pl.col(Columns.USER).hash(seed=0) % state.num_partitions).cast(pl.UInt32).alias(PARTITION),
    ).sort(PARTITION, maintain_order=True)
    counts = np.bincount(encoded[PARTITION].to_numpy(), minlength=state.num_partitions)
    stem = work / PARTS / f"part-{state.num_parts:06}"
    np.save(stem.with_suffix(".npy"), np.concatenate([[0], np.cumsum(counts)]))
    encoded.select(list(_SCHEMA)).write_parquet(
        stem.with_suffix(".parquet"), compression="lz4", row_group_size=_ROW_GROUP
    )
    rejected = table.rejected_values()
    if rejected.height:
        rejected.write_parquet(work / PARTS / f"rejected-{state.num_parts:06}.parquet")
        _count_reasons(rejected, state.reasons)
    state.num_parts += 1
    state.save(work)


def _kind_codes(kinds: pl.Series, known: list[str]) -> pl.Series:
    """Positions of `kinds` in `known`. New kinds are appended to `known`."""
    before = set(known)
    known += [kind for kind in kinds.unique(maintain_order=True) if kind not in before]
    table = pl.DataFrame({"kind": pl.Series(known, dtype=pl.String)}).with_row_index("code")
    frame = kinds.alias("kind").to_frame()
    return frame.join(table, on="kind", how="left", maintain_order="left")["code"].cast(pl.UInt32)


def _count_reasons(rejected: pl.DataFrame, reasons: list[dict[str, Any]]) -> None:
    """Add the counts of `rejected` to `reasons`, a result of `features.dataset.count_reasons`."""
    keys = ["table", "column", "reason"]
    example = pl.struct(list(SCHEMA)).first().alias("example")
    found = rejected.group_by(keys, maintain_order=True).agg(pl.len(), example)
    known = {tuple(entry[key] for key in keys): entry for entry in reasons}
    for row in found.iter_rows(named=True):
        entry = known.get(tuple(row[key] for key in keys))
        if entry is None:
            reasons.append(
                {**{key: row[key] for key in keys}, "count": row["len"], "example": row["example"]}
            )
        else:
            entry["count"] += row["len"]


def _refuse_problems(files: Sequence[str], spec: InteractionsSpec, state: PartitionState) -> None:
    if not state.num_rows:
        raise DataError(
            "the interactions are empty", [f"[interactions] {spec.path}: no rows under the header"]
        )
    problems = [*state.problems, *state.statistics.problems(files, spec.time)]
    if not state.num_events and not problems:
        problems = [f"[interactions] {named_files(files)}: {nothing_left(state.reasons)}"]
    if problems:
        raise DataError("the interactions break the dataset contract", problems)


def _note(state: PartitionState) -> str:
    num_rejected = state.num_rows - state.num_events
    return f"{num_rejected:,} rows rejected" if num_rejected else ""
