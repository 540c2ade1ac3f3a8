"""The split of a refit: all events except the targets of the ranker are training events."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from features.dataset import Dataset
from features.splits import (
    CONTEXT,
    ORDER,
    PART,
    TRAIN,
    VALIDATION,
    Plan,
    ReviewRule,
    Split,
    share_of,
    split_by_plan,
)
from recsys.columns import Columns
from recsys.config import Config
from training.fitting.fit import FitChoices, Fitted
from training.fitting.validation import is_ranker_user


def newest_events_split(
    dataset: Dataset, config: Config, *, needs_targets: bool, folder: Path | None = None
) -> Split:
    """All events as training and all reviews allowed; `validation` holds the ranker's targets.

    Ranker targets must be events that the towers were not fitted on. They are the newest
    `split.validation_fraction` (at least one) of the positive events of the ranker's users. The ranker's
    users are the same as before the refit. With `needs_targets=False` every event is a training event. The
    parts of an event log are written to `folder`.
    """
    split = split_by_plan(dataset, _plan(config, needs_targets), folder)
    return split.described(_describe(config, needs_targets, split.counts[VALIDATION]))


def _describe(config: Config, needs_targets: bool, num_targets: int) -> str:
    if not needs_targets:
        return "All events are training events and all reviews are read; nothing is held out."
    return (
        f"All events are training events except the newest {config.split.validation_fraction:.0%} of the "
        f"positive events of the {config.model.ranker.target_users:.0%} of users on whom the ranker is "
        f"trained ({num_targets} events)."
    )


def _plan(config: Config, needs_targets: bool) -> Plan:
    def nothing_held(events: pl.DataFrame) -> pl.DataFrame:
        return events.with_columns(pl.lit(TRAIN).alias(PART))

    return Plan(
        protocol="refit",
        description="",
        # A target's own review and later reviews of its author must not be read when it is predicted.
        rule=ReviewRule(per_user=True),
        assign=(lambda events: _hold_targets(events, config)) if needs_targets else nothing_held,
        held=(VALIDATION,),
    )


def _hold_targets(events: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Parts of the events: the ranker's targets are validation."""
    share = config.model.ranker.target_users
    users = events[Columns.USER].unique()
    chosen = users.filter(pl.Series([is_ranker_user(user, share) for user in users], dtype=pl.Boolean))
    positive = events.filter(pl.col(Columns.POSITIVE) & pl.col(Columns.USER).is_in(chosen.implode())).sort(
        ORDER
    )
    newest_first = pl.int_range(pl.len(), 0, -1).over(Columns.USER)
    count = pl.len().over(Columns.USER)
    num_targets = share_of(count, config.split.validation_fraction)
    targets = positive.filter((count >= 3) & (newest_first <= pl.min_horizontal(num_targets, count - 1)))
    is_target = pl.col(Columns.ROW).is_in(targets[Columns.ROW].implode())
    # Events after a target are not in its history. They are not positive, so they are no targets of the
    # towers.
    is_late = is_target.cum_max().over(Columns.USER) & ~pl.col(Columns.POSITIVE)
    part = pl.when(is_target).then(pl.lit(VALIDATION)).when(is_late).then(pl.lit(CONTEXT))
    return events.sort(ORDER).with_columns(part.otherwise(pl.lit(TRAIN)).alias(PART))


def choices_of_towers(first: Fitted) -> FitChoices:
    """The choices of `first` without its ranker, for a fit on `Split.with_validation`.

    Towers that were also trained on the validation events are evaluated beside `first`, because published
    results follow either convention. They are trained from the start, for the number of epochs that `first`
    chose, with the cold-start settings that `first` chose. No events are left for the training of a ranker.
    """
    return replace(FitChoices.of(first), ranker_epochs=0, blend_weight=0.0)
