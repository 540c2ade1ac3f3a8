"""A world of seven items and four users, small enough to count by hand, for the tests of a report."""

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.arrays import Ints
from recsys.ids import IdMap
from recsys.metrics.bootstrap import Estimate
from recsys.metrics.ranking import IdLists
from training.evaluation.ground_truth import GroundTruth
from training.evaluation.predictions import Predictions
from training.evaluation.results import Evaluation, ViewResult

IDS = IdMap(["a", "b", "c", "d", "e", "x", "y"])  # x and y are new
# user -> what is to be found, what recsys and popularity answered, items known before
USERS: Mapping[str, tuple[str, str, str, int]] = {
    "1": ("ab", "abc", "cde", 2),
    "2": ("c", "dc", "c", 7),
    "3": ("dx", "xab", "abc", 9),
    "4": ("e", "", "bae", 30),
}


def lists(names: Sequence[str]) -> IdLists:
    return IdLists.from_lists([IDS.encode(each) for each in names])


def ranked(names: Sequence[str], width: int = 3) -> Ints:
    rows = np.zeros((len(names), width), np.int64)
    for row, each in zip(rows, names, strict=True):
        row[: len(each)] = IDS.encode(each)
    return rows


def answers() -> Predictions:
    sought = [each[0] for each in USERS.values()]
    return Predictions(
        users=tuple(USERS),
        num_seen=np.array([each[3] for each in USERS.values()]),
        warm=lists([each.replace("x", "") for each in sought]),
        cold=lists(["x" if "x" in each else "" for each in sought]),
        models={
            "recsys": ranked([each[1] for each in USERS.values()]),
            "popularity": ranked([each[2] for each in USERS.values()]),
        },
    )


def ground_truth(sought: Mapping[str, str] | None = None) -> GroundTruth:
    """The held-out items of `USERS`, or of the users of `sought`."""
    found = {user: each[0] for user, each in USERS.items()} if sought is None else sought
    row = [at for at, names in enumerate(found.values()) for _ in names]
    cold = np.zeros(IDS.size, np.bool_)
    cold[IDS.encode(["x", "y"])] = True
    return GroundTruth(
        users=tuple(found),
        row=np.array(row, np.int64),
        item=IDS.encode(list("".join(found.values()))),
        cold=cold,
        seen=None,
        num_seen=np.array([USERS[user][3] for user in found], np.int64),
        counts={"catalogue_items": len(IDS), "cold_items": 2},
    )


def gap(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def view(num_users: int = 100, **values: float) -> ViewResult:
    """A view in which every metric of a model has one value, its interval 0.01 to either side."""
    metrics = [f"{name}@10" for name in ("recall", "hr", "ndcg", "mrr")]
    estimates = {
        model: {metric: gap(value, max(value - 0.01, 0), value + 0.01 if value else 0) for metric in metrics}
        for model, value in values.items()
    }
    return ViewResult(description="a view", num_users=num_users, num_pairs=1, num_ranked=7, models=estimates)


def evaluation(**views: ViewResult) -> Evaluation:
    """An evaluation at k = 10 with these views, the others empty."""
    empty = ViewResult(description="a view", num_users=0, num_pairs=0, num_ranked=7, models={})
    return Evaluation(
        protocol="hand-written",
        description="by hand",
        ks=(10,),
        exclude_seen=True,
        counts={"repeats_dropped": 0},
        views={name: views.get(name, empty) for name in ("warm", "cold_full", "cold_pool")},
    )
