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
from training.baselines.known import KnownEvents, ScoringModel, Seen
from training.evaluation import seen_lists

logger = logging.getLogger(__name__)

# Constants: they bound the time of the choice. They change which users and folds are sampled, nothing else.
K = 10
NUM_FOLDS = 5  # of the items; each fold is hidden once
MAX_CELLS = 24_000_000  # users times items that one task scores; of more users a sample is taken
_CELLS_AT_ONCE = 8_000_000
Settings = TypeVar("Settings")
Model = TypeVar("Model", bound=ScoringModel)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some users, their known events, and their validation items, which are ranked in one call."""

    users: list[str]
    known: KnownEvents
    ground_truth: IdLists
    allowed: Bools | None  # [N] items that are ranked; None: all

    def ndcg(self, score_UN: Floats) -> Doubles:
        """NDCG@10 of each user; `score_UN` is overwritten. Shape [U]."""
        seen = self.known.seen
        lists = None if seen is None else seen_lists(seen, self.users)
        ranked_UK, _ = top_k(score_UN, K, allowed=self.allowed, excluded=lists)
        return at_k(ranked_UK, self.ground_truth, [K])[f"ndcg@{K}"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationTask:
    """Validation pairs on which settings are compared."""

    description: str
    parts: tuple[Part, ...]

    def ndcg(self, score: Callable[[int, Part], Floats]) -> float:
        """Mean NDCG@10 over users; `score` returns scores [U, N] from the index of a part and the part."""
        values = [part.ndcg(score(number, part)) for number, part in enumerate(self.parts)]
        return float(np.concatenate(values).mean(dtype=np.float64))

    def ndcg_of(self, model: ScoringModel) -> float:
        """Mean NDCG@10 of `model` over users."""
        return self.ndcg(lambda _, part: model.with_known_events(part.known).score(part.users))


@dataclass(frozen=True, kw_only=True)
class Choice(Generic[Settings, Model]):
    """The best of the candidates; without a validation pair the first, and `validation_ndcg` is None."""

    settings: Settings
    model: Model
    validation_ndcg: float | None
    num_candidates: int
    cpu_seconds: float


def inner_split(split: InMemorySplit) -> InMemorySplit:
    """The split with validation as its test and training alone before it."""
    return replace(split, test=split.validation, validation=split.validation.clear())


def training_seen(split: InMemorySplit, items: ItemFeatures) -> dict[str, np.ndarray]:
    """User -> items of the user's training events of any kind."""
    grouped = split.train.group_by(Columns.USER, maintain_order=True).agg(Columns.ITEM)
    return {user: items.item_ids.encode(names) for user, names in grouped.iter_rows()}


def warm_task(split: InMemorySplit, items: ItemFeatures, *, seen: Seen, seed: int = 0) -> ValidationTask:
    """Validation pairs on items with a training event, the whole catalogue ranked."""
    known, trained_N = KnownEvents.of(inner_split(split), items, seen=seen), _trained(items)
    pairs = _pairs(split.validation, items, seen, trained_N)
    parts = _parts(pairs, known, None, items.size, max_cells=MAX_CELLS, seed=seed)
    return ValidationTask(
        description="validation pairs on items with training events, the whole catalogue ranked",
        parts=tuple(parts),
    )


def cold_task(
    split: InMemorySplit, items: ItemFeatures, *, seen: Seen, any_time: bool = False, seed: int = 0
) -> ValidationTask:
    """Pairs on warm items that are treated as cold, for models that fit no parameter of an item on events.

    Items with training events are divided at random into `NUM_FOLDS` folds. The events on the items of a fold
    are removed from every history, the users' pairs on these items are the ground truth, and only these items
    are ranked. The pairs are validation pairs; with `any_time`, training and validation pairs.
    """
    trained_N = _trained(items)
    if any_time:
        known = KnownEvents.of(split, items, seen=None)
        pairs = _pairs(pl.concat([split.train, split.validation]), items, None, trained_N)
    else:
        known = KnownEvents.of(inner_split(split), items, seen=seen)
        pairs = _pairs(split.validation, items, seen, trained_N)
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(trained_N))
    parts: list[Part] = []
    for fold in range(NUM_FOLDS):
        held_N = np.zeros(items.size, np.bool_)
        held_N[drawn[fold::NUM_FOLDS]] = True
        fold_pairs = {user: own[held_N[own]] for user, own in pairs.items()}
        hidden, cells = known.without(held_N), MAX_CELLS // NUM_FOLDS
        parts += _parts(fold_pairs, hidden, held_N, items.size, max_cells=cells, seed=seed)
    source = "training and validation pairs" if any_time else "validation pairs"
    return ValidationTask(
        description=f"{source} on each of {NUM_FOLDS} random parts of the items, hidden from all histories; "
        "only that part ranked",
        parts=tuple(parts),
    )


def has_test_events_in_history(split: InMemorySplit) -> bool:
    """Whether test events precede known events of the same user.

    By the protocol; for a predefined split by the times: whether most users have a test event before their
    last known event.
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
    task: ValidationTask,
    stages: Sequence[Callable[[Settings | None], Iterable[tuple[Settings, Model]]]],
    *,
    num_candidates: int = 0,
    progress: Progress = silent,
) -> Choice[Settings, Model]:
    """The candidate with the best validation NDCG@10; of equal ones the first.

    A stage yields candidates; it is called with the best settings of the stages before it.
    """
    start, best, num = time.process_time(), None, 0
    for stage in stages:
        for settings, model in stage(best.settings if best else None):
            num += 1
            score = task.ndcg_of(model) if task.parts else None
            if best is None or (score is not None and score > (best.validation_ndcg or 0.0)):
                best = Choice(
                    settings=settings, model=model, validation_ndcg=score, num_candidates=0, cpu_seconds=0.0
                )
            logger.info("%s %s: validation NDCG@10 %s", name, settings, score)
            progress(f"tune {name}", num, max(num_candidates, num), _note(best.validation_ndcg))
            if score is None:
                break  # no validation pair
    assert best is not None
    return replace(best, num_candidates=num, cpu_seconds=time.process_time() - start)


def _note(score: float | None) -> str:
    return "no validation pair" if score is None else f"NDCG@10 {score:.4f}"


def _trained(items: ItemFeatures) -> Bools:
    trained_N = items.trained.copy()
    trained_N[:NUM_RESERVED] = False
    return trained_N


def _pairs(events: pl.DataFrame, items: ItemFeatures, seen: Seen, trained_N: Bools) -> dict[str, np.ndarray]:
    """User -> items of positive events, without items that have no training event or are in `seen`."""
    grouped = events.filter(Columns.POSITIVE).group_by(Columns.USER).agg(Columns.ITEM)
    pairs = {}
    for user, names in grouped.sort(Columns.USER).iter_rows():
        own = np.unique(items.item_ids.encode(names))
        own = own[trained_N[own]]
        pairs[user] = own if seen is None else np.setdiff1d(own, seen.get(user, own[:0]))
    return pairs


def _parts(
    pairs: dict[str, np.ndarray],
    known: KnownEvents,
    allowed: Bools | None,
    num_items: int,
    *,
    max_cells: int,
    seed: int,
) -> Iterator[Part]:
    """The users with pairs, in parts of bounded size; a sample of the users above `max_cells`."""
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
