"""Cost of building an event log from a large log: time, memory and disk, beside loading it into memory.

    python benchmarks/prepare_events.py EVENTS [--format csv|parquet] [--whole] [--folder FOLDER]

Writes a synthetic log of 1 million users and 500 thousand items (item popularity by Zipf's law, ids as
strings, three kinds of event, ratings, an unknown item in one row of a thousand). A child process builds the
event log. A second one reads the data of a training: it splits the log (user_temporal), makes the windows of
an epoch over all users and reads the windows of 200 batches. With `--whole` a third one loads the same files
with `load_dataset`, for the ratio; the log must fit into memory. Peak memory is VmHWM of the child, with
memory-mapped pages. The files are deleted at the end.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

NUM_USERS, NUM_ITEMS, ZIPF = 1_000_000, 500_000, 1.1
AT_ONCE = 1_000_000
NUM_BATCHES = 200
BOUND_GB = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("events", type=int)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "prepare-events")
    parser.add_argument("--child", choices=["streamed", "read", "whole"])
    args = parser.parse_args()
    if args.child:
        child(args.child, args.folder)
        return
    try:
        write_log(args.folder, args.events, args.format)
        size = bytes_in(args.folder / "log")
        print(f"{args.events:,} events as {args.format}, {size / 1e9:.2f} GB on disk", flush=True)
        streamed = measure("streamed", args)
        print(f"  event log {bytes_in(args.folder / 'prepared') / 1e9:.2f} GB on disk")
        measure("read", args)
        if args.whole:
            whole = measure("whole", args)
            print(
                "  streamed / whole: "
                + ", ".join(
                    f"{name} {streamed[name] / whole[name]:.2f}" for name in ("peak_gb", "cpu_s", "wall_s")
                )
            )
        kept = streamed["peak_gb"] <= BOUND_GB
        print(f"  bound {BOUND_GB:.0f} GB: {'kept' if kept else 'BROKEN'}")
        sys.exit(0 if kept else 1)
    finally:
        shutil.rmtree(args.folder, ignore_errors=True)


def write_log(folder: Path, num_events: int, form: str) -> None:
    """Write the folder of the dataset, with at most a million events in memory."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "log").mkdir(parents=True)
    items = pl.DataFrame({"asin": item_names(), "title": item_names()})
    items.write_parquet(folder / "items.parquet")
    (folder / "dataset.toml").write_text(
        'name = "synthetic"\n'
        '[items]\npath = "items.parquet"\nid = "asin"\ntitle = "title"\n'
        f'[interactions]\npath = "log/*.{form}"\nuser = "user"\nitem = "asin"\ntimestamp = "time"\n'
        'time = "unix_s"\nevent = "event"\nvalue = "rating"\npositive = "rating >= 3"\n'
    )
    users = pl.int_range(NUM_USERS, eager=True).cast(pl.String).str.zfill(12)
    names, kinds = item_names(), pl.Series(["view", "cart", "purchase"])
    weight = 1.0 / np.arange(1, NUM_ITEMS + 1) ** ZIPF
    edges = np.cumsum(weight / weight.sum())
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, num_events, AT_ONCE)):
        rows = min(AT_ONCE, num_events - start)
        item = np.minimum(np.searchsorted(edges, rng.random(rows)), NUM_ITEMS - 1)
        frame = pl.DataFrame(
            {
                "user": "A" + users.gather(rng.integers(NUM_USERS, size=rows)),
                "asin": names.gather(item),
                "time": rng.integers(1_500_000_000, 1_700_000_000, rows),
                "event": kinds.gather(rng.integers(3, size=rows)),
                "rating": rng.integers(2, 11, rows) / 2,
            }
        )
        bad = pl.Series(rng.random(rows) < 0.001)
        frame = frame.with_columns(asin=pl.when(bad).then(pl.lit("unknown")).otherwise("asin"))
        path = folder / "log" / f"{number:05}.{form}"
        frame.write_csv(path) if form == "csv" else frame.write_parquet(path)


def item_names() -> pl.Series:
    return "B" + pl.int_range(NUM_ITEMS, eager=True).cast(pl.String).str.zfill(9)


def measure(what: str, args: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, str(args.events), "--folder", str(args.folder), "--child", what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    costs: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {what:8} {costs['events']:,.0f} kept, {costs['rejected']:,.0f} rejected: "
        f"CPU {costs['cpu_s']:.1f} s, wall {costs['wall_s']:.1f} s, peak {costs['peak_gb']:.2f} GB "
        f"({costs['before_gb']:.2f} GB of it after the imports)",
        flush=True,
    )
    return costs


def child(what: str, folder: Path) -> None:
    """The measured process; its last line of output has the costs as JSON."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from features.dataset import load_dataset
    from features.event_log import load_streamed

    before, start = peak_gb(), time.perf_counter()
    if what != "whole":
        dataset = load_streamed(folder, folder / "prepared")
        manifest = dataset.log.manifest
        if what == "read":
            read_windows(dataset, folder)
        events, left = manifest.num_events, sum(entry["count"] for entry in manifest.rejected)
    else:
        loaded = load_dataset(folder)
        events, left = loaded.interactions.height, len(loaded.rejected)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    costs = {
        "events": events,
        "rejected": left,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.perf_counter() - start,
        "peak_gb": peak_gb(),
        "before_gb": before,
    }
    print(json.dumps(costs))


def read_windows(dataset: Any, folder: Path) -> None:
    """Read the data of a training: the split, one epoch of windows, and the first `NUM_BATCHES` batches."""
    from features.inputs import HistoryBuilder, build_maps
    from features.splits import make_split
    from recsys.columns import Columns
    from recsys.config import SplitConfig
    from recsys.ids import IdMap
    from training.sequences import Sequences, WindowSampler

    split = make_split(dataset, SplitConfig(protocol="user_temporal"), folder / "parts")
    item_ids = IdMap(dataset.items[Columns.ITEM].to_list())
    builder = HistoryBuilder(dataset, item_ids=item_ids, maps=build_maps(dataset, split.statistics))
    sequences = Sequences(*split.training(builder))
    epoch = WindowSampler(sequences, max_length=100, batch_tokens=6400, seed=0).epoch(0)
    for batch in epoch[:NUM_BATCHES]:
        assert batch


def peak_gb() -> float:
    """Peak memory of this process in 10^9 bytes. `ru_maxrss` would include the parent's peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
