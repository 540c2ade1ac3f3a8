"""The two files of a predefined split, matched to the dataset's own events."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features.dataset import FILE_NAME, Dataset, DatasetSpec, TimeUnit, casting, read_file, times
from features.splits.assignment import VALIDATION, utc
from features.splits.review_visibility import ReviewRule
from features.splits.split import Cut
from recsys.columns import Columns
from recsys.errors import DataError, did_you_mean

_KEYS = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP]


@dataclass(frozen=True, kw_only=True)
class PredefinedEvents:
    """Events of the dataset that the files name, with the columns of `Dataset.interactions`."""

    train: pl.DataFrame
    test: pl.DataFrame
    description: str  # the number of rows that matched, in words


def read_predefined(dataset: Dataset, train_file: Path, test_file: Path) -> PredefinedEvents:
    """Match the rows of both files by user, item and, where a file has that column, time.

    Columns are named as in the interactions' table, or as in `Columns`. Raises `DataError` where a file
    cannot be read, none of its rows is an event of the dataset, or an event is in both.
    """
    names, unit = _names(dataset)
    found: list[pl.DataFrame] = []
    words: list[str] = []
    for part, path in (("training", train_file), ("test", test_file)):
        keys = _read_keys(path, names, unit)
        on = keys.columns
        events = dataset.interactions.join(keys, on=on, how="semi", maintain_order="left")
        num_matched = keys.join(dataset.interactions.select(on).unique(), on=on, how="semi").height
        if not num_matched:
            theirs, ours = keys.row(0, named=True), dataset.interactions.select(on).row(0, named=True)
            raise DataError(
                f"{path}: none of its {keys.height} rows is an event of {dataset.name!r}; the first is "
                f"{theirs}, the dataset's first {ours}"
            )
        words.append(f"{num_matched} of {keys.height} {part} rows are events of the dataset")
        found.append(events)
    train, test = found
    both = train.join(test, on=Columns.ROW, how="semi")
    if both.height:
        example = both.select(_KEYS).row(0, named=True)
        raise DataError(
            f"{both.height} events are in {train_file.name} and in {test_file.name}, for instance {example}; "
            "an event is either training or test (name the time column where users repeat an item)"
        )
    num_left = dataset.interactions.height - train.height - test.height
    words.append(f"{num_left} events of the dataset are in neither file")
    return PredefinedEvents(train=train, test=test, description=", ".join(words))


def _names(dataset: Dataset) -> tuple[dict[str, str], TimeUnit]:
    """Own name of each key column, and the unit of the time."""
    if not (dataset.root / FILE_NAME).is_file():
        return {key: key for key in _KEYS}, "order"
    spec = DatasetSpec.load(dataset.root).interactions
    return dict(zip(_KEYS, (spec.user, spec.item, spec.timestamp), strict=True)), spec.time


def _read_keys(path: Path, names: dict[str, str], unit: TimeUnit) -> pl.DataFrame:
    try:
        if not path.is_file():
            raise DataError("no such file")
        frame = read_file(path)
        if not frame.height:
            raise DataError("no rows")
        columns: list[pl.Series] = []
        for key, own in names.items():
            column = own if own in frame.columns else key
            if column in frame.columns:
                is_time = key == Columns.TIMESTAMP
                # Times under our own name are our own microseconds.
                its_unit = unit if column == own else "order"
                series = frame[column]
                cast = times.as_time(series, its_unit) if is_time else casting.as_id(series)
                columns.append(cast.alias(key))
            elif key != Columns.TIMESTAMP:
                raise DataError(f"no column {own!r}; {did_you_mean(own, frame.columns)}")
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return pl.DataFrame(columns).unique(maintain_order=True)


def predefined_rule(train: pl.DataFrame, test: pl.DataFrame, has_clock: bool) -> tuple[Cut, ReviewRule, str]:
    """How the files were cut in time, and the reviews that may be read because of it, with words."""
    time, user = Columns.TIMESTAMP, Columns.USER
    last, first = train[time].max(), test[time].min()
    if has_clock and isinstance(last, int) and isinstance(first, int) and last <= first:
        rule = ReviewRule(per_user=True, before=first)
        return "for_all", rule, f"All of training lies before all of test ({utc(first)})."
    spans = train.group_by(user).agg(pl.col(time).max().alias("last"))
    spans = spans.join(test.group_by(user).agg(pl.col(time).min().alias("first")), on=user)
    if spans.height and bool((spans["last"] <= spans["first"]).all()):
        return "by_user", ReviewRule(per_user=True), "Each user's training lies before their test."
    return (
        "overlapping",
        ReviewRule(per_user=True, cut_off_parts=(VALIDATION,)),
        "Training and test overlap in time, so reviews are left out by their (user, item) pair.",
    )
