"""A world of five items and three users, and a model that recommends the same to all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from features.splits.split import InMemorySplit, Split
from recsys.arrays import Bools, Ints
from recsys.ids import IdMap
from recsys.item_features import ItemFeatures
from recsys.metrics.beyond_accuracy import Content
from recsys.progress import Progress, silent
from training.evaluation.evaluate import Evaluation, EvaluationSet, EvaluationSettings, TopK, evaluate
from training.evaluation.predictions import Predictions

IDS = IdMap(["a", "b", "c", "x", "y"])  # 2 to 6; x and y are cold
NUM = IDS.size
ITEMS = ItemFeatures(
    item_ids=IDS,
    dense={},
    present={},
    categories={},
    category_ids={},
    trained=np.ones(NUM, np.bool_),
    popularity=np.zeros(NUM, np.float32),
)


def make_events(pairs: Sequence[tuple[str, str]], positive: bool = True) -> pl.DataFrame:
    schema = {"user_id": pl.String, "item_id": pl.String}
    table = pl.DataFrame(list(pairs), schema=schema, orient="row")
    return table.with_columns(positive=pl.lit(positive)).with_row_index("row")


def make_split(
    test: Sequence[tuple[str, str]],
    train: Sequence[tuple[str, str]] = (("1", "a"), ("2", "b"), ("3", "c")),
) -> Split:
    empty = make_events([])
    return InMemorySplit(
        protocol="hand-written",
        description="five items",
        train=make_events(train),
        validation=empty,
        test=make_events(test),
        context=empty,
        reviews=empty,
    )


SEEN: dict[str, Ints] = {"1": IDS.encode(["a"]), "2": IDS.encode(["b"]), "3": IDS.encode(["c"])}
TEST = [("1", "b"), ("1", "x"), ("2", "y"), ("2", "x"), ("3", "a"), ("3", "b")]


class Fixed:
    """Recommends the same order to all, seen items left out where it is told of them."""

    def __init__(self, order: str, seen: Mapping[str, Ints] | None = SEEN, name: str = "fixed") -> None:
        self.name = name
        self.order = IDS.encode(order)
        self.seen = seen or {}
        self.asked: list[tuple[list[str], bool]] = []

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        self.asked.append((list(users), allowed is not None))
        ranked = np.zeros((len(users), k), np.int64)
        for row, user in enumerate(users):
            known = self.seen.get(user, ())
            mine = [item for item in self.order if item not in known and (allowed is None or allowed[item])]
            ranked[row, : len(mine[:k])] = mine[:k]
        return ranked


def evaluated(
    models: Sequence[TopK],
    *,
    split: Split,
    items: ItemFeatures = ITEMS,
    seen: Mapping[str, Ints] = SEEN,
    content: Content | None = None,
    keep: Callable[[Predictions], None] | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Evaluation:
    """`evaluate` with the fields of `EvaluationSettings` by name."""
    data = EvaluationSet(split=split, items=items, seen=seen)
    return evaluate(
        models, data, EvaluationSettings(**settings), content=content, keep=keep, progress=progress
    )
