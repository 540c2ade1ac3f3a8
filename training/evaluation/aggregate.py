"""Every metric of every model on one part of a test, and the paired differences of the models.

Shape suffixes: U users of the part, K ranks, M metrics, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Ints
from recsys.item_features import ItemFeatures
from recsys.metrics import (
    Content,
    Doubles,
    Estimate,
    Exposure,
    IdLists,
    Sampled,
    at_k,
    coverage,
    gini,
    per_user,
    resamples,
    weighted_means,
)
from training.evaluation.ground_truth import Part

Results = Mapping[str, Sampled]  # metric -> value and resamples


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """Results of all models on one part; empty where the part has no users."""

    models: Mapping[str, Results]
    differences: Mapping[str, Results]  # other model -> main model minus it; empty without main model


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The lists of one model, [U, K], and the metrics beyond accuracy of each list."""

    ranked_UK: Ints
    beyond: Mapping[str, Doubles] | None = None  # metric -> [U]; None: accuracy alone is measured

    def of(self, rows: Ints) -> "Lists":
        """The lists of the users in `rows`."""
        beyond = self.beyond
        return Lists(
            ranked_UK=self.ranked_UK[rows],
            beyond=None if beyond is None else {name: value_U[rows] for name, value_U in beyond.items()},
        )


def with_beyond_accuracy(
    ranked_UK: Ints, ks: Sequence[int], items: ItemFeatures, content: Content | None
) -> Lists:
    """A model's lists, with their metrics beyond accuracy."""
    return Lists(
        ranked_UK=ranked_UK,
        beyond=per_user(ranked_UK, ks, popularity_N=items.popularity, content=content),
    )


def aggregate(
    part: Part,
    models: Mapping[str, Lists],
    ks: Sequence[int],
    *,
    main_model: str | None = None,
    seed: int = 0,
) -> Aggregate:
    """Results of all models by metric, such as "ndcg@10", and differences: `main_model` minus every other.

    `models` have one list for each user of `part`, in order. All models share the resamples. A metric without
    a value, such as the novelty of lists that are all empty, is absent. A difference is a mean over the users
    for whom both models have a value, in every resample; it is absent where no user has both.
    """
    if not len(part.rows):
        return Aggregate(models={}, differences={})
    measured = {name: _Measured(part, lists, ks) for name, lists in models.items()}
    others = [name for name in measured if name != main_model] if main_model else []
    gaps = {name: _Gap(measured[main_model], measured[name]) for name in others if main_model}
    width = max(each.width for each in measured.values())
    for drawn_RU in resamples(len(part.rows), seed=seed, width=width):
        weight_RU = drawn_RU.astype(np.float64)
        drawn_UR = np.ascontiguousarray(drawn_RU.T)
        for each in measured.values():
            each.draw(weight_RU, drawn_UR)
        for gap in gaps.values():
            gap.draw(weight_RU)
    results = {name: each.results() for name, each in measured.items()}
    return Aggregate(
        models=results,
        differences={
            name: gap.results(results[main_model], results[name]) for name, gap in gaps.items() if main_model
        },
    )


def compare_lists(
    first_UK: Ints,
    second_UK: Ints,
    ground_truth: IdLists,
    ks: Sequence[int],
    *,
    items: ItemFeatures | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The difference of every metric, first minus second, for lists of the same users in the same order.

    The lists can be two columns of `Predictions`. Intervals are of the paired difference, as in `aggregate`.
    Users without ground truth do not count. With `items`, metrics beyond accuracy are compared too. Empty
    where no user has ground truth.
    """
    rows = np.flatnonzero(ground_truth.counts)
    part = Part(
        description="",
        rows=rows,
        ground_truth=IdLists(
            offsets=np.append(ground_truth.offsets[rows], ground_truth.offsets[-1]), ids=ground_truth.ids
        ),
        num_ranked=len(items.item_ids) if items else 0,
    )
    content = Content.of(items) if items else None
    lists = {
        name: with_beyond_accuracy(ranked_UK[rows], ks, items, content)
        if items
        else Lists(ranked_UK=ranked_UK[rows])
        for name, ranked_UK in {"first": first_UK, "second": second_UK}.items()
    }
    gaps = aggregate(part, lists, ks, main_model="first", seed=seed).differences
    return estimates(gaps["second"]) if gaps else {}


def estimates(results: Results) -> dict[str, Estimate]:
    """Every result with its interval."""
    return {name: each.estimate() for name, each in results.items()}


class _Measured:
    """One model: its value for each user and metric, and its means in the resamples drawn so far."""

    def __init__(self, part: Part, lists: Lists, ks: Sequence[int]) -> None:
        values = {**at_k(lists.ranked_UK, part.ground_truth, ks), **(lists.beyond or {})}
        self.values = {name: value_U for name, value_U in values.items() if not np.isnan(value_U).all()}
        self._value_UM = np.stack(list(self.values.values()), axis=1)
        self._means: list[Doubles] = []
        self._exposure = None if lists.beyond is None else Exposure(lists.ranked_UK, ks)
        self._of_sets: dict[str, list[Doubles]] = {}
        self._num_rankable = part.num_ranked

    @property
    def width(self) -> int:
        return self._exposure.num_listed if self._exposure else 0

    def draw(self, weight_RU: Doubles, drawn_UR: Ints) -> None:
        self._means.append(weighted_means(weight_RU, self._value_UM))
        if self._exposure is not None:
            for name, value_R in self._of_exposure(self._exposure, drawn_UR).items():
                self._of_sets.setdefault(name, []).append(value_R)

    def results(self) -> dict[str, Sampled]:
        value_M, mean_RM = np.nanmean(self._value_UM, axis=0), np.concatenate(self._means)
        found = {
            name: Sampled(value=float(value_M[at]), drawn_R=mean_RM[:, at])
            for at, name in enumerate(self.values)
        }
        if self._exposure is None:
            return found
        once_U1 = np.ones((len(self._value_UM), 1), np.int64)
        for name, value_1 in self._of_exposure(self._exposure, once_U1).items():
            if not np.isnan(value_1).any():
                drawn = Sampled(value=float(value_1[0]), drawn_R=np.concatenate(self._of_sets[name]))
                found[name] = drawn.centred(0.0, 1.0)
        return found

    def _of_exposure(self, exposure: Exposure, drawn_UR: Ints) -> dict[str, Doubles]:
        found = {}
        for k, count_RN in exposure.counts(drawn_UR):
            found[f"coverage@{k}"] = coverage(count_RN, self._num_rankable)
            found[f"gini@{k}"] = gini(count_RN, self._num_rankable)
        return found


class _Gap:
    """One model minus another. A metric that some users lack is averaged over users with both values."""

    def __init__(self, first: _Measured, second: _Measured) -> None:
        shared = [
            (name, first.values[name], second.values[name]) for name in first.values if name in second.values
        ]
        self._gap_of = {
            name: one_U - two_U for name, one_U, two_U in shared if (np.isnan(one_U) != np.isnan(two_U)).any()
        }
        self._means: list[Doubles] = []

    def draw(self, weight_RU: Doubles) -> None:
        if self._gap_of:
            self._means.append(weighted_means(weight_RU, np.stack(list(self._gap_of.values()), axis=1)))

    def results(self, first: Results, second: Results) -> dict[str, Sampled]:
        found = {name: first[name] - second[name] for name in first if name in second}
        for at, (name, gap_U) in enumerate(self._gap_of.items()):
            if np.isnan(gap_U).all():
                del found[name]
                continue
            drawn_R = np.concatenate([mean_RM[:, at] for mean_RM in self._means])
            found[name] = Sampled(value=float(np.nanmean(gap_U)), drawn_R=drawn_R)
        return found
