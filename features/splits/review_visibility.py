"""Selects the reviews that may be read while validation and test events are held out."""

from dataclasses import dataclass

import polars as pl

from features.dataset import Dataset
from recsys.columns import Columns


@dataclass(frozen=True, kw_only=True)
class ReviewRule:
    """The reviews that are left out beside those of a (user, item) pair with an event outside training.

    before         leave out reviews dated at or after this time
    per_user       leave out reviews dated at or after their author's cut-off
    cut_off_parts  parts whose first event is the cut-off of its user
    """

    per_user: bool = False
    before: int | None = None
    cut_off_parts: tuple[str, ...] = ("validation", "test")


def allowed_reviews(dataset: Dataset, held: pl.DataFrame, rule: ReviewRule) -> tuple[pl.DataFrame, str]:
    """Rows of `dataset.reviews` that may be read, and the rule and its counts as text.

    `held` has the events outside training with their `part`. Where there is a cut-off and a clock, a review
    without a date is left out, because it may be later than the cut-off. A review at the time of the
    cut-off is left out, because it may be about the held event.
    """
    reviews = dataset.reviews
    if not reviews.height:
        return reviews, ""
    pairs = held.select(Columns.USER, Columns.ITEM).unique()
    cut_off = (
        held.filter(pl.col("part").is_in(rule.cut_off_parts))
        .group_by(Columns.USER)
        .agg(pl.col(Columns.TIMESTAMP).min().alias("cut_off"))
    )
    marked = reviews.join(
        pairs.with_columns(is_held=True), on=[Columns.USER, Columns.ITEM], how="left", maintain_order="left"
    ).join(cut_off, on=Columns.USER, how="left", maintain_order="left")
    time = pl.col(Columns.TIMESTAMP)
    late, undated = pl.lit(False), pl.lit(False)
    if rule.before is not None:
        late |= time >= rule.before
        undated = time.is_null()
    if rule.per_user:
        late |= (time >= pl.col("cut_off")).fill_null(False)
        if dataset.has_clock:
            undated |= time.is_null() & pl.col("cut_off").is_not_null()
    marked = marked.select(
        is_held=pl.col("is_held").fill_null(False), late=late.fill_null(False), undated=undated
    )
    flags = marked.select(keep=~(pl.col("is_held") | pl.col("late") | pl.col("undated")))
    kept = reviews.filter(flags["keep"])
    num_held, num_late = marked["is_held"].sum(), marked.filter(~pl.col("is_held") & pl.col("late")).height
    num_undated = marked.filter(~pl.col("is_held") & ~pl.col("late") & pl.col("undated")).height
    words = (
        f"{kept.height} of {reviews.height} reviews may be read: {num_held} are of a held (user, item) pair, "
        f"{num_late} more are dated at or after the cut-off"
    )
    words += f", {num_undated} more have no date." if num_undated else "."
    if rule.before is None:
        words += (
            " Without one cut-off for all users, a review by another user may be later than the event that "
            "is predicted from it; all reviews of authors without held events may be read."
        )
    return kept, words
