"""The choice of settings on validation alone, by NDCG@10."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import polars as pl

from features.splits import InMemorySplit
from recsys.arrays import Bools, Floats
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.metrics import Doubles, IdLists, at_k
from recsys.progress import Progress, silent
from recsys.retrieval import top_k
from training.baselines.known import Known, Scored, Seen
from training.evaluation import seen_lists

logger = logging.getLogger(__name__)

# Constants: they bound the time of the choice, and change no result but by the users and folds drawn.
K = 10
NUM_FOLDS = 5  # of the items, each held out once
MAX_CELLS = 24_000_000  # users times items that one question scores; more users are drawn from
_CELLS_AT_ONCE = 8_000_000
Settings = TypeVar("Settings")
Model = TypeVar("Model", bound=Scored)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some users, their known events, and their validation items."""

    users: list[str]
    known: Known
    ground_truth: IdLists
    allowed: Bools | None  # [N]

    def ndcg(self, score_UN: Floats) -> Doubles:
        """Of each user; `score_UN` is overwritten. Shape [U]."""
        seen = self.known.seen
        lists = None if seen is None else seen_lists(seen, self.users)
        ranked_UK, _ = top_k(score_UN, K, allowed=self.allowed, excluded=lists)
        return at_k(ranked_UK, self.ground_truth, [K])[f"ndcg@{K}"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Validation pairs as a test of their own."""

    description: str
    parts: tuple[Part, ...]

    def ndcg(self, score: Callable[[int, Part], Floats]) -> float:
        """Mean over users of NDCG@10 by the scores [U, N] of each part, which is given with its number."""
        values = [part.ndcg(score(number, part)) for number, part in enumerate(self.parts)]
        return float(np.concatenate(values).mean(dtype=np.float64))

    def ndcg_of(self, model: Scored) -> float:
        return self.ndcg(lambda _, part: model.knowing(part.known).score(part.users))


@dataclass(frozen=True, kw_only=True)
class Choice(Generic[Settings, Model]):
    """The best of the candidates. Without a validation pair the first, and no figure."""

    settings: Settings
    model: Model
    validation_ndcg: float | None
    num_candidates: int
    cpu_seconds: float


def inner_split(split: InMemorySplit) -> InMemorySplit:
    """Validation as the test, training alone before it."""
    return replace(split, test=split.validation, validation=split.validation.clear())


def training_seen(split: InMemorySplit, items: ItemFeatures) -> dict[str, np.ndarray]:
    """Items of each user's training events of any kind."""
    grouped = split.train.group_by(Columns.USER, maintain_order=True).agg(Columns.ITEM)
    return {user: items.item_ids.encode(names) for user, names in grouped.iter_rows()}


def warm_question(split: InMemorySplit, items: ItemFeatures, *, seen: Seen, seed: int = 0) -> Question:
    """Validation pairs on items with a training event, the whole catalogue ranked."""
    known, trained_N = Known.of(inner_split(split), items, seen=seen), _trained(items)
    pairs = _pairs(split.validation, items, seen, trained_N)
    parts = _parts(pairs, known, None, items.size, max_cells=MAX_CELLS, seed=seed)
    return Question(
        description="validation pairs on items with training events, the whole catalogue ranked",
        parts=tuple(parts),
    )


def cold_question(
    split: InMemorySplit, items: ItemFeatures, *, seen: Seen, whenever: bool = False, seed: int = 0
) -> Question:
    """Pairs as if their items were new, for models that learn nothing of items from events.

    Items with training events are drawn into `NUM_FOLDS` folds. The items of a fold are hidden from every
    history; the users' pairs in the fold are asked for, and only the fold is ranked. The pairs are validation
    pairs after a history of training events; with `whenever`, training and validation pairs, before and after
    the rest of the user's history.
    """
    trained_N = _trained(items)
    if whenever:
        known = Known.of(split, items, seen=None)
        pairs = _pairs(pl.concat([split.train, split.validation]), items, None, trained_N)
    else:
        known = Known.of(inner_split(split), items, seen=seen)
        pairs = _pairs(split.validation, items, seen, trained_N)
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(trained_N))
    parts: list[Part] = []
    for fold in range(NUM_FOLDS):
        held_N = np.zeros(items.size, np.bool_)
        held_N[drawn[fold::NUM_FOLDS]] = True
        mine = {user: own[held_N[own]] for user, own in pairs.items()}
        hidden, cells = known.without(held_N), MAX_CELLS // NUM_FOLDS
        parts += _parts(mine, hidden, held_N, items.size, max_cells=cells, seed=seed)
    asked = "training and validation pairs" if whenever else "validation pairs"
    return Question(
        description=f"{asked} on each of {NUM_FOLDS} drawn parts of the items, hidden from all histories; "
        "only that part ranked",
        parts=tuple(parts),
    )


def asks_of_any_time(split: InMemorySplit) -> bool:
    """Whether the test's events lie among what is known of a user, and not after it.

    By protocol, or of given files by their times: for most users the test begins before the history ends.
    """
    if split.protocol != "predefined":
        return split.protocol == "held_out_items"
    known, time = pl.concat([split.train, split.validation]), pl.col(Columns.TIMESTAMP)
    last = known.group_by(Columns.USER).agg(time.max().alias("last"))
    first = split.test.group_by(Columns.USER).agg(time.min().alias("first"))
    among = last.join(first, on=Columns.USER).select(pl.col("first") < pl.col("last")).to_series()
    return bool(among.len()) and int(among.sum()) * 2 > among.len()


def choose(
    name: str,
    question: Question,
    stages: Sequence[Callable[[Settings | None], Iterable[tuple[Settings, Model]]]],
    *,
    num_candidates: int = 0,
    progress: Progress = silent,
) -> Choice[Settings, Model]:
    """The candidate of the best validation NDCG@10, the first of equals.

    A stage is given the best settings of those before it and makes its candidates.
    """
    start, best, num = time.process_time(), None, 0
    for stage in stages:
        for settings, model in stage(best.settings if best else None):
            num += 1
            score = question.ndcg_of(model) if question.parts else None
            if best is None or (score is not None and score > (best.validation_ndcg or 0.0)):
                best = Choice(
                    settings=settings, model=model, validation_ndcg=score, num_candidates=0, cpu_seconds=0.0
                )
            logger.info("%s %s: validation NDCG@10 %s", name, settings, score)
            progress(f"tune {name}", num, max(num_candidates, num), _note(best.validation_ndcg))
            if score is None:
                break  # nothing to choose by
    assert best is not None
    return replace(best, num_candidates=num, cpu_seconds=time.process_time() - start)


def _note(score: float | None) -> str:
    return "no validation pair" if score is None else f"NDCG@10 {score:.4f}"


def _trained(items: ItemFeatures) -> Bools:
    trained_N = items.trained.copy()
    trained_N[:NUM_RESERVED] = False
    return trained_N


def _pairs(events: pl.DataFrame, items: ItemFeatures, seen: Seen, trained_N: Bools) -> dict[str, np.ndarray]:
    """Items of each user's positive events: with training events, not in `seen` where there is one."""
    grouped = events.filter(Columns.POSITIVE).group_by(Columns.USER).agg(Columns.ITEM)
    pairs = {}
    for user, names in grouped.sort(Columns.USER).iter_rows():
        own = np.unique(items.item_ids.encode(names))
        own = own[trained_N[own]]
        pairs[user] = own if seen is None else np.setdiff1d(own, seen.get(user, own[:0]))
    return pairs


def _parts(
    pairs: dict[str, np.ndarray],
    known: Known,
    allowed: Bools | None,
    num_items: int,
    *,
    max_cells: int,
    seed: int,
) -> Iterator[Part]:
    """The users with pairs, at most so many, and a bounded number of them at a time."""
    users = [user for user, own in pairs.items() if len(own)]
    most = max(max_cells // num_items, 1)
    if len(users) > most:
        chosen = np.random.default_rng(seed).choice(len(users), most, replace=False)
        users = [users[at] for at in np.sort(chosen)]
    step = max(_CELLS_AT_ONCE // num_items, 1)
    for start in range(0, len(users), step):
        some = users[start : start + step]
        ground_truth = IdLists.from_lists([pairs[user] for user in some])
        yield Part(users=some, known=known, ground_truth=ground_truth, allowed=allowed)
