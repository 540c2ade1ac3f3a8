"""Full-ranking evaluation: every model ranks the whole catalogue, three views, intervals over users.

Shape suffixes: U users, N items, K ranks. docs/evaluation.md says the protocol in words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.splits.split import Split
from recsys.arrays import Bools, Ints
from recsys.errors import RecsysError
from recsys.ids import NUM_RESERVED, PAD
from recsys.item_features import ItemFeatures
from recsys.metrics.beyond_accuracy import Content
from recsys.metrics.bootstrap import Estimate
from recsys.metrics.ranking import Doubles, IdLists, at_k
from recsys.progress import Progress, silent
from training.evaluation.aggregate import (
    Lists,
    estimates,
    looked_at,
    measure,
)
from training.evaluation.ground_truth import (
    Part,
    Truth,
    seen_lists,
    truth_of,
)
from training.evaluation.predictions import Predictions
from training.evaluation.results import Evaluation, ViewResult
from training.evaluation.slices import slices_of

__all__ = ["VIEWS", "Estimate", "Evaluation", "TopK", "ViewResult", "evaluate", "seen_lists"]

VIEWS = {
    "warm": "test positives on items with a training or validation event, the whole catalogue ranked",
    "cold_full": "test positives on items without a training or validation event, the whole catalogue ranked",
    "cold_pool": "test positives on items without a training or validation event, only such items ranked",
}
_SCORES_AT_ONCE = 8_000_000  # users whose dense float32 scores take 32 MB are asked for at once
_USERS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class ByUser:
    """One model in one view: whom it counts, and metric -> [U] by row of them; none without users."""

    part: Part
    values: Mapping[str, Doubles]


class TopK(Protocol):
    """Whatever answers with items for users: a baseline, the oracle, our own model."""

    @property
    def name(self) -> str: ...

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        """Ids of `ItemFeatures.item_ids`, best first, 0 after the last one. Shape [U, k].

        Only items where `allowed` [N] is true, all when it is None. Items that the user has seen are
        left out if the model was made to do so.
        """
        ...


def evaluate(
    models: Sequence[TopK],
    *,
    split: Split,
    items: ItemFeatures,
    seen: Mapping[str, Ints],
    ks: Sequence[int] = (10, 20),
    exclude_seen: bool = True,
    beyond_accuracy: bool = False,
    content: Content | None = None,
    with_slices: bool = True,
    ours: str | None = None,
    progress: Progress = silent,
    seed: int = 0,
    keep: Callable[[Predictions], None] | None = None,
) -> Evaluation:
    """Metrics of `models` on the test positives of `split`, in every view of `VIEWS`.

    `seen` gives each user's items of any kind before the test, absent for a user without a history.
    With `exclude_seen`, a test pair that is among them (a repeat) is no truth and is counted, and a
    model that recommends one of them is refused with `RecsysError`. `beyond_accuracy` adds the figures of
    `recsys.metrics.beyond_accuracy` (`content` is that of `items`, for who has it already) and,
    `with_slices`, the slices;
    `ours` names the model whose differences to every other are taken. `keep` is handed what every model
    answered over the whole catalogue.
    """
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise RecsysError(f"models named {names}: each needs a name of its own")
    if ours is not None and ours not in names:
        raise RecsysError(f"differences of {ours!r} asked for, which is none of {names}")
    truth = truth_of(split, items, seen, exclude_seen)
    views = {name: _view(name, truth) for name in VIEWS}
    if beyond_accuracy and content is None:
        content = Content.of(items)

    def lists(ranked_UK: Ints) -> Lists:
        return looked_at(ranked_UK, ks, items, content) if beyond_accuracy else _ranked_alone(ranked_UK)

    whole, pooled = _answers(models, truth, views["cold_pool"].rows, max(ks), lists, progress)
    if keep is not None:
        keep(truth.answered({name: each.ranked_UK for name, each in whole.items()}))

    def result(part: Part, answered: Mapping[str, Lists] | None = None) -> ViewResult:
        answered = answered or {name: each.of(part.rows) for name, each in whole.items()}
        return _result(part, answered, ks, ours, seed)

    slices = slices_of(truth, items.popularity) if beyond_accuracy and with_slices else {}
    return Evaluation(
        protocol=split.protocol,
        description=split.description,
        ks=tuple(ks),
        exclude_seen=exclude_seen,
        counts=truth.counts,
        ours=ours,
        content=content.names if content else (),
        views={name: result(part, pooled if name == "cold_pool" else None) for name, part in views.items()},
        slices={kind: {name: result(part) for name, part in parts.items()} for kind, parts in slices.items()},
    )


def figures_by_user(
    model: TopK,
    *,
    split: Split,
    items: ItemFeatures,
    seen: Mapping[str, Ints],
    ks: Sequence[int] = (10, 20),
    exclude_seen: bool = True,
    progress: Progress = silent,
) -> tuple[Truth, dict[str, ByUser]]:
    """What the test asks for, and the accuracy of `model` for each user of each view, as in `evaluate`."""
    truth = truth_of(split, items, seen, exclude_seen)
    views = {name: _view(name, truth) for name in VIEWS}
    whole, pooled = _answers([model], truth, views["cold_pool"].rows, max(ks), _ranked_alone, progress)
    found = {}
    for name, part in views.items():
        lists = pooled[model.name] if name == "cold_pool" else whole[model.name].of(part.rows)
        values = at_k(lists.ranked_UK, part.truth, ks) if len(part.rows) else {}
        found[name] = ByUser(part=part, values=values)
    return truth, found


def _ranked_alone(ranked_UK: Ints) -> Lists:
    return Lists(ranked_UK=ranked_UK)


def _view(name: str, truth: Truth) -> Part:
    keep = ~truth.is_cold if name == "warm" else truth.is_cold
    num_ranked = truth.counts["cold_items"] if name == "cold_pool" else None
    return truth.part(VIEWS[name], keep, num_ranked=num_ranked)


def _answers(
    models: Sequence[TopK],
    truth: Truth,
    pool_rows: Ints,
    k: int,
    lists: Callable[[Ints], Lists],
    progress: Progress,
) -> tuple[dict[str, Lists], dict[str, Lists]]:
    """Every model's answers for all users over the whole catalogue, and for `pool_rows` among cold items."""
    everybody = np.arange(len(truth.users))
    per_model = len(everybody) + len(pool_rows)
    whole: dict[str, Lists] = {}
    pooled: dict[str, Lists] = {}
    for at, model in enumerate(models):
        done, total = at * per_model, len(models) * per_model
        ranking = _Ranking(model=model, truth=truth, k=k, progress=progress, total=total)
        whole[model.name] = lists(ranking.of(everybody, None, done))
        pooled[model.name] = lists(ranking.of(pool_rows, truth.cold, done + len(everybody)))
    return whole, pooled


def _result(
    part: Part, answered: Mapping[str, Lists], ks: Sequence[int], ours: str | None, seed: int
) -> ViewResult:
    measured = measure(part, answered, ks, ours=ours, seed=seed)
    return ViewResult(
        description=part.description,
        num_users=len(part.rows),
        num_pairs=len(part.truth.ids),
        num_ranked=part.num_ranked,
        models={name: estimates(figures) for name, figures in measured.models.items()},
        differences={name: estimates(gaps) for name, gaps in measured.differences.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """Asks one model for its answers, a bounded number of users at a time, and checks them."""

    model: TopK
    truth: Truth
    k: int
    progress: Progress
    total: int

    def of(self, rows: Ints, allowed: Bools | None, done: int) -> Ints:
        """Answers for `rows` of the test's users. Shape [len(rows), k]."""
        name, num_items = self.model.name, len(self.truth.cold)
        step = min(max(_SCORES_AT_ONCE // num_items, 1), _USERS_AT_ONCE)
        ranked = [np.empty((0, self.k), np.int64)]
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step]
            users = [self.truth.users[row] for row in chunk]
            answer_UK = self.model.recommend(users, self.k, allowed=allowed)
            _check_answer(name, answer_UK, users, self.k, allowed, num_items)
            if self.truth.seen is not None:
                _check_unseen(name, answer_UK, users, self.truth.seen, chunk)
            ranked.append(answer_UK)
            self.progress("evaluate", done + start + len(chunk), self.total, name)
        return np.concatenate(ranked)


def _check_answer(
    name: str, answer_UK: Ints, users: list[str], k: int, allowed: Bools | None, num_items: int
) -> None:
    if answer_UK.shape != (len(users), k):
        raise RecsysError(f"{name}: answered with shape {answer_UK.shape}, asked for {(len(users), k)}")
    real = (answer_UK >= NUM_RESERVED) & (answer_UK < num_items)
    wrong = ~real & (answer_UK != PAD)
    if not wrong.any() and allowed is not None:
        wrong = real & ~allowed[answer_UK]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        item = int(answer_UK[row, column])
        raise RecsysError(f"{name}: recommended item {item} to {users[row]!r}, which is not allowed here")


def _check_unseen(name: str, answer_UK: Ints, users: list[str], seen: IdLists, rows: Ints) -> None:
    wrong = seen.contain_pairs(rows[:, None], answer_UK)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise RecsysError(
            f"{name}: recommended item {int(answer_UK[row, column])} to {users[row]!r}, who has seen it; "
            "make the model leave seen items out, or evaluate with exclude_seen = false"
        )
