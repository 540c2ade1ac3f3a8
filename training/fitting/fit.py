"""One fit: from a split and its vectors to a retriever, a ranker and a recommender in torch.

The same function makes the evaluated model, its content-blind twin and the refit that goes into a bundle.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.tables import Dataset, MediaVectors, Split
from features.inputs.histories import HistoryBuilder, IdMaps, ReviewVectors, build_maps, build_schema
from features.inputs.item_features import build_item_features
from features.inputs.split_view import view_of
from features.leakage.audit import Audit, audit_fit
from recsys.arrays import Floats, Ints
from recsys.config import Config
from recsys.history import History, SequenceSchema
from recsys.item_features import ItemFeatures
from recsys.metrics.ranking import IdLists
from recsys.models.retriever import Retriever
from recsys.progress import Progress, silent
from recsys.retrieval.candidate_sources import Source
from recsys.retrieval.recommender import Recommender
from recsys.retrieval.settings import ListSettings
from training.candidates.fit import fit_sources, source_events
from training.cold_start.fit import ColdItems, cold_items_of, place_new_items
from training.cold_start.validation_users import Judges, Past
from training.fitting.audit import Histories
from training.fitting.torch_recommender import make_recommender
from training.fitting.without_events import POPULARITY, WithoutEvents, choose_without_events
from training.ranker.fit import FittedRanker, fit_ranker
from training.ranker.ranked_lists import SELECTION_K, RankingTask, selection_ndcg
from training.sequences import Sequence as TrainingSequence
from training.sequences import Sequences
from training.towers.trainer import FittedRetriever, fit_retriever

logger = logging.getLogger(__name__)
EVALUATION_USERS = 512  # users embedded and searched at once


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained system over one catalogue."""

    features: ItemFeatures
    schema: SequenceSchema
    maps: IdMaps
    builder: HistoryBuilder
    retriever: FittedRetriever
    ranker: FittedRanker | None
    recommender: Recommender
    cold_items: ColdItems
    without_events: WithoutEvents
    audit: Audit  # of what all of these were fitted on


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an earlier fit chose: a refit has nothing to choose on."""

    epochs: int
    ranker_epochs: int
    ranker_share: float
    cold_items: ColdItems = field(default_factory=ColdItems)
    without_events: WithoutEvents = POPULARITY

    @classmethod
    def of(cls, fitted: Fitted) -> "Budget":
        """What `fitted` chose."""
        ranker = fitted.ranker
        return cls(
            epochs=fitted.retriever.best_epoch,
            ranker_epochs=ranker.best_epoch if ranker else 0,
            ranker_share=ranker.share if ranker else 0.0,
            cold_items=fitted.cold_items,
            without_events=fitted.without_events,
        )


def fit(
    dataset: Dataset,
    vectors: MediaVectors,
    split: Split,
    config: Config,
    *,
    budget: Budget | None = None,
    checkpoint: Path | None = None,
    progress: Progress = silent,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Fitted:
    """Fit towers on `split.train` and the ranker on validation events of some users.

    Without a `budget` the validation events of all users stop the towers early, and those of the users
    who are not the ranker's choose its epoch and share. Raises `LeakError` where something held out is read.
    """
    read = _Read.of(dataset, vectors, split, config)
    events = source_events(split, config.model.ranker)
    audit = audit_fit(
        dataset, vectors, split, features=read.features, maps=read.maps, schema=read.schema,
        builder=read.builder, sequences=Histories(read.sequences), before=read.before, targets=read.truth,
        sources=events,
    )  # fmt: skip
    judged = bool(read.truth) and budget is None
    retriever = _fit_towers(read, config, budget, judged, checkpoint, progress, on_epoch)
    model, seed, chosen = retriever.model, config.train.seed, budget.cold_items if budget else None
    judges = _judges(model, config, read) if judged else None
    placed = place_new_items(model, judges, config.model, chosen=chosen, seed=seed)
    sources = _fit_sources(read, events, config, budget)
    found = make_recommender(model, config, sources=sources)
    ranker = _fit_ranker(found, read.before, read.truth, config, budget, progress)
    if judges is not None and ranker is not None:
        judges = _not_the_rankers(judges, list(read.truth), ranker, config)
    cold_items = cold_items_of(model, judges, placed, config.model, chosen=chosen, seed=seed)
    sources = sources if ranker is not None and ranker.has_say else ()
    without_events = budget.without_events if budget else _choose_without_events(model, config, read)
    return Fitted(
        features=read.features,
        schema=read.schema,
        maps=read.maps,
        builder=read.builder,
        retriever=retriever,
        ranker=ranker,
        recommender=make_recommender(model, config, ranker, sources=sources, without_events=without_events),
        cold_items=cold_items,
        without_events=without_events,
        audit=audit,
    )


def _choose_without_events(model: Retriever, config: Config, read: "_Read") -> WithoutEvents:
    histories = {user: read.builder.empty(user) for user in read.truth_without_events}
    return choose_without_events(make_recommender(model, config), histories, read.truth_without_events)


def _fit_sources(
    read: "_Read", events: Mapping[str, pl.DataFrame], config: Config, budget: Budget | None
) -> tuple[Source, ...]:
    """On the events that the audit was shown; none where no ranker will judge what they add."""
    knobs = config.model.ranker
    if not knobs.enabled or (budget is not None and budget.ranker_share == 0.0):
        return ()
    num_threads = config.train.num_threads or 0
    return fit_sources(events, read.features, read.sequences, num_threads=num_threads)


def _fit_towers(
    read: "_Read",
    config: Config,
    budget: Budget | None,
    judged: bool,
    checkpoint: Path | None,
    progress: Progress,
    on_epoch: Callable[[int, dict[str, float]], None] | None,
) -> FittedRetriever:
    return fit_retriever(
        read.features,
        read.schema,
        read.sequences,
        model_config=config.model,
        config=config.train,
        validate=_validator(read.before, read.truth, config) if judged else None,
        epochs=budget.epochs if budget else None,
        index_kind=config.index.kind,
        checkpoint=checkpoint,
        fingerprint=_fingerprint(config, read.features, read.sequences, read.truth, budget),
        progress=progress,
        on_epoch=on_epoch,
    )


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What a fit reads of a split, and nothing else."""

    features: ItemFeatures
    maps: IdMaps
    schema: SequenceSchema
    builder: HistoryBuilder
    before: Mapping[str, History]  # histories before validation
    truth: dict[str, Ints]  # validation items of users with such a history
    truth_without_events: dict[str, Ints]  # and of users without
    sequences: Sequences

    @classmethod
    def of(cls, dataset: Dataset, vectors: MediaVectors, split: Split, config: Config) -> "_Read":
        view, model = view_of(split), config.model
        features = build_item_features(dataset, vectors, train=view.facts, reviews=split.reviews)
        maps = build_maps(dataset, view.facts)
        reads_reviews = model.user.use_reviews and model.item.use_content
        reviews = ReviewVectors.of(vectors) if reads_reviews else None
        builder = HistoryBuilder(
            dataset, item_ids=features.item_ids, maps=maps, reviews=reviews, allowed_reviews=split.reviews
        )
        before = view.before_validation(builder)
        validation = view.validation_items(features.item_ids)
        return cls(
            features=features,
            maps=maps,
            schema=build_schema(dataset, view.facts, maps, reviews, model.user),
            builder=builder,
            before=before,
            truth={user: items for user, items in validation.items() if user in before},
            truth_without_events={user: items for user, items in validation.items() if user not in before},
            sequences=Sequences(*view.training(builder)),
        )


def _judges(model: Retriever, config: Config, read: _Read) -> Judges:
    recommender, users = make_recommender(model, config), list(read.truth)

    def embed(histories: Sequence[History]) -> Floats:
        starts = range(0, len(histories), EVALUATION_USERS)
        return np.concatenate([recommender.embed(histories[at : at + EVALUATION_USERS]) for at in starts])

    histories = [read.before[user] for user in users]
    nothing = np.empty(0, np.int64)
    return Judges(
        user_UD=embed(histories),
        truth=[read.truth[user] for user in users],
        seen=[history.seen if config.evaluate.exclude_seen else nothing for history in histories],
        past=Past(histories=histories, chosen=[_chosen(read, user) for user in users], embed=embed),
    )


def _chosen(read: _Read, user: str) -> Ints:
    """Items of the user's positive training events."""
    if user not in read.sequences:
        return np.empty(0, np.int64)
    sequence = read.sequences[user]
    return sequence.history.item[sequence.target]


def _not_the_rankers(judges: Judges, users: list[str], ranker: FittedRanker, config: Config) -> Judges:
    """Those users on whom the ranker was chosen, with the lists that it gave them then."""
    share = config.model.ranker.target_users
    rows = [row for row, user in enumerate(users) if not is_ranker_user(user, share)]
    return judges.only(rows, ordered=ranker.validation_BK)


def is_ranker_user(user: str, share: float) -> bool:
    """Whether the user's newest events are the ranker's targets; a hash decides, the same in every run."""
    digest = hashlib.sha256(user.encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def _validator(
    before: Mapping[str, History], truth: Mapping[str, Ints], config: Config
) -> Callable[[Retriever], float]:
    """Mean NDCG@10 of the towers alone, over all validation users and all items that training knows.

    Seen ones are left out where the evaluation leaves them out. What becomes of new items is chosen after
    training; until then they would only stand in the way.
    """
    users = list(truth)
    lists = IdLists.from_lists([truth[user] for user in users])
    exclude_seen = config.evaluate.exclude_seen

    def validate(model: Retriever) -> float:
        recommender = make_recommender(model, config)
        found = [
            recommender.retrieve(
                recommender.embed(histories), histories, SELECTION_K, exclude_seen=exclude_seen
            )[0]
            for histories in _batches(users, before)
        ]
        return selection_ndcg(np.concatenate(found), lists)

    return validate


def _batches(users: list[str], before: Mapping[str, History]) -> Iterator[list[History]]:
    for start in range(0, len(users), EVALUATION_USERS):
        yield [before[user] for user in users[start : start + EVALUATION_USERS]]


def _fit_ranker(
    recommender: Recommender,
    before: Mapping[str, History],
    truth: Mapping[str, Ints],
    config: Config,
    budget: Budget | None,
    progress: Progress,
) -> FittedRanker | None:
    knobs = config.model.ranker
    if not knobs.enabled or (budget is not None and budget.ranker_share == 0.0):
        return None
    chosen = [user for user in truth if is_ranker_user(user, knobs.target_users)]
    others = [user for user in truth if not is_ranker_user(user, knobs.target_users)]
    if not chosen or (budget is None and not others):
        logger.warning("no ranker: no validation events to train and to choose it on")
        return None

    def task(users: list[str]) -> RankingTask:
        return RankingTask(
            histories=[before[user] for user in users],
            truth=[truth[user] for user in users],
            exclude_seen=config.evaluate.exclude_seen,
        )

    return fit_ranker(
        recommender,
        train=task(chosen),
        validation=task(others) if budget is None else None,
        config=knobs,
        seed=config.train.seed,
        epochs=budget.ranker_epochs if budget else None,
        share=budget.ranker_share if budget else 1.0,
        progress=progress,
    )


def tower_settings(config: Config) -> str:
    """What the towers' training reads of `config`; fits that have it in common differ in what comes after."""
    later: dict[str, Any] = {
        "ranker": True,
        **dict.fromkeys(ListSettings.model_fields, True),
        "item": {"regress_new"},
    }
    # By lists that leave seen items out or not the epoch is chosen. Of the usual nothing is said, so that
    # checkpoints from before it was read are known.
    seen = "" if config.evaluate.exclude_seen else "seen items are ranked"
    return config.model.model_dump_json(exclude=later) + config.train.model_dump_json() + seen


def _fingerprint(
    config: Config,
    features: ItemFeatures,
    sequences: Mapping[str, TrainingSequence],
    truth: Mapping[str, Ints],
    budget: Budget | None,
) -> str:
    """Changes with anything that the towers' training reads, so that a stale checkpoint is never resumed."""
    settings = [tower_settings(config), budget]
    digest = hashlib.sha256(repr([settings, features.item_ids.external]).encode())
    for user, items in truth.items():
        digest.update(user.encode())
        digest.update(items.tobytes())
    content: dict[str, npt.NDArray[Any]] = {**features.dense, **features.categories}
    content |= {f"{name} as new": array for name, array in features.dense_as_new.items()}
    for name, array in content.items():
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    for user, sequence in sequences.items():
        digest.update(user.encode())
        digest.update(sequence.target.tobytes())
        for name, array in sequence.history.to_arrays().items():
            digest.update(name.encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
