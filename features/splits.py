"""Protocols: which events are training, validation and test, and which reviews may be read.

Order is by time, ties by the row's place in the file. Wherever a protocol speaks of a user's cut-off, it
is the place in that order of the user's first validation or test event. These hold for all of them:

- targets (validation, test) are positive events; negative events from the cut-off on are `context`;
- a review whose (user, item) pair has an event outside training is left out, whatever its date;
- users with one positive event are in training only, those with two have no validation event.
"""

from pathlib import Path

import polars as pl

from features.allowed_reviews import ReviewRule, allowed_reviews
from features.given_split import given_rule, read_given
from features.parts import (
    CONTEXT,
    ORDER,
    PART,
    TEST,
    TRAIN,
    VALIDATION,
    hidden_words,
    hide,
    per_user,
    sample_items,
    share_of,
    utc,
    validation_of,
)
from features.tables import Dataset, Split
from recsys.columns import Columns
from recsys.config import SplitConfig
from recsys.errors import ConfigError, DataError


def make_split(
    dataset: Dataset,
    config: SplitConfig,
    *,
    train_file: Path | None = None,
    test_file: Path | None = None,
) -> Split:
    """The split that `config` asks for.

    `auto` is `given` where the configuration, the arguments or the dataset name files, else
    `leave_one_out` on data without a clock, else `user_temporal`. Files of the configuration are relative
    to the dataset; the arguments win over them, they over the dataset's own.
    Raises `ConfigError` where the protocol does not fit the data, `DataError` where nothing is left.
    """
    files = _split_files(dataset, config, train_file, test_file)
    protocol = config.protocol
    if protocol == "auto":
        protocol = "given" if files else "user_temporal" if dataset.has_clock else "leave_one_out"
    named_here = files is not None and files != dataset.split_files
    if protocol != "given" and named_here:
        raise ConfigError(
            f"split.protocol = {protocol!r} reads no files; use 'given', or name no train and test"
        )
    match protocol:
        case "given":
            if files is None:
                raise ConfigError(
                    "split.protocol = 'given' needs two files: [split] in dataset.toml, or split.train "
                    "and split.test"
                )
            split = given(dataset, config, *files)
        case "leave_one_out":
            split = leave_one_out(dataset)
        case "user_temporal":
            split = user_temporal(dataset, config)
        case "global_temporal":
            split = global_temporal(dataset, config)
        case "held_out_items":
            split = held_out_items(dataset, config)
    return _checked(split)


def leave_one_out(dataset: Dataset) -> Split:
    """Test is each user's last positive event, validation the one before, training all before that.

    Nothing of the user's own future is read. Other users' later events are: their training may lie after
    this user's test in time. Reviews: those dated before the author's own cut-off.
    """
    events = per_user(dataset.interactions, num_test=pl.lit(1), num_validation=pl.lit(1))
    return _split(
        dataset,
        events,
        protocol="leave_one_out",
        rule=ReviewRule(per_user=True),
        description="Each user's last positive event is test, the one before validation, the rest training.",
    )


def user_temporal(dataset: Dataset, config: SplitConfig) -> Split:
    """Test is the last `test_fraction` of each user's positive events, validation the share before it.

    Both hold at least one event of a user with enough of them, none where the fraction is 0. Leakage as
    in `leave_one_out`. With `cold_fraction` a seeded sample of the items is hidden: all of their events
    leave training and validation, and those in a user's test share stay test. Their earlier events are in
    no part, and the reviews that came with those are left out, since the item is to be new.
    """
    count = pl.col("num_positive")
    events = per_user(
        dataset.interactions,
        num_test=share_of(count, config.test_fraction),
        num_validation=share_of(count, config.validation_fraction),
    )
    hidden = sample_items(dataset, config)
    return _split(
        dataset,
        hide(events, hidden),
        protocol="user_temporal",
        rule=ReviewRule(per_user=True),
        description=(
            f"The last {config.test_fraction:.0%} of each user's positive events (at least one) are test, "
            f"the {config.validation_fraction:.0%} before them validation.{hidden_words(hidden)}"
        ),
    )


def global_temporal(dataset: Dataset, config: SplitConfig) -> Split:
    """One cut-off for everybody: test is every positive event at or after it.

    The cut-off is the time of the positive event at the quantile 1 - `test_fraction`; validation starts at
    the quantile 1 - `test_fraction` - `validation_fraction`, and training ends there for all. So no event
    and no review of the future is read; users who came later are tested without training events.
    Reviews: those dated before validation starts. `cold_fraction` as in `user_temporal`.
    """
    if not dataset.has_clock:
        raise ConfigError(
            "split.protocol = 'global_temporal' needs times; this dataset has positions (time = 'order'): "
            "use 'leave_one_out' or 'user_temporal'"
        )
    events = dataset.interactions
    times = events.filter(Columns.POSITIVE)[Columns.TIMESTAMP].sort()
    held = config.test_fraction + config.validation_fraction
    if held >= 1:
        raise ConfigError(
            f"split.test_fraction + split.validation_fraction = {held:g}: nothing is left to train on"
        )
    starts_test = _quantile(times, 1 - config.test_fraction)
    starts_validation = _quantile(times, 1 - held)
    time = pl.col(Columns.TIMESTAMP)
    part = (
        pl.when(time < starts_validation).then(pl.lit(TRAIN))
        .when(~pl.col(Columns.POSITIVE)).then(pl.lit(CONTEXT))
        .when(time < starts_test).then(pl.lit(VALIDATION))
        .otherwise(pl.lit(TEST))
    )  # fmt: skip
    hidden = sample_items(dataset, config)
    return _split(
        dataset,
        hide(events.with_columns(part.alias(PART)), hidden),
        protocol="global_temporal",
        rule=ReviewRule(before=starts_validation),
        description=(
            f"Positive events from {utc(starts_test)} on are test, those from {utc(starts_validation)} "
            f"validation, everything earlier training, for all users alike.{hidden_words(hidden)}"
        ),
    )


def held_out_items(dataset: Dataset, config: SplitConfig) -> Split:
    """Cold start by items: a seeded `cold_fraction` of the items with content loses all of its events.

    Their positive events are test, whenever they happened, so that a user's later events on other items
    are in training: this measures new items, not the future. Validation is each user's last
    `validation_fraction` of the other positive events. Reviews: the pairs rule and the author's cut-off
    in validation; of a hidden item those remain whose author has no event on it.
    """
    hidden = sample_items(dataset, config)
    if not hidden:
        raise ConfigError(
            f"split.protocol = 'held_out_items' hides split.cold_fraction = {config.cold_fraction} of the "
            "items with content, and that is not one item; choose a larger fraction"
        )
    is_hidden = pl.col(Columns.ITEM).is_in(list(hidden))
    events = dataset.interactions
    warm = validation_of(events.filter(~is_hidden), config.validation_fraction)
    cold_part = pl.when(Columns.POSITIVE).then(pl.lit(TEST)).otherwise(pl.lit(CONTEXT))
    cold = events.filter(is_hidden).with_columns(cold_part.alias(PART))
    return _split(
        dataset,
        pl.concat([warm, cold]),
        protocol="held_out_items",
        rule=ReviewRule(per_user=True, cut_off_parts=(VALIDATION,)),
        description=(
            f"{len(hidden)} items with content are hidden from training; all of their positive events are "
            f"test. The last {config.validation_fraction:.0%} of each user's other positive events are "
            "validation."
        ),
    )


def given(dataset: Dataset, config: SplitConfig, train_file: Path, test_file: Path) -> Split:
    """Training and test as two files say; validation is the last `validation_fraction` of training.

    Rows are matched by user, item and, where the files have it, time; events in neither file are in no
    part. Validation events (at least one) come from users with three or more positive training events.
    Reviews: where all of training lies before all of test, those dated before the first test event; where
    it does so for each user, those dated before the author's own cut-off; else only the pairs rule and
    the author's cut-off in validation.
    """
    matched = read_given(dataset, train_file, test_file)
    warm = validation_of(matched.train, config.validation_fraction)
    test_part = pl.when(Columns.POSITIVE).then(pl.lit(TEST)).otherwise(pl.lit(CONTEXT))
    test = matched.test.with_columns(test_part.alias(PART))
    rule, words = given_rule(matched.train, matched.test, dataset.has_clock)
    return _split(
        dataset,
        pl.concat([warm, test]),
        protocol="given",
        rule=rule,
        description=(
            f"Training and test as given in {train_file.name} and {test_file.name}: {matched.description}. "
            f"The last {config.validation_fraction:.0%} of each user's positive training events are "
            f"validation. {words}"
        ),
    )


def refit_split(dataset: Dataset) -> Split:
    """Everything is training and every review may be read: for the model that goes into a bundle."""
    events = dataset.interactions
    return Split(
        protocol="refit",
        description="All events are training, all reviews are read; nothing is held out.",
        train=events,
        validation=events.clear(),
        test=events.clear(),
        context=events.clear(),
        reviews=dataset.reviews,
        cold_items=_cold_items(dataset, events),
    )


def events_before(split: Split, targets: pl.DataFrame, *, future: pl.DataFrame | None = None) -> pl.DataFrame:
    """What may be read when each user's `targets` are to be guessed, sorted by time and row.

    Training, validation and context events, without those in `future`, and of the context only what
    comes before the user's first event among `targets` and `future`.
    """
    future = split.train.clear() if future is None else future
    first = (
        pl.concat([targets, future])
        .sort(ORDER)
        .group_by(Columns.USER)
        .agg(pl.struct(ORDER).first().alias("first"))
    )
    context = split.context.join(first, on=Columns.USER, how="left")
    is_known = pl.col("first").is_null() | (
        (pl.col(Columns.TIMESTAMP) < pl.col("first").struct.field(Columns.TIMESTAMP))
        | (
            (pl.col(Columns.TIMESTAMP) == pl.col("first").struct.field(Columns.TIMESTAMP))
            & (pl.col(Columns.ROW) < pl.col("first").struct.field(Columns.ROW))
        )
    )
    events = pl.concat([split.train, split.validation, context.filter(is_known).drop("first")])
    return events.join(future, on=Columns.ROW, how="anti").sort(ORDER)


def write_split(split: Split, directory: Path) -> None:
    """`history.parquet` and `truth.parquet`: what others need to compute the same metrics.

    History is what may be read at test time (column `part` says whether it was training, validation or
    context), truth the test events.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = {TRAIN: split.train, VALIDATION: split.validation, CONTEXT: split.context}
    parts = pl.concat([frame.select(Columns.ROW, pl.lit(part).alias(PART)) for part, frame in rows.items()])
    history = events_before(split, split.test).join(parts, on=Columns.ROW, how="left", maintain_order="left")
    history.write_parquet(directory / "history.parquet")
    split.test.write_parquet(directory / "truth.parquet")


def _quantile(times: pl.Series, share: float) -> int:
    """The time before which about `share` of the events lie."""
    if share >= 1:
        return int(times[-1]) + 1
    return int(times[int(len(times) * share)])


def _split(
    dataset: Dataset, events: pl.DataFrame, *, protocol: str, rule: ReviewRule, description: str
) -> Split:
    """Parts to tables, the reviews by `rule`."""
    tables = {
        part: events.filter(pl.col(PART) == part).drop(PART).sort(ORDER)
        for part in (TRAIN, VALIDATION, TEST, CONTEXT)
    }
    held = events.filter(pl.col(PART) != TRAIN)
    reviews, words = allowed_reviews(dataset, held, rule)
    return Split(
        protocol=protocol,
        description=" ".join([description, words]).strip(),
        reviews=reviews,
        cold_items=_cold_items(dataset, tables[TRAIN]),
        **tables,
    )


def _cold_items(dataset: Dataset, train: pl.DataFrame) -> frozenset[str]:
    trained = train[Columns.ITEM].unique().implode()
    return frozenset(dataset.items.filter(~pl.col(Columns.ITEM).is_in(trained))[Columns.ITEM].to_list())


def _checked(split: Split) -> Split:
    for part in (TRAIN, TEST):
        if not getattr(split, part).height:
            raise DataError(
                f"the split {split.protocol!r} leaves no {part} event; it needs users with two or more "
                "positive events, and fractions that leave something on either side"
            )
    return split


def _split_files(
    dataset: Dataset, config: SplitConfig, train_file: Path | None, test_file: Path | None
) -> tuple[Path, Path] | None:
    train = train_file or (dataset.root / config.train if config.train else None)
    test = test_file or (dataset.root / config.test if config.test else None)
    if (train is None) != (test is None):
        raise ConfigError("a given split needs both files: split.train and split.test; only one is named")
    return (train, test) if train and test else dataset.split_files
