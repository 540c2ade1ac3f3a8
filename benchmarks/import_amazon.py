"""Cost of importing Amazon Reviews 2023: lines in a CPU second and peak memory, for several log lengths.

    python benchmarks/import_amazon.py [lines ...]        by default half a million, 2 and 4 million

Each log is generated in the layout of Amazon Reviews 2023, with 15,000 items, about one user for three
reviews, and a skewed activity of users. It is imported in a separate process, without a core and with
--core 5. If memory is bounded, the peak does not grow with the log.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from features.importers import import_amazon

NUM_ITEMS = 15_000
LINES_AT_ONCE = 50_000
WORDS = (
    "soft",
    "light",
    "hair",
    "scent",
    "bottle",
    "skin",
    "colour",
    "works",
    "dry",
    "love",
    "buy",
    "return",
)


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [500_000, 2_000_000, 4_000_000]
    processes = multiprocessing.get_context("spawn")
    for num_lines in sizes:
        with tempfile.TemporaryDirectory(prefix="recsys-import-") as folder:
            source = Path(folder) / "source"
            write_log(source, num_lines)
            megabytes = sum(path.stat().st_size for path in source.iterdir()) / 1e6
            for core in (0, 5):
                arguments = (source, Path(folder) / f"out-{core}", core, num_lines, megabytes)
                process = processes.Process(target=measure, args=arguments)
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(f"the import of {num_lines} lines failed")


def write_log(source: Path, num_lines: int) -> None:
    """A reviews file and a metadata file, seeded."""
    rng = np.random.default_rng(0)
    source.mkdir()
    with (source / "meta_Made_Up.jsonl").open("w") as file:
        for item in range(NUM_ITEMS):
            image = {"large": f"https://x/I/{item}.jpg", "variant": "MAIN"}
            fields = {"parent_asin": f"B{item:09}", "title": _text(rng, 8), "price": None, "images": [image]}
            fields |= {"features": [_text(rng, 12)] * 3, "description": [_text(rng, 60)], "categories": []}
            file.write(json.dumps(fields | {"store": f"Store {item % 500}", "details": {"a": "b"}}) + "\n")
    with (source / "Made_Up.jsonl").open("w") as file:
        for start in range(0, num_lines, LINES_AT_ONCE):
            count = min(LINES_AT_ONCE, num_lines - start)
            users = (num_lines // 3 * rng.random(count) ** 2).astype(int)
            items = (NUM_ITEMS * rng.random(count) ** 3).astype(int)
            texts = [_text(rng, 40) for _ in range(100)]
            for at, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
                fields = {
                    "rating": 1.0 + (user + item) % 5,
                    "title": texts[at % 89][:30],
                    "text": texts[at % 97],
                }
                fields |= {"images": [], "asin": f"B{item:09}", "parent_asin": f"B{item:09}"}
                fields |= {"user_id": f"AE{user:026}", "timestamp": 1_500_000_000_000 + 977 * (start + at)}
                file.write(json.dumps(fields | {"helpful_vote": 0, "verified_purchase": True}) + "\n")


def _text(rng: np.random.Generator, num_words: int) -> str:
    return " ".join(WORDS[at] for at in rng.integers(len(WORDS), size=num_words))


def measure(source: Path, out: Path, core: int, num_lines: int, megabytes: float) -> None:
    before = _peak_mebibytes()
    start = time.process_time()
    report = import_amazon(source, out, core=core)
    cpu = time.process_time() - start
    print(
        f"{num_lines:>10,} lines, {megabytes:7,.0f} MB, core {core}: "
        f"{num_lines / cpu:9,.0f} lines per CPU second, "
        f"peak {_peak_mebibytes():6,.0f} MiB (before: {before:,.0f}), "
        f"{report.counts['interactions']:,} interactions of {report.counts['users']:,} users",
        flush=True,
    )


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
