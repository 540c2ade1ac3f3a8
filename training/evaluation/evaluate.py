"""Full-ranking evaluation: every model ranks the whole catalogue, in three views, with intervals over users.

docs/evaluation.md has the protocol in words. Shape suffixes: U users, N items, K ranks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recsys.arrays import Bools, Ints
from recsys.config import EvaluateConfig
from recsys.errors import RecsysError
from recsys.ids import NUM_RESERVED, PAD
from recsys.metrics import Content, Doubles, Estimate, IdLists, at_k
from recsys.progress import Progress, silent
from training.evaluation.aggregate import Lists, aggregate, estimates, with_beyond_accuracy
from training.evaluation.ground_truth import EvaluationSet, GroundTruth, Part, seen_lists
from training.evaluation.predictions import Predictions
from training.evaluation.results import Evaluation, ViewResult
from training.evaluation.slices import slices_of

__all__ = [
    "VIEWS",
    "Estimate",
    "Evaluation",
    "EvaluationSet",
    "EvaluationSettings",
    "TopK",
    "ViewResult",
    "evaluate",
    "seen_lists",
]

VIEWS = {
    "warm": "test positives on items with a training or validation event, the whole catalogue ranked",
    "cold_full": "test positives on items without a training or validation event, the whole catalogue ranked",
    "cold_pool": "test positives on items without a training or validation event, only such items ranked",
}
# Both bound the memory of one call of a model and change no result: dense float32 scores take 32 MB.
_SCORES_AT_ONCE = 8_000_000
_USERS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Length of the lists, treatment of seen items, and the metrics.

    With `exclude_seen`, a test pair on a seen item (a repeat) does not count, and a model that recommends a
    seen item is an error. `beyond_accuracy` adds the metrics of `recsys.metrics.beyond_accuracy` and,
    `with_slices`, the slices. `main_model` names the model that is compared with every other, paired by user.
    """

    ks: tuple[int, ...] = (10, 20)
    exclude_seen: bool = True
    beyond_accuracy: bool = False
    with_slices: bool = True
    main_model: str | None = None
    seed: int = 0  # of the bootstrap

    @classmethod
    def of(cls, config: EvaluateConfig, *, main_model: str | None = None) -> "EvaluationSettings":
        """The settings of a run: with slices, and with the metrics beyond accuracy."""
        return cls(ks=config.k, exclude_seen=config.exclude_seen, beyond_accuracy=True, main_model=main_model)


class TopK(Protocol):
    """A model that recommends k items: a baseline, the oracle, the trained system."""

    @property
    def name(self) -> str: ...

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        """Ids of `ItemFeatures.item_ids`, best first, 0 after the last one. Shape [U, k].

        Only items where `allowed` [N] is true; None allows all. Whether seen items are left out is a setting
        of the model.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ByUser:
    """The accuracy of one model in one view: metric -> [U] by row of the part; empty without users."""

    part: Part
    values: Mapping[str, Doubles]


def evaluate(
    models: Sequence[TopK],
    data: EvaluationSet,
    settings: EvaluationSettings = EvaluationSettings(),
    *,
    content: Content | None = None,
    progress: Progress = silent,
    keep: Callable[[Predictions], None] | None = None,
) -> Evaluation:
    """Metrics of `models` on the test positives of the split, in every view of `VIEWS`.

    `content` saves making `Content.of(data.items)` again. `keep` is called with every model's lists over the
    whole catalogue. Without a user to measure on, the views are empty and `not_measured` has the reason.
    Raises `RecsysError` for a model that recommends an item that is not allowed or was seen.
    """
    _check_names([model.name for model in models], settings.main_model)
    ground_truth = GroundTruth.of(data, exclude_seen=settings.exclude_seen)
    if settings.beyond_accuracy and content is None:
        content = Content.of(data.items)

    def lists(ranked_UK: Ints) -> Lists:
        if settings.beyond_accuracy:
            return with_beyond_accuracy(ranked_UK, settings.ks, data.items, content)
        return Lists(ranked_UK=ranked_UK)

    views = _views(ground_truth)
    full, pooled = _recommended(models, ground_truth, views, max(settings.ks), lists, progress)
    if keep is not None:
        keep(ground_truth.with_lists({name: each.ranked_UK for name, each in full.items()}))

    def result(part: Part, found: Mapping[str, Lists] | None = None) -> ViewResult:
        found = found or {name: each.of(part.rows) for name, each in full.items()}
        return _result(part, found, settings)

    has_slices = settings.beyond_accuracy and settings.with_slices
    slices = slices_of(ground_truth, data.items.popularity) if has_slices else {}
    return Evaluation(
        protocol=data.split.protocol,
        description=data.split.description,
        ks=tuple(settings.ks),
        exclude_seen=settings.exclude_seen,
        counts=ground_truth.counts,
        not_measured=ground_truth.not_measured,
        main_model=settings.main_model,
        content=content.names if content else (),
        views={name: result(part, pooled if name == "cold_pool" else None) for name, part in views.items()},
        slices={kind: {name: result(part) for name, part in parts.items()} for kind, parts in slices.items()},
    )


def results_by_user(
    model: TopK,
    data: EvaluationSet,
    settings: EvaluationSettings = EvaluationSettings(),
    *,
    progress: Progress = silent,
) -> tuple[GroundTruth, dict[str, ByUser]]:
    """The ground truth, and the accuracy of `model` for each user of each view, as in `evaluate`."""
    ground_truth = GroundTruth.of(data, exclude_seen=settings.exclude_seen)
    views, ks = _views(ground_truth), settings.ks

    def lists(ranked_UK: Ints) -> Lists:
        return Lists(ranked_UK=ranked_UK)

    full, pooled = _recommended([model], ground_truth, views, max(ks), lists, progress)
    found = {}
    for name, part in views.items():
        each = pooled[model.name] if name == "cold_pool" else full[model.name].of(part.rows)
        values = at_k(each.ranked_UK, part.ground_truth, ks) if len(part.rows) else {}
        found[name] = ByUser(part=part, values=values)
    return ground_truth, found


def _check_names(names: Sequence[str], main_model: str | None) -> None:
    if len(set(names)) != len(names):
        raise RecsysError(f"models named {names}: the names must be distinct")
    if main_model is not None and main_model not in names:
        raise RecsysError(f"main_model = {main_model!r} is not among the models {names}")


def _views(ground_truth: GroundTruth) -> dict[str, Part]:
    warm, cold = ~ground_truth.is_cold, ground_truth.is_cold
    num_cold = ground_truth.counts["cold_items"]
    return {
        "warm": ground_truth.part(VIEWS["warm"], warm),
        "cold_full": ground_truth.part(VIEWS["cold_full"], cold),
        "cold_pool": ground_truth.part(VIEWS["cold_pool"], cold, num_ranked=num_cold),
    }


def _recommended(
    models: Sequence[TopK],
    ground_truth: GroundTruth,
    views: Mapping[str, Part],
    k: int,
    lists: Callable[[Ints], Lists],
    progress: Progress,
) -> tuple[dict[str, Lists], dict[str, Lists]]:
    """Every model's lists over the catalogue, and the lists of the view cold_pool over cold items."""
    all_rows, pool_rows = np.arange(len(ground_truth.users)), views["cold_pool"].rows
    per_model = len(all_rows) + len(pool_rows)
    full: dict[str, Lists] = {}
    pooled: dict[str, Lists] = {}
    for at, model in enumerate(models):
        done, total = at * per_model, len(models) * per_model
        list_maker = _ListMaker(model=model, ground_truth=ground_truth, k=k, progress=progress, total=total)
        full[model.name] = lists(list_maker.lists(all_rows, None, done))
        pooled[model.name] = lists(list_maker.lists(pool_rows, ground_truth.cold, done + len(all_rows)))
    return full, pooled


def _result(part: Part, lists: Mapping[str, Lists], settings: EvaluationSettings) -> ViewResult:
    found = aggregate(part, lists, settings.ks, main_model=settings.main_model, seed=settings.seed)
    return ViewResult(
        description=part.description,
        num_users=len(part.rows),
        num_pairs=len(part.ground_truth.ids),
        num_ranked=part.num_ranked,
        models={name: estimates(results) for name, results in found.models.items()},
        differences={name: estimates(gaps) for name, gaps in found.differences.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _ListMaker:
    """Gets the lists of one model, for a bounded number of users at a time, and checks them."""

    model: TopK
    ground_truth: GroundTruth
    k: int
    progress: Progress
    total: int

    def lists(self, rows: Ints, allowed: Bools | None, done: int) -> Ints:
        """Lists for the test users in `rows`. Shape [len(rows), k]."""
        name, num_items = self.model.name, len(self.ground_truth.cold)
        step = min(max(_SCORES_AT_ONCE // num_items, 1), _USERS_AT_ONCE)
        ranked = [np.empty((0, self.k), np.int64)]
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step]
            users = [self.ground_truth.users[row] for row in chunk]
            ranked_UK = self.model.recommend(users, self.k, allowed=allowed)
            _check_allowed(name, ranked_UK, users, self.k, allowed, num_items)
            if self.ground_truth.seen is not None:
                _check_unseen(name, ranked_UK, users, self.ground_truth.seen, chunk)
            ranked.append(ranked_UK)
            self.progress("evaluate", done + start + len(chunk), self.total, name)
        return np.concatenate(ranked)


def _check_allowed(
    name: str, ranked_UK: Ints, users: list[str], k: int, allowed: Bools | None, num_items: int
) -> None:
    if ranked_UK.shape != (len(users), k):
        raise RecsysError(f"{name}: lists of shape {ranked_UK.shape}; expected {(len(users), k)}")
    real = (ranked_UK >= NUM_RESERVED) & (ranked_UK < num_items)
    wrong = ~real & (ranked_UK != PAD)
    if not wrong.any() and allowed is not None:
        wrong = real & ~allowed[ranked_UK]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        item = int(ranked_UK[row, column])
        raise RecsysError(f"{name}: recommended item {item} to {users[row]!r}, which is not allowed here")


def _check_unseen(name: str, ranked_UK: Ints, users: list[str], seen: IdLists, rows: Ints) -> None:
    wrong = seen.contain_pairs(rows[:, None], ranked_UK)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise RecsysError(
            f"{name}: recommended item {int(ranked_UK[row, column])} to {users[row]!r}, who has seen it; "
            "make the model leave seen items out, or evaluate with exclude_seen = false"
        )
