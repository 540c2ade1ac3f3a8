"""Assignment of events to the parts of a split."""

import numpy as np
import polars as pl
import polars.selectors as cs

from recsys.columns import Columns
from recsys.config import SplitConfig
from recsys.errors import ConfigError

PART = "part"
TRAIN, VALIDATION, TEST, CONTEXT, UNUSED = "train", "validation", "test", "context", "unused"
PARTS = (TRAIN, VALIDATION, TEST, CONTEXT, UNUSED)
CODES = {part: code for code, part in enumerate(PARTS)}  # of a part in the files of a streamed split
ORDER = [Columns.TIMESTAMP, Columns.ROW]


def per_user(events: pl.DataFrame, *, num_test: pl.Expr, num_validation: pl.Expr) -> pl.DataFrame:
    """Events with their part. At least one positive event of a user is training.

    `num_test` and `num_validation` are positive events of a user; they may use the column `num_positive`.
    """
    user, positive = Columns.USER, pl.col(Columns.POSITIVE)
    counted = events.sort(ORDER).with_columns(
        num_positive=positive.sum().over(user),
        # Positive events of the user up to and including this one.
        rank=positive.cum_sum().over(user),
    )
    count = pl.col("num_positive").cast(pl.Int64)
    counted = counted.with_columns(num_test=pl.min_horizontal(num_test, count - 1).clip(0))
    left = count - pl.col("num_test")
    counted = counted.with_columns(num_validation=pl.min_horizontal(num_validation, left - 1).clip(0))
    # An event that is not positive is in the span of the last positive event before it.
    rank, warm = pl.col("rank").cast(pl.Int64), left - pl.col("num_validation")
    part = (
        pl.when(rank <= warm).then(pl.lit(TRAIN))
        .when(~positive).then(pl.lit(CONTEXT))
        .when(rank <= left).then(pl.lit(VALIDATION))
        .otherwise(pl.lit(TEST))
    )  # fmt: skip
    return counted.with_columns(part.alias(PART)).select(*events.columns, PART)


def validation_of(events: pl.DataFrame, fraction: float) -> pl.DataFrame:
    """Training events with their part; users with at least 3 positive events have validation events."""
    count = pl.col("num_positive")
    num_validation = pl.when(count >= 3).then(share_of(count, fraction)).otherwise(0)
    return per_user(events, num_test=pl.lit(0), num_validation=num_validation)


def share_of(count: pl.Expr, fraction: float) -> pl.Expr:
    """floor(count * fraction) but at least 1; 0 where the fraction is 0."""
    if fraction == 0:
        return pl.lit(0)
    return (count * fraction + 1e-9).floor().cast(pl.Int64).clip(1)


def sample_items(items: pl.DataFrame, positive_items: pl.Series, config: SplitConfig) -> frozenset[str]:
    """A seeded `cold_fraction` of the items with a positive event and a title, text, picture or video.

    `items` is `Dataset.items`; `positive_items` are the ids of the items with a positive event.
    """
    if config.cold_fraction == 0:
        return frozenset()
    has_content = (
        pl.col(Columns.TITLE).is_not_null()
        | pl.col(Columns.TEXT).is_not_null()
        | pl.any_horizontal(cs.by_name(Columns.IMAGE, Columns.VIDEO, require_all=False).list.len() > 0)
    )
    pool = items.filter(has_content & pl.col(Columns.ITEM).is_in(positive_items.implode()))[
        Columns.ITEM
    ].sort()
    num_hidden = round(len(pool) * config.cold_fraction)
    if num_hidden >= len(pool) > 0:
        raise ConfigError(
            f"split.cold_fraction = {config.cold_fraction} hides all {len(pool)} items with content"
        )
    chosen = np.random.default_rng(config.seed).choice(len(pool), num_hidden, replace=False)
    return frozenset(pool.gather(chosen).to_list())


def hide(events: pl.DataFrame, hidden: frozenset[str]) -> pl.DataFrame:
    """The same parts, but events on hidden items outside test are unused."""
    if not hidden:
        return events
    is_hidden = pl.col(Columns.ITEM).is_in(list(hidden))
    part = pl.when(is_hidden & (pl.col(PART) != TEST)).then(pl.lit(UNUSED)).otherwise(PART)
    return events.with_columns(part.alias(PART))


def hidden_words(hidden: frozenset[str]) -> str:
    if not hidden:
        return ""
    return f" {len(hidden)} items with content are hidden from training and validation to measure cold start."


def utc(microseconds: int) -> str:
    """The time as text: "2024-01-31 12:00:00 UTC"."""
    text = pl.Series([microseconds]).cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S")[0]
    return f"{text} UTC"
