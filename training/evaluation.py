"""Full-ranking evaluation: every model ranks the whole catalogue, three views, intervals over users.

Shape suffixes: U users, N items, K ranks. docs/evaluation.md says the protocol in words.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from features.tables import Split
from features.views import view_of
from recsys.batches import Bools, Floats, Ints, ItemFeatures
from recsys.columns import Columns
from recsys.errors import DataError, RecsysError
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN
from recsys.metrics import IdLists, at_k, bootstrap_means, means
from recsys.progress import Progress, silent
from training.answers import Answers

VIEWS = {
    "warm": "test positives on items with training events, the whole catalogue ranked",
    "cold_full": "test positives on items without a training or validation event, the whole catalogue ranked",
    "cold_pool": "test positives on items without a training or validation event, only such items ranked",
}
NUM_RESAMPLES = 1000
INTERVAL = (0.025, 0.975)
_SCORES_AT_ONCE = 8_000_000  # users whose dense float32 scores take 32 MB are asked for at once
_USERS_AT_ONCE = 1024


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


def top_k(score_UN: Floats, k: int, *, allowed: Bools | None = None, seen: IdLists | None = None) -> Ints:
    """The k items of highest score for each user, ties by the lower id. Shape [U, k].

    Never padding, unknown, an item not `allowed` [N], one of the user's `seen` list, or one scored -inf;
    0 fills the places left. `score_UN` is overwritten, since a copy would double the memory.
    """
    if np.isnan(score_UN).any():
        raise RecsysError(f"NaN among the scores of user row {int(np.isnan(score_UN).any(1).argmax())}")
    score_UN[:, :NUM_RESERVED] = -np.inf
    if allowed is not None:
        score_UN[:, ~allowed] = -np.inf
    if seen is not None:
        score_UN[np.repeat(np.arange(len(seen)), seen.counts), seen.ids] = -np.inf
    width = min(k, score_UN.shape[1])
    best_UK = _best_columns(score_UN, width)
    best_UK[np.take_along_axis(score_UN, best_UK, axis=1) == -np.inf] = PAD
    return np.pad(best_UK, ((0, 0), (0, k - width)), constant_values=PAD)


def _best_columns(score_UN: Floats, k: int) -> Ints:
    """Columns of the k highest scores, ties by column."""
    if k == score_UN.shape[1]:
        return np.argsort(-score_UN, axis=1, kind="stable").astype(np.int64)
    column_UK = np.sort(np.argpartition(-score_UN, k - 1, axis=1)[:, :k], axis=1)
    chosen_UK = np.take_along_axis(score_UN, column_UK, axis=1)
    best_UK = np.take_along_axis(column_UK, np.argsort(-chosen_UK, axis=1, kind="stable"), axis=1)
    # A partition takes any of the columns that tie for the last place; those rows are sorted whole.
    least_U1 = chosen_UK.min(axis=1, keepdims=True)
    tied = np.flatnonzero(((score_UN >= least_U1).sum(1) > k) & (least_U1[:, 0] > -np.inf))
    if len(tied):
        best_UK[tied] = np.argsort(-score_UN[tied], axis=1, kind="stable")[:, :k]
    return best_UK.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over users and its 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ViewResult:
    """One view: whom it counts, how many items were ranked, and every model's estimates."""

    description: str
    num_users: int
    num_pairs: int
    num_ranked: int
    models: Mapping[str, Mapping[str, Estimate]]  # model -> metric -> estimate; empty without users


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All figures of one evaluation, as metrics.json holds them."""

    protocol: str
    description: str
    ks: tuple[int, ...]
    exclude_seen: bool
    counts: Mapping[str, int]
    views: Mapping[str, ViewResult]

    def to_json(self) -> str:
        """The text of metrics.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Reads what `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        views = {
            name: ViewResult(**view | {"models": _estimates(view["models"])})
            for name, view in data["views"].items()
        }
        return cls(**data | {"ks": tuple(data["ks"]), "views": views})

    def flat(self) -> dict[str, float]:
        """`{"warm/als/ndcg@10": 0.1, ...}`: every mean under one key, for a tracker."""
        return {
            f"{view}/{model}/{metric}": estimate.value
            for view, result in self.views.items()
            for model, estimates in result.models.items()
            for metric, estimate in estimates.items()
        }


def _estimates(models: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Estimate]]:
    return {
        model: {metric: Estimate(**estimate) for metric, estimate in by_metric.items()}
        for model, by_metric in models.items()
    }


def evaluate(
    models: Sequence[TopK],
    *,
    split: Split,
    items: ItemFeatures,
    seen: Mapping[str, Ints],
    ks: Sequence[int] = (10, 20),
    exclude_seen: bool = True,
    progress: Progress = silent,
    seed: int = 0,
    keep: Callable[[Answers], None] | None = None,
) -> Evaluation:
    """Metrics of `models` on the test positives of `split`, in every view of `VIEWS`.

    `seen` gives each user's items of any kind before the test, absent for a user without a history.
    With `exclude_seen`, a test pair that is among them (a repeat) is no truth and is counted, and a
    model that recommends one of them is refused with `RecsysError`. `keep` is handed what every model
    answered over the whole catalogue.
    """
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise RecsysError(f"models named {names}: each needs a name of its own")
    test = _test_pairs(split, items, seen, exclude_seen)
    views = {name: _View.of(name, test) for name in VIEWS}
    results: dict[str, dict[str, dict[str, Floats]]] = {name: {} for name in VIEWS}
    answers: dict[str, Ints] = {}
    num_pooled = sum(len(view.rows) for view in views.values() if view.allowed is not None)
    total = len(models) * (len(test.users) + num_pooled)
    done = 0
    for model in models:
        ranking = _Ranking(model=model, test=test, k=max(ks), progress=progress, total=total)
        whole_UK = ranking.of(np.arange(len(test.users)), None, done)
        done += len(test.users)
        for name, view in views.items():
            ranked_UK = whole_UK[view.rows]
            if view.allowed is not None:
                ranked_UK = ranking.of(view.rows, view.allowed, done)
                done += len(view.rows)
            results[name][model.name] = at_k(ranked_UK, view.truth, ks)
        if keep is not None:
            answers[model.name] = whole_UK
    if keep is not None:
        keep(test.answered(answers))
    return Evaluation(
        protocol=split.protocol,
        description=split.description,
        ks=tuple(ks),
        exclude_seen=exclude_seen,
        counts=test.counts,
        views={name: view.result(name, results[name], seed) for name, view in views.items()},
    )


def estimate(values: Mapping[str, Mapping[str, Floats]], *, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Means over users, with intervals, of every array [U] of values; all share the bootstrap's draws."""
    columns = {(name, metric): array for name, by in values.items() for metric, array in by.items()}
    if not columns:
        return {}
    stacked_UM = np.stack(list(columns.values()), axis=1)
    resampled_RM = bootstrap_means(stacked_UM, num_resamples=NUM_RESAMPLES, seed=seed)
    low_M, high_M = np.quantile(resampled_RM, INTERVAL, axis=0)
    found: dict[str, dict[str, Estimate]] = {}
    for at, (name, metric) in enumerate(columns):
        value = means({metric: columns[name, metric]})[metric]
        found.setdefault(name, {})[metric] = Estimate(
            value=value, low=float(low_M[at]), high=float(high_M[at])
        )
    return found


@dataclass(frozen=True, kw_only=True)
class _TestPairs:
    """What is to be found, by row of `users` and item id, repeats already out."""

    users: list[str]
    row: Ints
    item: Ints
    cold: Bools  # [N] items of the catalogue without a training or validation event
    seen: IdLists | None  # by row of `users`; None: the seen may be recommended
    num_seen: Ints  # [U]
    counts: dict[str, int]

    def answered(self, models: Mapping[str, Ints]) -> Answers:
        """What the models answered beside the truth of the whole catalogue's views."""
        cold = self.cold[self.item]
        truth = {
            is_cold: IdLists.from_pairs(
                self.row[cold == is_cold], self.item[cold == is_cold], len(self.users)
            )
            for is_cold in (False, True)
        }
        return Answers(
            users=tuple(self.users),
            num_seen=self.num_seen,
            warm=truth[False],
            cold=truth[True],
            models=models,
        )


def _test_pairs(
    split: Split, items: ItemFeatures, seen: Mapping[str, Ints], exclude_seen: bool
) -> _TestPairs:
    positives = split.test.filter(Columns.POSITIVE).select(Columns.USER, Columns.ITEM).unique()
    users = sorted(set(positives[Columns.USER].to_list()))
    row_of = {user: row for row, user in enumerate(users)}
    row = np.array([row_of[user] for user in positives[Columns.USER]], np.int64)
    item = items.item_ids.encode(positives[Columns.ITEM])
    if (item == UNKNOWN).any():
        name = positives[Columns.ITEM][int((item == UNKNOWN).argmax())]
        raise DataError(f"test item {name!r} is not in the catalogue; take it into the items or set it aside")
    lists = seen_lists(seen, users)
    repeated = lists.contain_pairs(row, item)
    keep = ~repeated if exclude_seen else np.ones_like(repeated)
    kept_rows, kept_row = np.unique(row[keep], return_inverse=True)
    kept_users = [users[at] for at in kept_rows]
    cold = np.ones(items.size, np.bool_)
    # What validation holds was known before the test: such an item is hardly trained, yet not new.
    cold[view_of(split).known_items(items.item_ids)] = False
    cold[:NUM_RESERVED] = False
    kept_seen = seen_lists(seen, kept_users)
    return _TestPairs(
        users=kept_users,
        row=kept_row.astype(np.int64),
        item=item[keep],
        cold=cold,
        seen=kept_seen if exclude_seen else None,
        num_seen=kept_seen.counts,
        counts={
            "test_events": split.test.height,
            "test_pairs": len(row),
            "repeats": int(repeated.sum()),
            "repeats_dropped": int((~keep).sum()),
            "users_in_test": len(users),
            "users_counted": len(kept_users),
            "catalogue_items": len(items.item_ids),
            "cold_items": int(cold.sum()),
        },
    )


def seen_lists(seen: Mapping[str, Ints], users: Iterable[str]) -> IdLists:
    """The seen items of `users`, in their order; none for a user without an entry."""
    return IdLists.from_lists([seen.get(user, np.empty(0, np.int64)) for user in users])


@dataclass(frozen=True, kw_only=True)
class _View:
    rows: Ints  # rows of `_TestPairs.users` that have truth here
    truth: IdLists
    allowed: Bools | None  # [N]
    num_ranked: int

    @classmethod
    def of(cls, name: str, test: _TestPairs) -> "_View":
        mine = test.cold[test.item] == (name != "warm")
        rows, row = np.unique(test.row[mine], return_inverse=True)
        pooled = name == "cold_pool"
        return cls(
            rows=rows,
            truth=IdLists.from_pairs(row, test.item[mine], len(rows)),
            allowed=test.cold if pooled else None,
            num_ranked=test.counts["cold_items" if pooled else "catalogue_items"],
        )

    def result(self, name: str, values: Mapping[str, Mapping[str, Floats]], seed: int) -> ViewResult:
        models = estimate(values, seed=seed) if len(self.rows) else {}
        return ViewResult(
            description=VIEWS[name],
            num_users=len(self.rows),
            num_pairs=len(self.truth.ids),
            num_ranked=self.num_ranked,
            models=models,
        )


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """Asks one model for its answers, a bounded number of users at a time, and checks them."""

    model: TopK
    test: _TestPairs
    k: int
    progress: Progress
    total: int

    def of(self, rows: Ints, allowed: Bools | None, done: int) -> Ints:
        """Answers for `rows` of the test's users. Shape [len(rows), k]."""
        name, num_items = self.model.name, len(self.test.cold)
        step = min(max(_SCORES_AT_ONCE // num_items, 1), _USERS_AT_ONCE)
        ranked = [np.empty((0, self.k), np.int64)]
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step]
            users = [self.test.users[row] for row in chunk]
            answer_UK = self.model.recommend(users, self.k, allowed=allowed)
            _check_answer(name, answer_UK, users, self.k, allowed, num_items)
            if self.test.seen is not None:
                _check_unseen(name, answer_UK, users, self.test.seen, chunk)
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
