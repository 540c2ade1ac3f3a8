"""Split protocols: one function a protocol, which returns a `Plan`.

A `Plan` assigns each event to a part of the split, user by user, so that an event log is split one
partition of its users at a time. The hidden items and a cut-off for all users depend on all events; they are
computed from `EventStatistics` when the plan is made.

Leakage. These rules hold for every protocol, and features/leakage/ checks each of them in every run:

- events      Models, baselines and candidate sources are fitted on training events. Validation events stop
              the towers early, select settings, and are the targets of the ranker; no candidate source is
              fitted on them. At test time they are part of the history, and of a baseline's user factors.
              Test events are never in either.
- popularity  Popularity, kinds of events, scales of numbers and the users' fields: from training events.
- ids         An item with a training event has its own id row. All other items share the unknown row and are
              never negatives, so that the towers do not learn that cold items are bad.
- vocabulary  Category values: from items with a training event.
- reviews     A review of a (user, item) pair with an event outside training is left out, whatever its date.
              Each protocol names the further reviews that it leaves out. A review is attached to an event
              only if it is dated no later than the user's next event.
- content     Titles, texts, pictures and fields are read from the files as they are, for all items at all
              times. Text that was written after a cut-off (an average rating, a prize) cannot be recognised.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from features.dataset import EventStatistics
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
from recsys.config import SplitConfig, microseconds_of
from recsys.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A protocol with its settings for one dataset."""

    protocol: str
    description: str
    rule: ReviewRule  # which reviews may be read
    assign: Callable[[pl.DataFrame], pl.DataFrame]  # events of whole users -> the same with their `PART`
    # Reviews of a (user, item) pair with an event in one of these parts are left out.
    held: tuple[str, ...] = (VALIDATION, TEST, CONTEXT, UNUSED)


def protocol_by_time(statistics: EventStatistics, config: SplitConfig) -> tuple[str, str]:
    """The protocol of `auto` for data with a clock, and the reason in words.

    `global_temporal` where its test and its validation each have positive events of at least
    `min_window_users` users with an earlier one, else `user_temporal`.
    """
    if statistics.num_positive and config.test_fraction + config.validation_fraction < 1:
        starts_validation, starts_test = _starts(statistics, config)
        in_test = statistics.num_returning_users(starts_test, None)
        in_validation = statistics.num_returning_users(starts_validation, starts_test)
    else:
        in_test = in_validation = 0
    counts = f"{in_test:,} users with earlier events in the test and {in_validation:,} in validation"
    if min(in_test, in_validation) >= config.min_window_users:
        return "global_temporal", (
            f"One cut-off for all, since it leaves {counts} (at least {config.min_window_users:,}). No model "
            "reads an event after it, and users and items without an earlier event are tested as they come. "
            "A split of each user's own last events is easier, because models then read what others did "
            "later; its results are not comparable with these."
        )
    return "user_temporal", (
        f"Each user has a cut-off of the own, since one for all would leave {counts} (fewer than "
        f"{config.min_window_users:,}). Models may therefore read what other users did later, and every "
        "tested user has a history; a model in use has a harder task."
    )


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
    """Test is each user's last positive event, validation the positive event before it, training the rest.

    May be read: each user's events before the user's own cut-off. Reviews dated before their author's own
    cut-off (with a clock, undated reviews are left out); all reviews of authors without held events.
    Not guaranteed: the events of other users, their reviews and an item's popularity may be later than this
    user's test event, and items may be known that appeared after it. With a clock, the baseline `popularity`
    counts no event later than the user's newest known event.
    """
    return Plan(
        protocol="leave_one_out",
        rule=ReviewRule(per_user=True),
        description="Each user's last positive event is test, the one before validation, the rest training.",
        assign=lambda events: per_user(events, num_test=pl.lit(1), num_validation=pl.lit(1)),
    )


def user_temporal(statistics: EventStatistics, config: SplitConfig) -> Plan:
    """Test is the last `test_fraction` of each user's positive events, validation the fraction before it.

    Both have at least one event of a user with enough events, and none where the fraction is 0. With
    `cold_fraction` a seeded sample of the items is hidden: the events of hidden items leave training and
    validation. Events in a user's test fraction stay test events; earlier events are unused. The sample is
    taken from the items with content and with a positive event.

    May be read, and not guaranteed: as in `leave_one_out`. Of a hidden item no event is read, and only
    reviews of authors without an event on it. A hidden item has no id row, popularity or category value of
    its own.
    """
    hidden = sample_items(statistics.items, statistics.positive_items, config)
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
    """Test is every positive event at or after one cut-off for all users.

    The cut-off is `test_start`, else the time of the positive event at the quantile 1 - `test_fraction`.
    Validation starts at `validation_start`, else at the quantile 1 - `test_fraction` - `validation_fraction`;
    training ends there for all users. Users whose first event is later are tested without training events.
    `cold_fraction` as in `user_temporal`.

    May be read: events and reviews of all users before validation starts; at test time also the events of the
    validation span, but not its reviews. Undated reviews are left out.
    Not guaranteed: the dates of content. The cut-offs are quantiles over all events.
    """
    if not statistics.has_clock:
        raise ConfigError(
            "split.protocol = 'global_temporal' needs times; this dataset has positions (time = 'order'): "
            "use 'leave_one_out' or 'user_temporal'"
        )
    starts_validation, starts_test = _starts(statistics, config)
    hidden = sample_items(statistics.items, statistics.positive_items, config)
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
    """Cold start by items: a seeded `cold_fraction` of the items with content is hidden.

    The positive events on hidden items are test events, whenever they happened; their other events are
    unused. Validation is each user's last `validation_fraction` of the positive events on other items.

    May be read: every event on other items before the user's validation, no event on a hidden item. Reviews
    dated before the author's first validation event; of a hidden item only reviews of authors without an
    event on it.
    Not guaranteed: time. A user's later events on other items are in training, and in the history from which
    an earlier event on a hidden item is predicted. The protocol measures cold items, not the future.
    """
    hidden = sample_items(statistics.items, statistics.positive_items, config)
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
            f"test, their others are unused. The last {config.validation_fraction:.0%} of each user's other "
            "positive events are validation."
        ),
        assign=assign,
    )


def _starts(statistics: EventStatistics, config: SplitConfig) -> tuple[int, int]:
    """The times where validation and test start."""
    if config.validation_start is not None and config.test_start is not None:
        return microseconds_of(config.validation_start), microseconds_of(config.test_start)
    held = config.test_fraction + config.validation_fraction
    if held >= 1:
        raise ConfigError(
            f"split.test_fraction + split.validation_fraction = {held:g}: nothing is left to train on"
        )
    return _quantile(statistics, 1 - held), _quantile(statistics, 1 - config.test_fraction)


def _quantile(statistics: EventStatistics, share: float) -> int:
    """The time before which about the fraction `share` of the positive events happened."""
    count = statistics.num_positive
    if share >= 1:
        return statistics.positive_time(count - 1) + 1
    return statistics.positive_time(int(count * share))
