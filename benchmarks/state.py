"""Time to read a user: a history assembled from live events, against one that is stored encoded.

    python benchmarks/state.py [--events 50] [--users 1000] [--repeats 2000] [--folder DIR]

"encoded" reads a history of training with so many events; "live" assembles one of as many live events and
no history of training; "both" has both. Each read is `UserState.histories` of one user, drawn at random, from
a file of so many users. Times of reads are CPU times, medians over the repeats; the ratio is to "encoded".
"append" is one event a commit, on the disk when it returns, in wall-clock time.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from recsys.history import History
from recsys.ids import NUM_RESERVED, IdMap
from serving.state import LiveEvent
from serving.state.assembling import Assembler
from serving.state.database import Database
from serving.state.imported import ImportedHistories
from serving.state.live import SqliteLiveRows
from serving.state.users import UserState

NUM_ITEMS, DAY = 100_000, 86_400_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="Where the files are written; its disk is measured.")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        reads = {
            label: reader(make_state(folder / label, args, rng, label in with_base, label in with_live), args)
            for label in ("encoded", "live", "both")
            for with_base, with_live in [(("encoded", "both"), ("live", "both"))]
        }
        times = measure(reads, args.repeats)
        print("| read | median (µs) | 99% (µs) | ratio |\n|---|---|---|---|")
        for label, spent in times.items():
            ratio = median(spent) / median(times["encoded"])
            print(f"| {label} | {1e6 * median(spent):.0f} | {1e6 * percentile(spent):.0f} | {ratio:.1f} |")
        spent = append_times(folder / "append.sqlite")
        print(f"| append | {1e6 * median(spent):.0f} | {1e6 * percentile(spent):.0f} | |")


def make_state(path: Path, args: Any, rng: Any, has_base: bool, has_live: bool) -> UserState:
    """A state with so many users, whose histories are random."""
    names = [f"item-{at}" for at in range(NUM_ITEMS)]
    maps: Any = SimpleNamespace(item_ids=IdMap(names), event_ids=IdMap(["view", "buy"]), profile_ids={})
    database = Database(path.with_suffix(".sqlite"))
    imported = ImportedHistories(database, maps="benchmark")
    live = SqliteLiveRows(database)
    if has_base:
        source = path.with_suffix(".txt")
        source.write_text("one version")
        histories = ((f"user-{at}", make_history(args.events, rng)) for at in range(args.users))
        imported.import_histories(source, lambda _: histories)
    for user in range(args.users if has_live else 0):
        live.append_events(
            [
                LiveEvent(
                    event_id=f"{user}-{at}",
                    user=f"user-{user}",
                    item=names[rng.integers(NUM_ITEMS)],
                    kind="view",
                    value=4.0,
                    timestamp=20_000 * DAY + at * 1_000_000,
                )
                for at in range(args.events)
            ]
        )
    return UserState(database, imported, live, Assembler(maps))


def make_history(length: int, rng: Any) -> History:
    items = rng.integers(NUM_RESERVED, NUM_ITEMS, length)
    return History(
        item=items,
        timestamp=np.arange(length, dtype=np.int64) * DAY,
        event=np.full(length, 2, np.int64),
        value=np.full(length, 4, np.float32),
        seen=np.unique(items),
    )


def reader(state: UserState, args: Any) -> Callable[[], object]:
    rng = np.random.default_rng(1)
    return lambda: state.histories([f"user-{rng.integers(args.users)}"])


def measure(reads: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each call, the kinds of read taking turns."""
    times: dict[str, list[float]] = {label: [] for label in reads}
    for _ in range(repeats):
        for label, read in reads.items():
            start = time.thread_time()
            read()
            times[label].append(time.thread_time() - start)
    return times


def append_times(path: Path) -> list[float]:
    rows = SqliteLiveRows(Database(path))
    times = []
    for at in range(300):
        event = LiveEvent(event_id=str(at), user=f"user-{at % 7}", item="item-1", timestamp=at)
        start = time.perf_counter()
        rows.append_events([event])
        times.append(time.perf_counter() - start)
    rows.close()
    return times


def percentile(spent: list[float]) -> float:
    return quantiles(spent, n=100)[98]


if __name__ == "__main__":
    main()
