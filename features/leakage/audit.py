"""The audit of one fit and of one evaluation; docs/evaluation.md, "Leakage", has the rules as a table.

It stands in the way of every run: what models are handed is counted from the events anew, and the first
thing that knows what it must not ends the run with `LeakError`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.dataset import Dataset, IdMaps, MediaVectors
from features.inputs import HistoryBuilder, UserItems
from features.leakage.counts import EventCounts, count_events, summary
from features.leakage.events import SAMPLED_USERS, AuditedEvents
from features.leakage.histories import (
    before_test,
    before_validation,
    check_histories,
    check_targets,
    training,
)
from features.leakage.items import check_facts, check_items
from features.leakage.reviews import check_allowed, check_attached, check_pooled, reviewers_of
from features.leakage.rules import RULES, Rules, rules_of
from features.splits import CONTEXT, TEST, TRAIN, VALIDATION, Split
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.errors import LeakError
from recsys.history import History, SequenceSchema
from recsys.item_features import ItemFeatures

_SOURCE_TABLE = "items of the candidate sources"
_SOURCE_REMEDY = "fit candidate sources on Split.positive_training alone"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was looked at and found clean, and what was not looked at, in sentences."""

    checked: tuple[str, ...]
    not_checked: tuple[str, ...] = ()
    seconds: float = 0.0


def audit_fit(
    dataset: Dataset,
    vectors: MediaVectors,
    split: Split,
    *,
    features: ItemFeatures,
    maps: IdMaps,
    schema: SequenceSchema,
    builder: HistoryBuilder,
    sequences: Mapping[str, History],
    before: Mapping[str, History],
    targets: Mapping[str, Ints],
    source_items: UserItems | None = None,
) -> Audit:
    """Look at all that a fit is handed.

    `sequences` are the histories that the towers train on, `before` those from which `targets` (items by
    user) are to be guessed: what stops the towers early and what the ranker learns from. `source_items` are
    the users' items that candidate sources are fitted on.
    Raises `LeakError` at the first thing that must not be known.
    """
    start = time.perf_counter()
    rules = rules_of(split.protocol)
    events = AuditedEvents(dataset, split, features.item_ids)
    found = count_events(events, rules, reviewers_of(events, split.reviews))
    check_items(events, found, dataset, features)
    check_facts(events, found, dataset, maps, schema)
    check_allowed(events, found, dataset, split.reviews, rules)
    check_pooled(events, found, dataset, vectors, split.reviews, features)
    _check_builder(builder, split)
    if source_items is not None:
        _check_source_items(events, source_items)
    check_targets(events, targets, found.targets[VALIDATION], part=VALIDATION, table="validation targets")
    chunk = events.sampled()
    reviews, chosen = builder.reviews, events.users.gather(np.unique(chunk.user)).to_list()
    for histories, known, table in (
        (sequences, training, "training sequences"),
        (before, before_validation, "histories before validation"),
    ):
        mine = _of(events, histories, chosen)
        check_histories(events, chunk, known(chunk), mine, table=table)
        check_attached(events, dataset, reviews, split.reviews, mine, table=table)
    return Audit(
        checked=_fit_words(found, split),
        not_checked=_not_checked(events, rules, found),
        seconds=time.perf_counter() - start,
    )


def audit_test(
    dataset: Dataset,
    split: Split,
    *,
    features: ItemFeatures,
    builder: HistoryBuilder,
    histories: Mapping[str, History],
    truth: Mapping[str, Ints],
    exclude_seen: bool,
) -> Audit:
    """Look at what models read at test time, and at what they are asked to find.

    `truth` are the items that count, by user. Raises `LeakError`.
    """
    start = time.perf_counter()
    rules = rules_of(split.protocol)
    events = AuditedEvents(dataset, split, features.item_ids)
    found = count_events(events, rules, reviewers_of(events, split.reviews))
    check_targets(events, truth, found.targets[TEST], part=TEST, table="what is to be found")
    if exclude_seen:
        _check_unseen(features, truth, histories)
    chunk, table = events.sampled(), "histories before test"
    mine = _of(events, histories, events.users.gather(np.unique(chunk.user)).to_list())
    check_histories(events, chunk, before_test(chunk), mine, table=table)
    check_attached(events, dataset, builder.reviews, split.reviews, mine, table=table)
    repeats = ["no item to be found is among the user's seen ones"] if exclude_seen else []
    return Audit(
        checked=(
            f"{len(truth):,} users are asked for items of test events alone",
            "histories, seen items and the reviews on their events end before the user's first test event",
            *repeats,
        ),
        not_checked=_not_checked(events, rules, found),
        seconds=time.perf_counter() - start,
    )


def _of(events: AuditedEvents, histories: Mapping[str, History], chosen: list[str]) -> Mapping[str, History]:
    """All histories, of an event log those of the sampled users."""
    if not events.is_streamed:
        return histories
    return {user: histories[user] for user in chosen if user in histories}


def _check_builder(builder: HistoryBuilder, split: Split) -> None:
    strangers = builder.allowed_reviews.join(split.reviews, on=Columns.ROW, how="anti")
    if builder.reviews is not None and strangers.height:
        row = strangers.row(0, named=True)
        raise LeakError(
            f"histories may carry row {row[Columns.ROW]} of the reviews, which the split does not allow",
            table="HistoryBuilder",
            user=row[Columns.USER],
            item=row[Columns.ITEM],
            remedy="make the builder with allowed_reviews=split.reviews",
        )


def _check_source_items(events: AuditedEvents, items: UserItems) -> None:
    """Raises `LeakError` where a user has an item more often than in positive training events."""
    trained = [np.unique(chunk.user[chunk.is_part(TRAIN) & chunk.positive]) for chunk in events.chunks()]
    code_U, length_U = np.sort(np.concatenate(trained)), np.diff(items.offsets)
    if len(code_U) != len(length_U):
        raise LeakError(
            f"candidate sources are fitted on {len(length_U):,} users; {len(code_U):,} have a positive "
            "training event",
            table=_SOURCE_TABLE,
            remedy=_SOURCE_REMEDY,
        )
    for chunk in events.chunks():
        read_U = np.isin(code_U, chunk.user)
        read_E = np.repeat(read_U, length_U)
        read = events.keys(np.repeat(code_U, length_U)[read_E], items.item[read_E].astype(np.int64))
        is_train = chunk.is_part(TRAIN) & chunk.positive
        pair_P, num_trained_P = np.unique(
            events.keys(chunk.user[is_train], chunk.item[is_train]), return_counts=True
        )
        pair, num_read = np.unique(read, return_counts=True)
        place = np.searchsorted(pair_P, pair)
        found = np.append(pair_P, -1)[place] == pair
        excess = num_read > np.where(found, np.append(num_trained_P, 0)[place], 0)
        if excess.any():
            code, item = divmod(int(pair[excess.argmax()]), events.item_ids.size)
            raise LeakError(
                "a candidate source is fitted on an event outside training, a target of the ranker perhaps",
                table=_SOURCE_TABLE,
                user=events.user_name(code),
                item=events.item_name(item),
                remedy=_SOURCE_REMEDY,
            )


def _check_unseen(
    features: ItemFeatures, truth: Mapping[str, Ints], histories: Mapping[str, History]
) -> None:
    for user, items in truth.items():
        history = histories.get(user)
        both = np.intersect1d(items, history.seen) if history is not None else items[:0]
        if len(both):
            raise LeakError(
                "an item is to be found that the user has seen and that is left out of every answer",
                table="what is to be found",
                user=user,
                item=features.item_ids.decode(both[:1])[0],
                remedy="take repeats out of the truth, or evaluate with exclude_seen = false",
            )


def _fit_words(found: EventCounts, split: Split) -> tuple[str, ...]:
    return (
        f"every event is in one part, and the parts stand in the order of the protocol ({summary(found)})",
        "id rows, popularity, vocabularies, scales and negatives know training events alone",
        f"the {split.reviews.height:,} reviews that items and events carry are those that may be read",
        "training sequences hold training events alone, histories before validation nothing later",
        "what stops the towers and teaches the ranker are validation events, on which nothing was fitted",
    )


def _not_checked(events: AuditedEvents, rules: Rules, found: EventCounts) -> tuple[str, ...]:
    words = []
    if events.is_streamed:
        words.append(f"of the event log the histories of {SAMPLED_USERS} users were looked at, drawn by lot")
    if events.split.protocol not in RULES:
        words.append(f"the order of events, since the protocol {events.split.protocol!r} is not known")
    if rules.derived and found.of_part(CONTEXT).any() and events.split.cut is None:
        words.append("how the two files were cut, and so which reviews are of the future")
    return tuple(words)
