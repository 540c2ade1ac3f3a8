"""How faithful reasons are: of the past items that they name, how many are among the 3 that matter most.

    python benchmarks/reasons.py BUNDLE [--histories FILE] [--users 100] [-k 10]

For each user the score of every listed item is computed again without each past item of the last 50 events,
one at a time (`recsys.retrieval.score_drops`). A reason is faithful if the past item that it names is among
the 3 with the largest drop. Users have at least 5 events. Printed are the shares of faithful reasons with
intervals over users, by attention alone and with the best of `num` attended items (`by_leave_one_out`), and
the milliseconds that the second adds to a list.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval import Recommendations, Recommender, by_leave_one_out, score_drops
from serving.engine import Engine

EVENTS, TOP, LEAST_EVENTS = 50, 3, 5
NUMBERS = (4, 8, 12, 20)


def named(listed: Recommendations) -> Ints:
    """The past item that the reason of each listed item names, PAD without one. Shape [K]."""
    assert listed.history_attention is not None
    assert listed.history_items is not None
    past_H = listed.history_items[0]
    distinct, place = np.unique(past_H, return_inverse=True)
    weights = np.stack([np.bincount(place, row) for row in listed.history_attention[0]])
    weights[:, distinct < NUM_RESERVED] = 0.0
    return np.where(weights.max(1) > 0, distinct[weights.argmax(1)], PAD)


def shares(recommender: Recommender, history: History, k: int) -> tuple[list[list[float]], list[float]]:
    """Whether each reason is faithful, by way of finding it, and the milliseconds of each way."""
    listed = recommender.recommend([history], k)
    ways, times = [listed], [0.0]
    for num in NUMBERS:
        start = time.perf_counter()
        ways.append(by_leave_one_out(recommender, history, listed, num=num))
        times.append(1000 * (time.perf_counter() - start))
    newest = history.item[-EVENTS:]
    past = np.unique(newest[newest >= NUM_RESERVED])
    drops = score_drops(recommender, history, listed.items[0], past)
    best = [set(past[np.argsort(-drop, kind="stable")[:TOP]].tolist()) for drop in drops.T]
    assert listed.history_attention is not None
    read = np.flatnonzero(listed.history_attention[0].any(1) & (listed.items[0] != PAD))
    return [[float(int(names[at]) in best[at]) for at in read] for names in map(named, ways)], times


def interval(by_user: Floats) -> str:
    """The mean with a 95% interval over users."""
    draw = np.random.default_rng(0)
    means = by_user[draw.integers(len(by_user), size=(2000, len(by_user)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{by_user.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--histories", type=Path)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("-k", type=int, default=10)
    asked = parser.parse_args()
    with Engine.open(asked.bundle, histories=asked.histories, state=Path(":memory:")) as engine:
        names = np.random.default_rng(0).permutation(sorted(engine.state.user_ids())).tolist()
        found, times = [], []
        for name in names:
            history = engine.histories([name])[0]
            if history is None or len(history) < LEAST_EVENTS:
                continue
            faithful, spent = shares(engine.require_recommender(), history, asked.k)
            if faithful[0]:
                found.append([np.mean(way) for way in faithful])
                times.append(spent)
            if len(found) == asked.users:
                break
    by_user, median = np.array(found), np.median(times, axis=0)
    print(f"{len(found)} users, lists of {asked.k}")
    for at, way in enumerate(["attention alone", *(f"the best of {num} attended" for num in NUMBERS)]):
        print(f"{way:24} {interval(by_user[:, at])}  +{median[at]:.1f} ms")


if __name__ == "__main__":
    main()
