"""Memory and time of one request's candidates, by the size of the catalogue.

    python benchmarks/candidate_sources.py [--items 10000 100000 1000000] [--repeats 20]

A request gets the candidates of one history from every source, then the scores of all candidates by every
source. The sources are made of random arrays: ALS factors in the exact index, two tables of neighbors,
popularity. "dense" does the same by scoring the whole catalogue with each source. Memory is the peak of
allocations during a request (tracemalloc), without the arrays of the sources. Time is the median over the
repeats. Ratios are relative to the smallest catalogue.
"""

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from recsys.arrays import Floats
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.retrieval.candidate_sources import (
    CandidateSource,
    FactorSource,
    ItemNeighborSource,
    PopularitySource,
    merge,
)
from recsys.retrieval.index.build import build_index
from recsys.retrieval.topk import top_k

NUM_FACTORS, NUM_NEIGHBORS, HISTORY_LENGTH, NUM_CANDIDATES, RETRIEVED = 64, 100, 100, 20, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    first: dict[str, tuple[float, float]] = {}
    print("| items | method | memory (MB) | ratio | time (ms) | ratio |\n|---|---|---|---|---|---|")
    for num_items in args.items:
        sources, history = make_sources(num_items), make_history(num_items)
        for method, request in (("sources", sparse_request), ("dense", dense_request)):
            memory, seconds = measure(partial(request, sources, history), args.repeats)
            least = first.setdefault(method, (memory, seconds))
            print(
                f"| {num_items:,} | {method} | {memory / 1e6:.2f} | {memory / least[0]:.1f} "
                f"| {1e3 * seconds:.1f} | {seconds / least[1]:.1f} |",
                flush=True,
            )


def make_sources(num_items: int) -> list[CandidateSource]:
    rng, size = np.random.default_rng(0), num_items + NUM_RESERVED
    factor = rng.standard_normal((size, NUM_FACTORS), np.float32)
    factor[:NUM_RESERVED] = 0
    sources: list[CandidateSource] = [
        FactorSource(name="als", index=build_index("exact", factor), regularization=1.0, alpha=1.0)
    ]
    for name, decay in (("item_item", 1.0), ("transitions", 0.8)):
        neighbor = rng.integers(NUM_RESERVED, size, (size, NUM_NEIGHBORS), np.int32)
        weight = rng.random((size, NUM_NEIGHBORS), np.float32)
        sources.append(ItemNeighborSource(name=name, neighbor=neighbor, weight=weight, decay=decay))
    score = rng.random(size, np.float32)
    score[:NUM_RESERVED] = 0
    return [*sources, PopularitySource(name="popularity", score=score)]


def make_history(num_items: int) -> History:
    item = np.random.default_rng(1).integers(NUM_RESERVED, num_items, HISTORY_LENGTH)
    num = len(item)
    return History(
        item=item,
        timestamp=np.arange(num),
        event=np.full(num, 2),
        value=np.full(num, np.nan, np.float32),
        seen=np.unique(item),
    )


def sparse_request(sources: list[CandidateSource], history: History) -> None:
    retrieved = np.arange(NUM_RESERVED, NUM_RESERVED + RETRIEVED)[None]
    added = [source.candidates([history], NUM_CANDIDATES, excluded=[history.seen])[0] for source in sources]
    merged = merge(retrieved, added)
    for source in sources:
        source.scores([history], merged)


def dense_request(sources: list[CandidateSource], history: History) -> None:
    """Scores of the whole catalogue by each source, the best of them, and the scores of all candidates."""
    retrieved = np.arange(NUM_RESERVED, NUM_RESERVED + RETRIEVED)[None]
    scores = [dense_scores(source, history) for source in sources]
    added = [
        top_k(np.where(score > 0, score, -np.inf), NUM_CANDIDATES, excluded=[history.seen])[0]
        for score in scores
    ]
    merged = merge(retrieved, added)
    np.stack([np.take_along_axis(score, merged, 1) for score in scores], axis=-1)


def dense_scores(source: CandidateSource, history: History) -> Floats:
    """Scores of all items for the history. Shape [1, N]."""
    if isinstance(source, FactorSource):
        return np.maximum(source.user_factors([history]) @ source.factor.T, 0.0)
    if isinstance(source, PopularitySource):
        return np.tile(source.score, (1, 1))
    assert isinstance(source, ItemNeighborSource)
    age = np.arange(len(history))[::-1]
    share = source.decay**age / (source.decay**age).sum()
    vote = (source.weight[history.item] * share[:, None]).ravel()
    near = source.neighbor[history.item].ravel()
    return np.bincount(near, vote, minlength=len(source.neighbor)).astype(np.float32)[None]


def measure(request: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Peak bytes and median seconds of a request, after one that fills the caches."""
    request()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        request()
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    request()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return float(peak), median(seconds)


if __name__ == "__main__":
    main()
