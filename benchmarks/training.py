"""Speed and memory of training the towers, beside SASRec of RecTools on the same events.

    python benchmarks/training.py [--length 50] [--epochs 2] [--only recsys] [--folder FOLDER]

Writes a synthetic log in the shape of MovieLens-1M (6,040 users, 3,416 items, a million events, lognormal
lengths, popularity by Zipf's law). Both models have the same width, blocks, heads, events in a step and full
softmax, learn from the events of each user without the last two, and use one thread. A child process trains
each, one after the other: recsys from `load_dataset` to the trained towers with its audit, RecTools from
`Dataset.construct` to `SASRecModel.fit`. RecTools is installed by uv into an environment of its own, below
the folder. CPU seconds are those of the training alone; peak memory is VmHWM of the whole child. RecTools
learns from the newest `length` events of a user, recsys from all, so speed is in targets a CPU second.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

RECTOOLS = ("rectools[torch]==0.19.0",)
NUM_USERS, NUM_ITEMS, NUM_EVENTS, ZIPF = 6_040, 3_416, 1_000_000, 0.9
WIDTH, BLOCKS, HEADS, BATCH_TOKENS = 64, 2, 4, 6_400
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
DATASET = """
name = "movielens-1m-shaped"
[items]
path = "items.parquet"
id = "item"
title = "title"
[interactions]
path = "events.parquet"
user = "user"
item = "item"
timestamp = "position"
time = "order"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--length", type=int, default=50, help="events of a user that a window holds")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", choices=["recsys", "rectools"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "recsys-training")
    parser.add_argument("--child", choices=["recsys", "rectools"])
    args = parser.parse_args()
    if args.child:
        result = {"recsys": train_recsys, "rectools": train_rectools}[args.child](args)
        print(json.dumps(result))
        return
    log = args.folder / "log"
    if not (log / "events.csv").exists():
        write_log(log)
    names = [args.only] if args.only else ["recsys", "rectools"]
    found = {name: measure(name, args) for name in names}
    heads = ("model", "targets", "CPU s", "targets a CPU s", "imports (GB)", "before (GB)", "peak (GB)")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, each in found.items():
        print(
            f"| {name} | {each['targets']:,} | {each['cpu_s']:.1f} | {each['targets'] / each['cpu_s']:,.0f} "
            f"| {each['imports_gb']:.2f} | {each['before_gb']:.2f} | {each['peak_gb']:.2f} |"
        )
    if len(found) == 2:
        recsys, peer = found["recsys"], found["rectools"]
        speed = (recsys["targets"] / recsys["cpu_s"]) / (peer["targets"] / peer["cpu_s"])
        print(f"recsys / rectools: speed {speed:.2f}, peak memory {recsys['peak_gb'] / peer['peak_gb']:.2f}")


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The result of the child process that trains the model."""
    python = rectools_python(args.folder) if name == "rectools" else Path(sys.executable)
    command = [python, __file__, "--child", name, "--length", str(args.length), "--epochs", str(args.epochs)]
    threads = dict.fromkeys(THREADS, "1")
    done = subprocess.run(
        [*command, "--folder", args.folder],
        env=os.environ | threads,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rectools_python(folder: Path) -> Path:
    """The interpreter of RecTools' environment, which is made at the first call."""
    environment = folder / "rectools"
    python = environment / "bin" / "python"
    if not (environment / "installed").exists():
        uv = Path(sys.executable).with_name("uv")
        program = str(uv) if uv.exists() else "uv"
        subprocess.run([program, "venv", "--python", "3.11", "--clear", environment], check=True)
        same_torch = f"torch=={metadata.version('torch').partition('+')[0]}"
        subprocess.run([program, "pip", "install", "--python", python, *RECTOOLS, same_torch], check=True)
        (environment / "installed").write_text("\n".join(RECTOOLS), "utf-8")
    return python


def write_log(folder: Path) -> None:
    """A dataset folder. Every user's events are distinct items in random order."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    length = np.clip(rng.lognormal(4.6, 0.95, NUM_USERS), 18, 1_500)
    length = np.clip(length * (NUM_EVENTS / length.sum()), 18, 2_000).astype(np.int64)
    weight = 1.0 / np.arange(1, NUM_ITEMS + 1) ** ZIPF
    items = [rng.choice(NUM_ITEMS, num, replace=False, p=weight / weight.sum()) for num in length]
    folder.mkdir(parents=True, exist_ok=True)
    events = pl.DataFrame(
        {
            "user": np.repeat(np.arange(NUM_USERS), length).astype(str),
            "item": np.concatenate(items).astype(str),
            "position": np.concatenate([np.arange(num) for num in length]),
        }
    )
    events.write_parquet(folder / "events.parquet")
    events.write_csv(folder / "events.csv")  # for RecTools, whose environment reads no Parquet
    names = [str(at) for at in range(NUM_ITEMS)]
    pl.DataFrame({"item": names, "title": names}).write_parquet(folder / "items.parquet")
    (folder / "dataset.toml").write_text(DATASET, "utf-8")


def train_recsys(args: argparse.Namespace) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from features.dataset import MediaVectors, load_dataset
    from features.splits import make_split
    from recsys.config import build_config
    from training.fitting import FitChoices, FitInputs, audit, fit
    from training.runtime import threads

    imports_gb = memory_gb("VmRSS")
    config = build_config(
        {
            "split": {"protocol": "leave_one_out"},
            "model": {
                "dim": WIDTH,
                "user": {"num_blocks": BLOCKS, "num_heads": HEADS, "max_length": args.length},
                "item": {"use_content": False},
                "ranker": {"enabled": False},
            },
            "train": {"batch_tokens": BATCH_TOKENS, "num_threads": 1, "precision": "float32"},
        }
    )
    dataset = load_dataset(args.folder / "log")
    with threads(1):
        inputs = FitInputs.of(
            dataset, MediaVectors(items={}, reviews={}), make_split(dataset, config.split), config
        )
        audited = audit(inputs)
        targets = sum(int(sequence.target.sum()) for sequence in inputs.sequences.values())
        before_gb, start = memory_gb("VmHWM"), time.process_time()
        fit(audited, choices=FitChoices(epochs=args.epochs, ranker_epochs=0, blend_weight=0.0))
        cpu_s = time.process_time() - start
    return result_of(targets * args.epochs, cpu_s, imports_gb, before_gb)


def train_rectools(args: argparse.Namespace) -> dict[str, Any]:
    import pandas as pd
    import torch
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    imports_gb = memory_gb("VmRSS")
    torch.set_num_threads(1)
    events = pd.read_table(args.folder / "log" / "events.csv", sep=",", dtype={"user": str, "item": str})
    newest_first = events.groupby("user")["position"].rank(ascending=False, method="first")
    events = events[newest_first > 2]
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(events["position"], unit="s")
    interactions = pd.DataFrame(
        {
            Columns.User: events["user"],
            Columns.Item: events["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: day,
        }
    )
    targets = int(events.groupby("user").size().sub(1).clip(upper=args.length).sum())
    model = SASRecModel(
        n_factors=WIDTH,
        n_blocks=BLOCKS,
        n_heads=HEADS,
        session_max_len=args.length,
        batch_size=max(1, BATCH_TOKENS // args.length),
        loss="softmax",
        epochs=args.epochs,
        dropout_rate=0.2,
    )
    dataset = Dataset.construct(interactions)
    before_gb, start = memory_gb("VmHWM"), time.process_time()
    model.fit(dataset)
    return result_of(targets * args.epochs, time.process_time() - start, imports_gb, before_gb)


def result_of(targets: int, cpu_s: float, imports_gb: float, before_gb: float) -> dict[str, Any]:
    """With the peak of the process so far."""
    return {
        "targets": targets,
        "cpu_s": cpu_s,
        "imports_gb": imports_gb,
        "before_gb": before_gb,
        "peak_gb": memory_gb("VmHWM"),
    }


def memory_gb(name: str) -> float:
    """VmRSS or VmHWM of this process."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    assert found is not None
    return int(found[1]) * 1024 / 1e9


if __name__ == "__main__":
    main()
