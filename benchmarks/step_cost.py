"""Time and memory of one training step of the towers, by the size of the catalogue.

    python -m benchmarks.step_cost [--items 10000 1000000 10000000] [--rounds 12] [--content-width 0]
                                   [--windows 16] [--negatives 2048] [--width 32]
                                   [--figure docs/images/step_cost.svg] [--folder TEMPORARY]

Every size has a process of its own, with one thread. The processes take steps in turn, so that other work
on the machine slows all of them alike. A step has --windows windows of 100 events, no item twice, and
--negatives negatives, all drawn uniformly; the towers are --width wide, all other settings are the defaults.
--windows 64 --negatives 8192 --width 64 is a step of default size. Negatives repeat items of a small
catalogue, and an item is embedded once a step: the table has the number of embedded items. With
--content-width W, each item has a vector of W half floats in a memory-mapped file in --folder, which is
removed at the end. Seconds are CPU seconds, the median over the rounds after three that fill the caches;
"system" are those in the kernel, most of them for new pages. Memory is the largest anonymous memory
(RssAnon) after a step; the id table and its average are part of it. "added" is the difference to the memory
before the first step. "peak" is the largest resident memory of the whole process, its start and the pages of
mapped files included. Ratios are relative to the smallest catalogue.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

LENGTH, NUM_WARM_UP = 100, 3
BOUND = 1.2  # of the time, relative to the smallest catalogue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--negatives", type=int, default=2048)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--content-width", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--one", type=int, help="measure this size here, and print it as JSON")
    args = parser.parse_args()
    if args.one is not None:
        answer_turns(args.one, args)
        return
    found = take_turns(args)
    print_table(found)
    if args.figure is not None:
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(found, args.figure)


def take_turns(args: argparse.Namespace) -> list[dict[str, float]]:
    """Start a process a size, the largest first and alone, and let them take steps in turn."""
    command = [sys.executable, "-m", "benchmarks.step_cost"]
    for name in ("windows", "negatives", "width", "content_width", "folder"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    command.append("--one")
    processes = {}
    for num_items in sorted(args.items, reverse=True):
        process = subprocess.Popen(
            [*command, str(num_items)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes[num_items] = process
        ask(process, "start")
    seconds: dict[int, list[float]] = {num_items: [] for num_items in args.items}
    in_kernel: dict[int, list[float]] = {num_items: [] for num_items in args.items}
    answers: dict[int, dict[str, float]] = {}
    for _ in range(NUM_WARM_UP + args.rounds):
        for num_items in args.items:
            answers[num_items] = ask(processes[num_items], "step")
            seconds[num_items].append(answers[num_items]["seconds"])
            in_kernel[num_items].append(answers[num_items]["system"])
    for process in processes.values():
        process.communicate()
    medians = {"seconds": seconds, "system": in_kernel}
    return [
        answers[each] | {name: median(of[each][NUM_WARM_UP:]) for name, of in medians.items()}
        for each in args.items
    ]


def ask(process: "subprocess.Popen[str]", word: str) -> dict[str, float]:
    """Send `word`, and wait for a line of JSON."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()
    found: dict[str, float] = json.loads(process.stdout.readline())
    return found


def answer_turns(num_items: int, args: argparse.Namespace) -> None:
    """Take a step for each line on the standard input but the first; answer with seconds and memory."""
    import torch

    from recsys.config import ModelConfig, TrainConfig
    from recsys.history import SequenceSchema
    from recsys.models import Retriever
    from training.ranks import process_group_of_one
    from training.runtime import keep_freed_memory
    from training.towers.tables import DividedTables
    from training.towers.train_step import TrainStep
    from training.towers.trainer import make_optimizer, update

    torch.set_num_threads(1)
    keep_freed_memory()
    config = TrainConfig(sampled_above=1, num_negatives=args.negatives)
    schema = SequenceSchema(
        max_length=LENGTH,
        has_clock=True,
        num_event_kinds=3,
        number_scales={"value": (3.0, 1.0)},
        review_text_dim=0,
        review_audio_dim=0,
        profile_sizes={},
    )
    with tempfile.TemporaryDirectory(dir=args.folder) as content, process_group_of_one():
        features = make_features(num_items, args.content_width, Path(content))
        model = Retriever(features, schema, ModelConfig(dim=args.width)).train()
        tables = DividedTables(model, config.tables, decay=0.99)
        step = TrainStep(model, config, num_shards=1, tables=tables)
        optimizer = make_optimizer(model, config)
        before, largest = anonymous_bytes(), 0
        for number, _ in enumerate(sys.stdin):
            windows = make_windows(num_items, args.windows, seed=number)
            start, in_kernel = time.process_time(), system_seconds()
            if number > 0:
                update(step, windows, optimizer, 1.0)
                largest = max(largest, anonymous_bytes())
            answer = {
                "items": num_items,
                "seconds": time.process_time() - start,
                "system": system_seconds() - in_kernel,
                "embedded": len(tables.row_N),
                "bytes": largest,
                "step_bytes": largest - before,
                "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            }
            print(json.dumps(answer), flush=True)


def make_features(num_items: int, width: int, folder: Path) -> Any:
    """A catalogue of items with training events, with ids alone, or with vectors in a file."""
    import numpy as np

    from recsys.ids import NUM_RESERVED
    from recsys.item_features import ItemFeatures

    size = num_items + NUM_RESERVED
    trained = np.ones(size, np.bool_)
    trained[:NUM_RESERVED] = False
    dense = {"text": write_vectors(folder / "text.npy", size, width)} if width else {}
    return ItemFeatures(
        item_ids=numbered_ids(num_items),
        dense=dense,
        present=dict.fromkeys(dense, trained),
        categories={},
        category_ids={},
        trained=trained,
        popularity=trained.astype(np.float32),
    )


def numbered_ids(num_items: int) -> Any:
    """Ids whose names are not in memory: a step reads none of them."""
    from recsys.ids import IdMap

    class NumberedIds(IdMap):
        def __init__(self) -> None:
            self.external = range(num_items)  # type: ignore[assignment]

    return NumberedIds()


def write_vectors(path: Path, size: int, width: int) -> Any:
    """Random half floats in a memory-mapped file, written in parts."""
    import numpy as np

    rng = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (size, width))
    for start in range(0, size, 100_000):
        part = vectors[start : start + 100_000]
        part[:] = rng.standard_normal(part.shape, np.float32)
    vectors.flush()
    return np.lib.format.open_memmap(path, "r")


def make_windows(num_items: int, num_windows: int, seed: int) -> list[Any]:
    import numpy as np

    from recsys.history import History
    from recsys.ids import NUM_RESERVED
    from training.sequences import Window

    rng, windows = np.random.default_rng(seed), []
    drawn = np.unique(rng.integers(0, num_items, 4 * num_windows * LENGTH))
    items = rng.permutation(drawn)[: num_windows * LENGTH].reshape(num_windows, LENGTH) + NUM_RESERVED
    for item in items:
        history = History(
            item=item,
            timestamp=np.cumsum(rng.integers(1, 10**11, LENGTH)),
            event=np.full(LENGTH, 2),
            value=np.full(LENGTH, np.nan, np.float32),
            seen=np.unique(item),
        )
        windows.append(Window(history=history, target=np.ones(LENGTH, np.bool_)))
    return windows


def system_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_stime


def anonymous_bytes() -> int:
    """Anonymous memory of this process; pages of mapped files are not part of it."""
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


def print_table(found: Sequence[dict[str, float]]) -> None:
    first = found[0]
    print("| items | seconds | system | ratio | embedded items | memory (GB) | added (GB) | peak (GB) |")
    print("|---|---|---|---|---|---|---|---|")
    for each in found:
        ratio = each["seconds"] / first["seconds"]
        print(
            f"| {each['items']:,} | {each['seconds']:.3f} | {each['system']:.3f} | {ratio:.2f} "
            f"| {each['embedded']:,.0f} | {each['bytes'] / 1e9:.2f} | {each['step_bytes'] / 1e9:.2f} "
            f"| {each['peak_bytes'] / 1e9:.2f} |"
        )
    worst = max(each["seconds"] for each in found) / first["seconds"]
    print(f"\nworst ratio {worst:.2f}: {'within' if worst <= BOUND else 'beyond'} {BOUND}")


def draw(found: Sequence[dict[str, float]], path: Path) -> None:
    """Seconds of a step and memory over the size of the catalogue, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    items = [each["items"] for each in found]
    left.plot(items, [each["seconds"] for each in found], marker="o")
    left.axhline(BOUND * found[0]["seconds"], linestyle="--", linewidth=1, color="gray")
    left.set(xscale="log", ylim=(0, None), xlabel="items", ylabel="CPU seconds a step")
    right.plot(items, [each["bytes"] / 1e9 for each in found], marker="o", label="peak")
    right.plot(items, [each["step_bytes"] / 1e9 for each in found], marker="s", label="added by the steps")
    right.set(xscale="log", ylim=(0, None), xlabel="items", ylabel="memory (GB)")
    right.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
