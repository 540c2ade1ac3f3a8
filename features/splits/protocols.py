"""One named function a protocol: which part of a split an event belongs to, decided user for user.

A `Plan` assigns parts to the events of any number of users, so that a log may be split a partition of its
users at a time. What hangs on all events (the hidden items, a cut-off for everybody) is in the plan already;
it is asked of `EventStatistics`.

Leakage. These hold for every protocol, and features/leakage/ looks after each of them in every run:

- events      Models, baselines and candidate sources are fitted on training events. Validation events stop
              the towers early, choose settings, and are the ranker's targets: no source was fitted on them.
              They are history at test time, a baseline's user factors included; test events never are.
- popularity  and kinds of events, scales of values and of figures, users' fields: of training events.
- ids         An id row of its own has an item with a training event. The others share the unknown row and
              are no negatives, so that nothing teaches that new items are bad.
- vocabulary  of categories: values of items with a training event.
- reviews     None of a (user, item) pair with an event outside training, whatever its date; what else is out
              is said by each protocol. A review hangs on an event only if it is no later than the next one.
- content     Titles, texts, pictures and fields of items are as they lie in the files, of all items at all
              times: what was written into them after a cut-off (an average rating, a prize) cannot be known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from features.dataset.event_statistics import EventStatistics
from features.splits.assignment import (
    CONTEXT,
    PART,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    hidden_words,
    hide,
    per_user,
    sample_items,
    share_of,
    utc,
    validation_of,
)
from features.splits.review_visibility import ReviewRule
from recsys.columns import Columns
from recsys.config import SplitConfig
from recsys.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A protocol that is ready for the events of this dataset."""

    protocol: str
    description: str
    rule: ReviewRule  # which reviews may be read
    assign: Callable[[pl.DataFrame], pl.DataFrame]  # events of whole users -> the same with their `PART`
    held: tuple[str, ...] = (VALIDATION, TEST, CONTEXT, UNUSED)  # parts whose pairs' reviews are left out


def make_plan(protocol: str, statistics: EventStatistics, config: SplitConfig) -> Plan:
    """The plan of one of the computed protocols. Raises `ConfigError` where it does not fit the data."""
    match protocol:
        case "leave_one_out":
            return leave_one_out()
        case "user_temporal":
            return user_temporal(statistics, config)
        case "global_temporal":
            return global_temporal(statistics, config)
        case _:
            assert protocol == "held_out_items", protocol
            return held_out_items(statistics, config)


def leave_one_out() -> Plan:
    """Test is each user's last positive event, validation the one before, training all before that.

    May be read: of a user the events before their own cut-off; of all others everything before theirs.
    Reviews: those dated before the author's own cut-off (undated ones are out where there is a clock);
    all of somebody without held events.
    Not guaranteed: other users' later events and reviews are read, and what is known of an item's popularity
    counts them, though they may lie after this user's test in time (the baseline `popularity` counts none
    later than the user's newest known event, where there is a clock). Items are known that came after it.
    """
    return Plan(
        protocol="leave_one_out",
        rule=ReviewRule(per_user=True),
        description="Each user's last positive event is test, the one before validation, the rest training.",
        assign=lambda events: per_user(events, num_test=pl.lit(1), num_validation=pl.lit(1)),
    )


def user_temporal(statistics: EventStatistics, config: SplitConfig) -> Plan:
    """Test is the last `test_fraction` of each user's positive events, validation the share before it.

    Both hold at least one event of a user with enough of them, none where the fraction is 0. With
    `cold_fraction` a seeded sample of the items is hidden: all of their events leave training and
    validation, and those in a user's test share stay test. Their earlier events are in no part.

    May be read, and not guaranteed: as in `leave_one_out`. Of a hidden item no event is read, and only
    those reviews whose author has no event on it: id row, popularity and categories of its own it has none.
    Which items are hidden is drawn among those with content and an event of any part.
    """
    hidden = sample_items(statistics.items, statistics.bought, config)
    count = pl.col("num_positive")

    def assign(events: pl.DataFrame) -> pl.DataFrame:
        parts = per_user(
            events,
            num_test=share_of(count, config.test_fraction),
            num_validation=share_of(count, config.validation_fraction),
        )
        return hide(parts, hidden)

    return Plan(
        protocol="user_temporal",
        rule=ReviewRule(per_user=True),
        description=(
            f"The last {config.test_fraction:.0%} of each user's positive events (at least one) are test, "
            f"the {config.validation_fraction:.0%} before them validation.{hidden_words(hidden)}"
        ),
        assign=assign,
    )


def global_temporal(statistics: EventStatistics, config: SplitConfig) -> Plan:
    """One cut-off for everybody: test is every positive event at or after it.

    The cut-off is the time of the positive event at the quantile 1 - `test_fraction`; validation starts at
    the quantile 1 - `test_fraction` - `validation_fraction`, and training ends there for all. Users who
    came later are tested without training events. `cold_fraction` as in `user_temporal`.

    May be read: events and reviews from before validation starts, whosesoever; at test time the validation
    span's events, too, but not its reviews. Undated reviews are out.
    Not guaranteed: nothing but content. The cut-offs themselves are quantiles over all events.
    """
    if not statistics.has_clock:
        raise ConfigError(
            "split.protocol = 'global_temporal' needs times; this dataset has positions (time = 'order'): "
            "use 'leave_one_out' or 'user_temporal'"
        )
    held = config.test_fraction + config.validation_fraction
    if held >= 1:
        raise ConfigError(
            f"split.test_fraction + split.validation_fraction = {held:g}: nothing is left to train on"
        )
    starts_test = _quantile(statistics, 1 - config.test_fraction)
    starts_validation = _quantile(statistics, 1 - held)
    hidden = sample_items(statistics.items, statistics.bought, config)
    time = pl.col(Columns.TIMESTAMP)
    part = (
        pl.when(time < starts_validation).then(pl.lit(TRAIN))
        .when(~pl.col(Columns.POSITIVE)).then(pl.lit(CONTEXT))
        .when(time < starts_test).then(pl.lit(VALIDATION))
        .otherwise(pl.lit(TEST))
    )  # fmt: skip
    return Plan(
        protocol="global_temporal",
        rule=ReviewRule(before=starts_validation),
        description=(
            f"Positive events from {utc(starts_test)} on are test, those from {utc(starts_validation)} "
            f"validation, everything earlier training, for all users alike.{hidden_words(hidden)}"
        ),
        assign=lambda events: hide(events.with_columns(part.alias(PART)), hidden),
    )


def held_out_items(statistics: EventStatistics, config: SplitConfig) -> Plan:
    """Cold start by items: a seeded `cold_fraction` of the items with content loses all of its events.

    Their positive events are test, whenever they happened; their others are in no part. Validation is each
    user's last `validation_fraction` of the other positive events.

    May be read: of the other items every event before the user's validation; of a hidden item none. Reviews:
    those dated before the author's first validation event; of a hidden item those whose author has no event
    on it.
    Not guaranteed: time. A user's later events on other items are in training and in the history from which
    an earlier event on a hidden item is guessed: this measures new items, not the future.
    """
    hidden = sample_items(statistics.items, statistics.bought, config)
    if not hidden:
        raise ConfigError(
            f"split.protocol = 'held_out_items' hides split.cold_fraction = {config.cold_fraction} of the "
            "items with content, and that is not one item; choose a larger fraction"
        )
    is_hidden = pl.col(Columns.ITEM).is_in(list(hidden))

    def assign(events: pl.DataFrame) -> pl.DataFrame:
        warm = validation_of(events.filter(~is_hidden), config.validation_fraction)
        cold_part = pl.when(Columns.POSITIVE).then(pl.lit(TEST)).otherwise(pl.lit(UNUSED))
        return pl.concat([warm, events.filter(is_hidden).with_columns(cold_part.alias(PART))])

    return Plan(
        protocol="held_out_items",
        rule=ReviewRule(per_user=True, cut_off_parts=(VALIDATION,)),
        description=(
            f"{len(hidden)} items with content are hidden from training; all of their positive events are "
            f"test, their others in no part. The last {config.validation_fraction:.0%} of each user's other "
            "positive events are validation."
        ),
        assign=assign,
    )


def _quantile(statistics: EventStatistics, share: float) -> int:
    """The time before which about `share` of the positive events lie."""
    count = statistics.num_positive
    if share >= 1:
        return statistics.positive_time(count - 1) + 1
    return statistics.positive_time(int(count * share))
