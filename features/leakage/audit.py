"""The audit of one fit and of one evaluation; docs/evaluation.md, "Leakage", has the rules as a table.

Every run is audited. The inputs of the models are computed again from the events of the dataset and compared
with the inputs that the models are given. The first difference that leaks held-out events raises `LeakError`.
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
from features.leakage.items import check_items, check_statistics
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
    """The checks that passed, and the checks that could not be made, as sentences."""

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
    """Audit all inputs of a fit.

    `sequences` are the histories that the towers are trained on. `before` are the histories from which the
    validation items `targets` (items by user) are predicted, for early stopping and to train the ranker.
    `source_items` are the users' items that the candidate sources are fitted on.
    Raises `LeakError` at the first input that holds a held-out event or review.
    """
    start = time.perf_counter()
    rules = rules_of(split.protocol)
    events = AuditedEvents(dataset, split, features.item_ids)
    found = count_events(events, rules, reviewers_of(events, split.reviews))
    check_items(events, found, dataset, features)
    check_statistics(events, found, dataset, maps, schema)
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
        read = _sampled(events, histories, chosen)
        check_histories(events, chunk, known(chunk), read, table=table)
        check_attached(events, dataset, reviews, split.reviews, read, table=table)
    return Audit(
        checked=_passed_checks(found, split),
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
    ground_truth: Mapping[str, Ints],
    exclude_seen: bool,
) -> Audit:
    """Audit the histories that models read at test time, and the ground truth.

    `ground_truth` has the test items by user. Raises `LeakError`.
    """
    start = time.perf_counter()
    rules = rules_of(split.protocol)
    events = AuditedEvents(dataset, split, features.item_ids)
    found = count_events(events, rules, reviewers_of(events, split.reviews))
    check_targets(events, ground_truth, found.targets[TEST], part=TEST, table="ground truth")
    if exclude_seen:
        _check_unseen(features, ground_truth, histories)
    chunk, table = events.sampled(), "histories before test"
    read = _sampled(events, histories, events.users.gather(np.unique(chunk.user)).to_list())
    check_histories(events, chunk, before_test(chunk), read, table=table)
    check_attached(events, dataset, builder.reviews, split.reviews, read, table=table)
    repeats = ["no item of the ground truth is a seen item of its user"] if exclude_seen else []
    return Audit(
        checked=(
            f"the ground truth of {len(ground_truth):,} users holds items of test events alone",
            "histories, seen items and the reviews on their events end before the user's first test event",
            *repeats,
        ),
        not_checked=_not_checked(events, rules, found),
        seconds=time.perf_counter() - start,
    )


def _sampled(
    events: AuditedEvents, histories: Mapping[str, History], chosen: list[str]
) -> Mapping[str, History]:
    """All histories; of an event log, the histories of the users in `chosen`."""
    if not events.is_streamed:
        return histories
    return {user: histories[user] for user in chosen if user in histories}


def _check_builder(builder: HistoryBuilder, split: Split) -> None:
    forbidden = builder.allowed_reviews.join(split.reviews, on=Columns.ROW, how="anti")
    if builder.reviews is not None and forbidden.height:
        row = forbidden.row(0, named=True)
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
                "a candidate source is fitted on an event outside training, perhaps a target of the ranker",
                table=_SOURCE_TABLE,
                user=events.user_name(code),
                item=events.item_name(item),
                remedy=_SOURCE_REMEDY,
            )


def _check_unseen(
    features: ItemFeatures, ground_truth: Mapping[str, Ints], histories: Mapping[str, History]
) -> None:
    for user, items in ground_truth.items():
        history = histories.get(user)
        both = np.intersect1d(items, history.seen) if history is not None else items[:0]
        if len(both):
            raise LeakError(
                "the ground truth has a seen item of the user, which is left out of every list",
                table="ground truth",
                user=user,
                item=features.item_ids.decode(both[:1])[0],
                remedy="take repeats out of the ground truth, or evaluate with exclude_seen = false",
            )


def _passed_checks(found: EventCounts, split: Split) -> tuple[str, ...]:
    return (
        f"every event is in one part, and the parts are in the order of the protocol ({summary(found)})",
        "id rows, popularity, vocabularies, scales and negatives come from training events alone",
        f"items and events carry no review outside the {split.reviews.height:,} reviews that may be read",
        "training sequences hold training events alone; histories before validation hold no later event",
        "early stopping and the ranker use validation events, on which no model and no source is fitted",
    )


def _not_checked(events: AuditedEvents, rules: Rules, found: EventCounts) -> tuple[str, ...]:
    words = []
    if events.is_streamed:
        words.append(f"the histories of all but {SAMPLED_USERS} users of the event log, sampled at random")
    if events.split.protocol not in RULES:
        words.append(
            f"the order of events, since the audit has no rules for the protocol {events.split.protocol!r}"
        )
    if rules.derived and found.of_part(CONTEXT).any() and events.split.cut is None:
        words.append("the order of the two files in time, and so which reviews are later than the cut-off")
    return tuple(words)
