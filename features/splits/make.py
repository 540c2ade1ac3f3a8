"""Protocols: which events are training, validation and test, and which reviews may be read.

Order is by time, ties by the row's place in the file. Wherever a protocol speaks of a user's cut-off, it
is the place in that order of the user's first validation or test event. These hold for all of them:

- targets (validation, test) are positive events; negative events from the cut-off on are `context`, but
  those on an item that is to be new in the test are in no part;
- a review whose (user, item) pair has an event outside training is left out, whatever its date;
- users with one positive event are in training only, those with two have no validation event.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import polars as pl

from features.dataset.tables import Cut, Dataset, Split
from features.splits.assignment import (
    CONTEXT,
    NOWHERE,
    ORDER,
    PART,
    TEST,
    TRAIN,
    VALIDATION,
    validation_of,
)
from features.splits.predefined import given_rule, read_given
from features.splits.protocols import make_plan
from features.splits.review_visibility import ReviewRule, allowed_reviews
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
    protocol, files = choose_protocol(dataset, config, train_file, test_file)
    if protocol == "given":
        assert files is not None
        return _checked(given(dataset, config, *files))
    plan = make_plan(protocol, FrameOverview(dataset), config)
    events = plan.assign(dataset.interactions)
    return _checked(
        _split(dataset, events, protocol=plan.protocol, rule=plan.rule, description=plan.description)
    )


def choose_protocol(
    dataset: Dataset, config: SplitConfig, train_file: Path | None = None, test_file: Path | None = None
) -> tuple[str, tuple[Path, Path] | None]:
    """What `auto` means here, and the files of a given split."""
    files = _split_files(dataset, config, train_file, test_file)
    protocol: str = config.protocol
    if protocol == "auto":
        protocol = "given" if files else "user_temporal" if dataset.has_clock else "leave_one_out"
    named_here = files is not None and files != dataset.split_files
    if protocol != "given" and named_here:
        raise ConfigError(
            f"split.protocol = {protocol!r} reads no files; use 'given', or name no train and test"
        )
    if protocol == "given" and files is None:
        raise ConfigError(
            "split.protocol = 'given' needs two files: [split] in dataset.toml, or split.train and split.test"
        )
    return protocol, files


class FrameOverview:
    """`Overview` of a dataset whose events are in memory."""

    def __init__(self, dataset: Dataset) -> None:
        self.has_clock, self.items = dataset.has_clock, dataset.items
        self._positive = dataset.interactions.filter(Columns.POSITIVE)

    @property
    def bought(self) -> pl.Series:
        return self._positive[Columns.ITEM].unique()

    @property
    def num_positive(self) -> int:
        return self._positive.height

    def positive_time(self, place: int) -> int:
        return int(self._times[place])

    @cached_property
    def _times(self) -> pl.Series:
        return self._positive[Columns.TIMESTAMP].sort()


def given(dataset: Dataset, config: SplitConfig, train_file: Path, test_file: Path) -> Split:
    """Training and test as two files say; validation is the last `validation_fraction` of training.

    Rows are matched by user, item and, where the files have it, time; events in neither file are in no
    part, nor are test rows that are not positive on items without a row in the training file: those are to be
    new. Validation events (at least one) come from users with three or more positive training events.

    May be read: the events of the training file before the user's validation; those in neither file by
    nobody, though a review of such a pair may be. Reviews: where all of training lies before all of test,
    those dated before the first test event and the author's own cut-off; where it does so for each user,
    those before the author's own cut-off; else those before the author's first validation event.
    Not guaranteed: what the files do not: where they overlap in time, training reads the future of the test.
    """
    matched = read_given(dataset, train_file, test_file)
    warm = validation_of(matched.train, config.validation_fraction)
    is_known = pl.col(Columns.ITEM).is_in(matched.train[Columns.ITEM].unique().implode())
    test_part = (
        pl.when(Columns.POSITIVE).then(pl.lit(TEST))
        .when(is_known).then(pl.lit(CONTEXT))
        .otherwise(pl.lit(NOWHERE))
    )  # fmt: skip
    test = matched.test.with_columns(test_part.alias(PART))
    read = test.filter(pl.col(PART) != NOWHERE)
    cut, rule, words = given_rule(matched.train, read, dataset.has_clock)
    return _split(
        dataset,
        pl.concat([warm, test]),
        protocol="given",
        cut=cut,
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


def _split(
    dataset: Dataset,
    events: pl.DataFrame,
    *,
    protocol: str,
    rule: ReviewRule,
    description: str,
    cut: Cut | None = None,
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
        cut=cut,
        **tables,
    )


def _cold_items(dataset: Dataset, train: pl.DataFrame) -> frozenset[str]:
    trained = train[Columns.ITEM].unique().implode()
    return frozenset(dataset.items.filter(~pl.col(Columns.ITEM).is_in(trained))[Columns.ITEM].to_list())


def _checked(split: Split) -> Split:
    check_split(split.protocol, {part: getattr(split, part).height for part in (TRAIN, TEST)})
    return split


def check_split(protocol: str, counts: Mapping[str, int]) -> None:
    """Raises `DataError` where training or test has no event; `counts` are events by part."""
    for part in (TRAIN, TEST):
        if not counts[part]:
            raise DataError(
                f"the split {protocol!r} leaves no {part} event; it needs users with two or more "
                "positive events, and fractions that leave something on either side"
            )


def _split_files(
    dataset: Dataset, config: SplitConfig, train_file: Path | None, test_file: Path | None
) -> tuple[Path, Path] | None:
    train = train_file or (dataset.root / config.train if config.train else None)
    test = test_file or (dataset.root / config.test if config.test else None)
    if (train is None) != (test is None):
        raise ConfigError("a given split needs both files: split.train and split.test; only one is named")
    return (train, test) if train and test else dataset.split_files
