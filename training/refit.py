"""The split of a refit: everything is training but what the ranker needs to learn from."""

import polars as pl

from features.allowed_reviews import ReviewRule, allowed_reviews
from features.parts import ORDER, PART, VALIDATION, share_of
from features.splits import refit_split
from features.tables import Dataset, Split
from recsys.columns import Columns
from recsys.config import Config
from training.fitting import is_ranker_user


def newest_events_split(dataset: Dataset, config: Config, *, needs_targets: bool) -> Split:
    """All events as training, all reviews allowed; `validation` holds the ranker's targets.

    Ranker targets must be events that the towers were not fitted on. They are the newest
    `split.validation_fraction` of the positive events (at least one) of the ranker's users, those that were
    its users before the refit, too. `needs_targets=False` leaves nothing out.
    """
    everything = refit_split(dataset)
    if not needs_targets:
        return everything
    share = config.model.ranker.target_users
    users = dataset.interactions[Columns.USER].unique()
    chosen = users.filter(pl.Series([is_ranker_user(user, share) for user in users], dtype=pl.Boolean))
    positive = dataset.interactions.filter(
        pl.col(Columns.POSITIVE) & pl.col(Columns.USER).is_in(chosen.implode())
    ).sort(ORDER)
    newest_first = pl.int_range(pl.len(), 0, -1).over(Columns.USER)
    count = pl.len().over(Columns.USER)
    num_targets = share_of(count, config.split.validation_fraction)
    targets = positive.filter((count >= 3) & (newest_first <= pl.min_horizontal(num_targets, count - 1)))
    # What came after a target is no history of it; these events are no targets of the towers either.
    later = _negatives_after(targets, dataset.interactions)
    train = dataset.interactions.join(pl.concat([targets, later]), on=Columns.ROW, how="anti")
    # What a target's own review says, or a later one of its author, is no evidence for it.
    held = targets.with_columns(pl.lit(VALIDATION).alias(PART))
    reviews, _ = allowed_reviews(dataset, held, ReviewRule(per_user=True))
    return Split(
        protocol="refit",
        description=(
            f"Everything is training but the newest {config.split.validation_fraction:.0%} of the positive "
            f"events of the {share:.0%} of users on whom the ranker learns ({targets.height} events)."
        ),
        train=train,
        validation=targets,
        test=everything.test,
        context=later,
        reviews=reviews,
        cold_items=frozenset(dataset.items[Columns.ITEM]) - frozenset(train[Columns.ITEM]),
    )


def _negatives_after(targets: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Events that are not positive and come after their user's first target."""
    ordered = events.sort(ORDER).with_columns(
        pl.col(Columns.ROW).is_in(targets[Columns.ROW].implode()).cum_max().over(Columns.USER).alias("late")
    )
    return ordered.filter(pl.col("late") & ~pl.col(Columns.POSITIVE)).drop("late")
