"""Figures beyond accuracy of a small made-up world, computed by RecTools, for
tests/recsys/metrics/test_beyond_accuracy.py.

    uv venv peer && uv pip install -p peer rectools==0.19.0
    peer/bin/python scripts/rectools_values.py > tests/recsys/rectools.json

RecTools wants older numpy and pandas than we do, so it has an environment of its own, and the tests read
what it printed. Every user has one event, so that a share of users is a share of events; lists have two items
or more, since RecTools gives a single item a diversity of 0, where there is no pair to speak of.
"""

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from rectools.metrics import AvgRecPopularity, CatalogCoverage, IntraListDiversity, MeanInvUserFreq
from rectools.metrics.distances import PairwiseDistanceCalculator

NUM_USERS, NUM_ITEMS, NUM_EVENTS, WIDTH, DIM = 30, 25, 200, 8, 6
KS = (2, 3, 8)


class Cosine(PairwiseDistanceCalculator):
    """1 - cosine of the items' standardised vectors, item i being row i - 1."""

    def __init__(self, vectors: Any) -> None:
        scaled = (vectors - vectors.mean(0)) / vectors.std(0)
        self.unit = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)

    def _get_distances_for_item_pairs(self, items_0: Any, items_1: Any) -> Any:
        one, other = (np.asarray(items, int) - 1 for items in (items_0, items_1))
        return 1.0 - (self.unit[one] * self.unit[other]).sum(1)


def main() -> None:
    rng = np.random.default_rng(0)
    items = np.arange(1, NUM_ITEMS + 1)
    lists = [rng.permutation(items)[: rng.integers(2, WIDTH + 1)] for _ in range(NUM_USERS)]
    weight = 1.0 / items**1.5
    events = rng.choice(items, NUM_EVENTS, p=weight / weight.sum())
    vectors = rng.normal(size=(NUM_ITEMS, DIM)).round(3)
    reco = pd.DataFrame(
        [
            {"user_id": user, "item_id": int(item), "rank": rank}
            for user, row in enumerate(lists)
            for rank, item in enumerate(row, 1)
        ]
    )
    past = pd.DataFrame({"user_id": range(NUM_EVENTS), "item_id": events})
    values: dict[str, Any] = {}
    for k in KS:
        per_user = {
            "novelty": MeanInvUserFreq(k=k).calc_per_user(reco, past),
            "arp": AvgRecPopularity(k=k).calc_per_user(reco, past),
            "ild": IntraListDiversity(k=k, distance_calculator=Cosine(vectors)).calc_per_user(reco),
        }
        values |= {f"{name}@{k}": value.sort_index().tolist() for name, value in per_user.items()}
        values[f"coverage@{k}"] = CatalogCoverage(k=k, normalize=True).calc(reco, items)
    world = {
        "rectools": version("rectools"),
        "lists": [row.tolist() for row in lists],
        "events": np.bincount(events, minlength=NUM_ITEMS + 1)[1:].tolist(),
        "vectors": vectors.tolist(),
        "values": values,
    }
    print(json.dumps(world))


if __name__ == "__main__":
    main()
