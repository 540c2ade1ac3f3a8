"""Metrics beyond accuracy on small random data, computed by RecTools, for
tests/recsys/metrics/test_beyond_accuracy.py.

    uv venv peer && uv pip install -p peer rectools==0.19.0
    peer/bin/python scripts/rectools_values.py > tests/recsys/rectools.json

RecTools needs older versions of numpy and pandas, so it has a separate environment, and the tests read its
output. Every user has one event, so that a share of users is a share of events. Lists have at least two
items, because RecTools gives a list of one item, which has no pair, a diversity of 0.
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
    """1 - cosine of the items' standardised vectors; row i - 1 is item i."""

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
