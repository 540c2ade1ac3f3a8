"""The interactions of a dataset to an `EventLog`, in memory that does not grow with the number of events.

Raw rows are read in parts, checked as in `load_dataset`, and written to partitions of users
(features/event_log/partition.py). Then each partition is sorted and written as arrays. The table of items,
the ids of the users, one part of the log and one partition must fit in memory.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.dataset import SCHEMA, InteractionsSpec
from features.event_log.chunk_checker import refuse_multi_row_expression
from features.event_log.log import (
    ARRAYS,
    FIRST_ROW,
    FIRST_TIMESTAMP,
    FORMAT_VERSION,
    ITEM_COUNTS,
    ITEMS,
    PARTITION,
    REJECTED,
    START,
    STOP,
    USERS,
    EventLog,
    LogManifest,
    map_array,
    partition_name,
    write_manifest,
)
from features.event_log.partition import PARTS, STATE, PartitionState, partition_frame, write_partitions
from features.event_log.source import LogSource, estimate_events
from recsys.checksums import sync
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.files import disk_full_named, exclusive
from recsys.history import EVENT_NUMBERS
from recsys.ids import NUM_RESERVED
from recsys.progress import Progress, silent

PART_ROWS = 500_000  # raw rows in memory at once
PARTITION_EVENTS = 1_000_000  # approximate number of events in a partition
_MAX_PARTITIONS = 128  # `LogSelection` can hold all of them open


def build_log(
    root: Path,
    spec: InteractionsSpec,
    items: pl.Series | None,
    out: Path,
    *,
    part_rows: int = PART_ROWS,
    partition_events: int = PARTITION_EVENTS,
    progress: Progress = silent,
) -> EventLog:
    """The event log in `out`. An existing log is used if its sources are unchanged, else a new one is built.

    `items` are the ids of the table of items; with None the items are all valid item ids of the log. An
    interrupted preparation continues where it stopped. If the preparation fails, `out` is not changed.
    Raises `DataError` with the problems that `load_dataset` finds in the interactions.
    """
    refuse_multi_row_expression(spec.positive)
    source = LogSource.open(root, spec)
    fingerprint = source.fingerprint(spec, items) | {
        "format_version": FORMAT_VERSION,
        "polars": pl.__version__,  # its hash function assigns users to partitions
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(out, wait=True):  # another process may be preparing the same log
        found = _current_log(out, fingerprint)
        if found is None:
            with disk_full_named(out):
                _prepare(source, spec, items, out, fingerprint, part_rows, partition_events, progress)
        else:
            _remove_leftovers(out)
    return found or EventLog(out)


def _prepare(
    source: LogSource,
    spec: InteractionsSpec,
    items: pl.Series | None,
    out: Path,
    fingerprint: dict[str, Any],
    part_rows: int,
    partition_events: int,
    progress: Progress,
) -> None:
    work = out.with_name(f".{out.name}.unfinished")
    estimate = estimate_events(source.root, spec)
    num_partitions = min(estimate // partition_events + 1, _MAX_PARTITIONS)
    state = PartitionState.load(work, fingerprint, num_partitions)
    try:
        items = source.item_ids(spec, part_rows, progress) if items is None else items
        state = write_partitions(
            source, spec, items, work, state, part_rows=part_rows, estimate=estimate, progress=progress
        )
    except DataError:
        shutil.rmtree(work)  # the preparation cannot continue before the files change
        raise
    items.cast(pl.String).alias(Columns.ITEM).to_frame().write_parquet(work / ITEMS)
    _finish(work, state, len(items), state.statistics.warnings(source.files), progress)
    _replace(work, out)


def _current_log(out: Path, fingerprint: dict[str, Any]) -> EventLog | None:
    """The log in `out` if it has this fingerprint, None where it must be built.

    Raises `DataError` where `out` has other files.
    """
    if not out.exists():
        return None
    if any(out.iterdir()) if out.is_dir() else True:
        try:
            log = EventLog(out)
        except DataError as error:
            if (out / "manifest.json").is_file():
                return None  # a log of an older format, or a damaged log
            raise DataError(f"{out} is not empty and has no event log; choose another --out") from error
        return log if log.manifest.fingerprint == fingerprint else None
    return None


def _replace(work: Path, out: Path) -> None:
    """Rename `work` to `out`; intermediate files and the old content are removed, now or by the next call."""
    old = _former(out)
    shutil.rmtree(old, ignore_errors=True)
    sync(work)
    if out.exists():
        out.rename(old)
    work.rename(out)
    _remove_leftovers(out)


def _remove_leftovers(out: Path) -> None:
    """The parts of the finished log `out`, its state, and a former log."""
    shutil.rmtree(out / PARTS, ignore_errors=True)
    (out / STATE).unlink(missing_ok=True)
    shutil.rmtree(_former(out), ignore_errors=True)


def _former(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _finish(
    work: Path, state: PartitionState, num_items: int, warnings: list[str], progress: Progress
) -> None:
    kinds, num_partitions = sorted(state.kinds), state.num_partitions
    # From codes in the order of first appearance to ids of the sorted map.
    kind_ids = np.array([kinds.index(kind) + NUM_RESERVED for kind in state.kinds], np.uint32)
    kind_ids = kind_ids.astype(np.min_scalar_type(len(kinds) + NUM_RESERVED))
    for number in range(num_partitions):
        if not (work / partition_name(number)).is_dir():
            _write_partition(work, partition_frame(work, state.num_parts, number), number, kind_ids)
        progress("sort log", number + 1, num_partitions)
    folders = [work / partition_name(number) for number in range(num_partitions)]
    index = pl.concat([pl.read_parquet(folder / USERS, glob=False) for folder in folders]).sort(Columns.USER)
    index.write_parquet(work / USERS)
    rejected = sorted((work / PARTS).glob("rejected-*.parquet"))
    if rejected:
        pl.scan_parquet(rejected, glob=False).sink_parquet(work / REJECTED)
    else:
        pl.DataFrame(schema=SCHEMA).write_parquet(work / REJECTED)
    item_counts, kind_counts, others = _count(work, num_partitions, num_items, kinds)
    np.save(work / ITEM_COUNTS, item_counts)
    manifest = LogManifest(
        format_version=FORMAT_VERSION,
        fingerprint=state.fingerprint,
        num_partitions=num_partitions,
        num_rows=state.num_rows,
        num_events=state.num_events,
        num_users=index.height,
        num_items=num_items,
        num_positive=int(item_counts[:, 1].sum()),
        kinds=kinds,
        kind_counts=kind_counts,
        rejected=state.reasons,
        warnings=warnings,
        **others,
    )
    write_manifest(manifest, work)


def _write_partition(work: Path, events: pl.DataFrame, number: int, kind_ids: np.ndarray) -> None:
    """Write the arrays and users of one partition to a temporary folder, then rename the folder."""
    names = events[Columns.USER].unique().sort()
    positions = pl.DataFrame(
        {Columns.USER: names, "position": pl.int_range(len(names), dtype=pl.UInt32, eager=True)}
    )
    ordered = events.join(positions, on=Columns.USER, how="left", maintain_order="left")
    ordered = ordered.select("position", *ARRAYS).sort("position", Columns.TIMESTAMP, Columns.ROW)
    counts = np.bincount(ordered["position"].to_numpy(), minlength=len(names))
    stop = np.cumsum(counts)
    first = ordered[stop - counts] if len(names) else ordered
    index = pl.DataFrame(
        {
            Columns.USER: names,
            PARTITION: pl.Series([number], dtype=pl.UInt16).new_from_index(0, len(names)),
            START: stop - counts,
            STOP: stop,
            FIRST_TIMESTAMP: first[Columns.TIMESTAMP],
            FIRST_ROW: first[Columns.ROW],
        }
    )
    folder = work / f".{partition_name(number)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ARRAYS:
        array = ordered[name].to_numpy()
        if name == Columns.EVENT:
            array = kind_ids[array]
        elif name in EVENT_NUMBERS:
            array = ordered[name].fill_null(float("nan")).to_numpy()
        np.save(folder / f"{name}.npy", array)
    index.write_parquet(folder / USERS)
    folder.rename(work / partition_name(number))


def _count(
    work: Path, num_partitions: int, num_items: int, kinds: list[str]
) -> tuple[np.ndarray, list[int], dict[str, int]]:
    """Numbers of events by item and by kind; number of tied events, first and last timestamp.

    The partitions are read one after the other. Shapes [N, 2] and [number of kinds].
    """
    item_counts = np.zeros((num_items + NUM_RESERVED, 2), np.int64)
    kind_counts = np.zeros(len(kinds) + NUM_RESERVED, np.int64)
    num_tied, first, last = 0, np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for number in range(num_partitions):
        folder = work / partition_name(number)
        item, time, event, positive = (
            map_array(folder / f"{name}.npy")
            for name in (Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT, Columns.POSITIVE)
        )
        if not len(item):
            continue
        item_counts[:, 0] += np.bincount(item, minlength=len(item_counts))
        item_counts[:, 1] += np.bincount(item[positive], minlength=len(item_counts))
        kind_counts += np.bincount(event, minlength=len(kind_counts))
        first, last = min(first, int(time.min())), max(last, int(time.max()))
        starts = pl.read_parquet(folder / USERS, columns=[START], glob=False)[START].to_numpy()
        same = np.zeros(len(time) + 1, np.bool_)  # same user and time as the event before
        same[1:-1] = time[1:] == time[:-1]
        same[starts] = False
        num_tied += int((same[:-1] | same[1:]).sum())
    others = {"num_tied": num_tied, "first_timestamp": first, "last_timestamp": last}
    return item_counts, kind_counts[NUM_RESERVED:].tolist(), others
