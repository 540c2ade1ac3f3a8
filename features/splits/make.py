"""Splits of a dataset by protocol.

Order is by time, ties by the row's place in the file. A user's cut-off is the place in that order of the
user's first validation or test event. These rules hold for all protocols:

- targets (validation, test) are positive events; events that are not positive and not before the cut-off are
  `context`, or unused where their item is hidden, so that it is cold in the test;
- a review of a (user, item) pair with an event outside training is left out, whatever its date;
- users with one positive event are in training only, users with two have no validation event.
"""

import logging
from dataclasses import replace
from pathlib import Path

import polars as pl

from features.dataset import Dataset
from features.event_log import StreamedDataset
from features.splits.assignment import CONTEXT, ORDER, PART, TEST, TRAIN, UNUSED, VALIDATION, validation_of
from features.splits.predefined import predefined_rule, read_predefined
from features.splits.protocols import Plan, make_plan, protocol_by_time
from features.splits.review_visibility import ReviewRule, allowed_reviews
from features.splits.split import Cut, InMemorySplit, Split
from features.splits.streamed import split_log
from recsys.columns import Columns
from recsys.config import SplitConfig
from recsys.errors import ConfigError, DataError
from recsys.progress import Progress, silent

logger = logging.getLogger(__name__)


def make_split(
    dataset: Dataset,
    config: SplitConfig,
    folder: Path | None = None,
    *,
    train_file: Path | None = None,
    test_file: Path | None = None,
    progress: Progress = silent,
) -> Split:
    """The split that `config` asks for; the parts of an event log are written into `folder`.

    `auto` is `predefined` where the configuration, the arguments or the dataset name files, else
    `leave_one_out` on data without a clock, else that of `protocol_by_time`. Files of the configuration are
    relative to the dataset. Files of the arguments come before those of the configuration, and those before
    the files of the dataset. A predefined split is matched in memory, since its files name events of any
    user. Raises `ConfigError` where the protocol does not fit the data, `DataError` where training or test
    is empty.
    """
    protocol, files, reason = choose_protocol(dataset, config, train_file, test_file)
    if protocol == "predefined":
        assert files is not None
        return _checked(predefined_split(dataset, config, *files))
    plan = make_plan(protocol, dataset.event_statistics, config)
    if reason:
        plan = replace(plan, description=f"{plan.description} {reason}")
    return _checked(split_by_plan(dataset, plan, folder, progress=progress))


def split_by_plan(
    dataset: Dataset, plan: Plan, folder: Path | None = None, *, progress: Progress = silent
) -> Split:
    """The split of a plan; any part may be empty. The parts of an event log are written into `folder`."""
    if isinstance(dataset, StreamedDataset):
        assert folder is not None, "the split of an event log needs a folder"
        return split_log(dataset, plan, folder, progress=progress)
    events = plan.assign(dataset.interactions)
    held = events.filter(pl.col(PART).is_in(plan.held))
    return _split(dataset, events, held, protocol=plan.protocol, rule=plan.rule, description=plan.description)


def choose_protocol(
    dataset: Dataset, config: SplitConfig, train_file: Path | None = None, test_file: Path | None = None
) -> tuple[str, tuple[Path, Path] | None, str]:
    """The protocol, with `auto` resolved; the files of a predefined split; the reason of a choice by time."""
    files = _split_files(dataset, config, train_file, test_file)
    protocol: str = config.protocol
    reason = ""
    if protocol == "auto" and files:
        protocol = "predefined"
    elif protocol == "auto" and not dataset.has_clock:
        protocol = "leave_one_out"
    elif protocol == "auto":
        protocol, reason = protocol_by_time(dataset.event_statistics, config)
    named_here = files is not None and files != dataset.split_files
    if protocol != "predefined" and named_here:
        raise ConfigError(
            f"split.protocol = {protocol!r} reads no files; use 'predefined', or name no train and test"
        )
    if protocol == "predefined" and files is None:
        raise ConfigError(
            "split.protocol = 'predefined' needs two files: [split] in dataset.toml, or split.train and "
            "split.test"
        )
    return protocol, files, reason


def predefined_split(
    dataset: Dataset, config: SplitConfig, train_file: Path, test_file: Path
) -> InMemorySplit:
    """Training and test as given by two files; validation is the last `validation_fraction` of training.

    Rows are matched by user, item and, where the files have it, time. Unused are events in neither file, and
    test rows that are not positive on items without a row in the training file, since these items are cold.
    Validation events (at least one) come from users with three or more positive training events.

    May be read: the events of the training file before the user's validation. Events in neither file are not
    read, but a review of their (user, item) pair may be. Reviews: where all of training is before all of
    test, the reviews dated before the first test event and the author's own cut-off; where this holds for
    each user alone, the reviews before the author's own cut-off; else the reviews before the author's first
    validation event.
    Not guaranteed: an order that the files do not have. Where they overlap in time, training reads the future
    of the test.
    """
    matched = read_predefined(dataset, train_file, test_file)
    warm = validation_of(matched.train, config.validation_fraction)
    is_known = pl.col(Columns.ITEM).is_in(matched.train[Columns.ITEM].unique().implode())
    test_part = (
        pl.when(Columns.POSITIVE).then(pl.lit(TEST))
        .when(is_known).then(pl.lit(CONTEXT))
        .otherwise(pl.lit(UNUSED))
    )  # fmt: skip
    test = matched.test.with_columns(test_part.alias(PART))
    read = test.filter(pl.col(PART) != UNUSED)
    cut, rule, words = predefined_rule(matched.train, read, dataset.has_clock)
    events = pl.concat([warm, test])
    return _split(
        dataset,
        events,
        events.filter(pl.col(PART) != TRAIN),
        protocol="predefined",
        cut=cut,
        rule=rule,
        description=(
            f"Training and test as given in {train_file.name} and {test_file.name}: {matched.description}. "
            f"The last {config.validation_fraction:.0%} of each user's positive training events are "
            f"validation. {words}"
        ),
    )


def _split(
    dataset: Dataset,
    events: pl.DataFrame,
    held: pl.DataFrame,
    *,
    protocol: str,
    rule: ReviewRule,
    description: str,
    cut: Cut | None = None,
) -> InMemorySplit:
    """A split of events with their part. Reviews of the (user, item) pairs of `held` are left out."""
    tables = {
        part: events.filter(pl.col(PART) == part).drop(PART).sort(ORDER)
        for part in (TRAIN, VALIDATION, TEST, CONTEXT)
    }
    reviews, words = allowed_reviews(dataset, held, rule)
    return InMemorySplit(
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
    """Raises `DataError` where training has no event; a split without test events gets a warning."""
    counts = split.counts
    if not counts[TRAIN]:
        raise DataError(
            f"the split {split.protocol!r} leaves no training event; it needs positive events, and fractions "
            "that leave some of them to training"
        )
    if not counts[TEST]:
        logger.warning(
            "the split %r leaves no test event, so that nothing can be measured; "
            "a test needs users with two or more positive events",
            split.protocol,
        )
    return split


def _split_files(
    dataset: Dataset, config: SplitConfig, train_file: Path | None, test_file: Path | None
) -> tuple[Path, Path] | None:
    train = train_file or (dataset.root / config.train if config.train else None)
    test = test_file or (dataset.root / config.test if config.test else None)
    if (train is None) != (test is None):
        raise ConfigError(
            "a predefined split needs both files: split.train and split.test; only one is named"
        )
    return (train, test) if train and test else dataset.split_files
