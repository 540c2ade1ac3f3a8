"""The approximate index over exact search, one query at a time, at a recall@100 of 0.99.

    python -m benchmarks.index [--items 1000000] [--bundle BUNDLE] [--queries 200] [--links 16]

With a BUNDLE its item vectors are enlarged: an item is a vector of the bundle plus noise, at unit length; the
deviation of the noise is half of the distance of a vector to its nearest neighbour, over the root of the
width. User vectors of the bundle's histories are the queries. Without one, both are drawn around 2,000 random
centres. The width of the walk (efSearch) is the least of a grid with a recall@100 of at least 0.99; the
index of `recsys` is called with it, as it answers requests. Times are CPU times of one thread.
"""

import argparse
import resource
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from recsys.arrays import Floats, unit
from recsys.bundle import Bundle, bundle_directory, compose_bundle
from recsys.ids import NUM_RESERVED
from recsys.retrieval.index import faiss as faiss_index
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.index.faiss import FaissIndex
from serving.state import open_state

K, AIM, DIM, NUM_CENTRES = 100, 0.99, 64, 2_000
WIDTHS = (100, 128, 160, 200, 256, 320, 400, 512, 640, 800, 1024, 1536, 2048)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--links", type=int, nargs="+", default=[16, 32])
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    made = generated(args, rng) if args.bundle is None else enlarged(args, rng)
    vectors, queries = np.zeros((args.items + NUM_RESERVED, made[0].shape[1]), np.float32), made[1]
    vectors[NUM_RESERVED:] = made[0]
    exact = ExactIndex.build(vectors)
    truth = [set(exact.search(query[None], K)[0][0].tolist()) for query in queries]
    exact_ms = median(cpu_ms(partial(exact.search, query[None], K)) for query in queries[:50])
    print("\n| index | build, CPU s | memory, MB | efSearch | recall@100 | CPU ms a query | over exact |")
    print("|---|---|---|---|---|---|---|")
    print(f"| exact | | {vectors.nbytes / 1e6:.0f} | | 1.000 | {exact_ms:.2f} | 1.0 |", flush=True)
    for links in args.links:
        index, seconds, megabytes = built(
            f"HNSW, {links} links", partial(FaissIndex.build, vectors, num_links=links)
        )
        for width in WIDTHS:
            faiss_index.LEAST_EF_SEARCH = width  # type: ignore[misc]
            shares = [recall(index, query, own) for query, own in zip(queries, truth, strict=True)]
            if np.mean(shares) >= AIM or width == WIDTHS[-1]:
                break
        spent = median(cpu_ms(partial(index.search, query[None], K)) for query in queries)
        print(
            f"| HNSW, {links} links | {seconds:.0f} | {megabytes:.0f} | {width} | {np.mean(shares):.4f} "
            f"| {spent:.2f} | {exact_ms / spent:.1f} |",
            flush=True,
        )


def generated(args: argparse.Namespace, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Items and queries around random centres."""
    centres = unit(rng.standard_normal((NUM_CENTRES, DIM), np.float32))

    def drawn(num: int, spread: float) -> Floats:
        noise = rng.standard_normal((num, DIM), np.float32) * np.float32(spread / np.sqrt(DIM))
        found: Floats = unit(centres[rng.integers(0, NUM_CENTRES, num)] + noise)
        return found

    return drawn(args.items, 0.6), drawn(args.queries, 0.8)


def enlarged(args: argparse.Namespace, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Items around the vectors of a bundle, and vectors of its users."""
    bundle = Bundle.open(bundle_directory(args.bundle))
    recommender, _ = compose_bundle(bundle)
    own = unit(np.asarray(bundle.item_vectors)[bundle.trained])
    nearest_N = np.sort(own @ own.T, axis=1)[:, -2]
    distance = float(np.median(np.sqrt(np.maximum(2 - 2 * nearest_N, 0.0))))
    print(f"{len(own):,} vectors of {bundle.manifest.dataset.name}, median distance {distance:.3f}")
    state = open_state(bundle, path=Path(":memory:"), histories=bundle.path.parent / "histories.parquet")
    users = [user for user, _ in zip(state.user_ids(), range(args.queries), strict=False)]
    known = [each for each in state.histories(users) if each is not None and len(each)]
    noise = rng.standard_normal((args.items, own.shape[1]), np.float32)
    noise *= np.float32(distance / 2 / np.sqrt(own.shape[1]))
    items: Floats = unit(own[rng.integers(0, len(own), args.items)] + noise)
    return items, recommender.embed(known)


def built(name: str, build: Any) -> tuple[Any, float, float]:
    """What `build` gives, its CPU seconds, and the megabytes that it added to the peak of the process."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    index = build()
    seconds = time.process_time() - start
    print(f"{name}: built in {seconds:.0f} CPU s", flush=True)
    return index, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def recall(index: FaissIndex, query: Floats, truth: set[int]) -> float:
    found = index.search(query[None], K)[0][0]
    return len(truth & set(found.tolist())) / K


def cpu_ms(call: Any) -> float:
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


if __name__ == "__main__":
    main()
