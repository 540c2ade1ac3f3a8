"""The two files of a predefined split, matched to the dataset's own events."""

import logging
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features.dataset import (
    FILE_NAME,
    Dataset,
    DatasetSpec,
    KnownIds,
    TimeUnit,
    casting,
    describe_near_misses,
    read_file,
    times,
)
from features.splits.assignment import VALIDATION, utc
from features.splits.review_visibility import ReviewRule
from features.splits.split import Cut
from recsys.columns import Columns
from recsys.errors import DataError, did_you_mean

logger = logging.getLogger(__name__)
_IDS = {Columns.USER: "users", Columns.ITEM: "items"}
_KEYS = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP]


@dataclass(frozen=True, kw_only=True)
class PredefinedEvents:
    """Events of the dataset that the files name, with the columns of `Dataset.interactions`."""

    train: pl.DataFrame
    test: pl.DataFrame
    description: str  # the number of rows that matched, as text


def read_predefined(dataset: Dataset, train_file: Path, test_file: Path) -> PredefinedEvents:
    """Match the rows of both files by user, item and, where dataset and file have it, time.

    Columns are named as in the interactions' table, or as in `Columns`. Raises `DataError` where a file
    cannot be read, none of its rows is an event of the dataset, most of its users or items are near misses
    (features/dataset/joins.py), or an event is in both.
    """
    names, unit = _names(dataset)
    known = {key: KnownIds(dataset.interactions[key].unique()) for key in _IDS}
    found: list[pl.DataFrame] = []
    words: list[str] = []
    for part, path in (("training", train_file), ("test", test_file)):
        keys = _read_keys(path, names, unit)
        on = keys.columns
        misses = _misses(path, keys, known)
        num_matched = keys.join(dataset.interactions.select(on).unique(), on=on, how="semi").height
        if not num_matched:
            file_row, dataset_row = (
                keys.row(0, named=True),
                dataset.interactions.select(on).row(0, named=True),
            )
            raise DataError(
                f"{path}: none of its {keys.height} rows is an event of {dataset.name!r}; the first is "
                f"{file_row}, the dataset's first {dataset_row}"
            )
        words += [f"{num_matched} of {keys.height} {part} rows are events of the dataset", *misses]
        found.append(dataset.interactions.join(keys, on=on, how="semi", maintain_order="left"))
    train, test = found
    _refuse_shared(train, test, f"{train_file.name} and in {test_file.name}", names)
    rest = dataset.interactions.join(pl.concat(found), on=Columns.ROW, how="anti")
    words.append(f"{rest.height} events of the dataset are in neither file")
    for key, whose in _IDS.items():
        named = KnownIds(pl.concat([train[key], test[key]]).unique())
        if num_alone := int(named.lacks(known[key].ids).sum()):
            words.append(f"{num_alone} {whose} of the dataset are in neither file")
    return PredefinedEvents(train=train, test=test, description=", ".join(words))


def _misses(path: Path, keys: pl.DataFrame, known: dict[str, KnownIds]) -> list[str]:
    """Counts of the file's users and items without an event, with the near misses among them."""
    words = []
    for key, whose in _IDS.items():
        ids = keys[key].drop_nulls().unique(maintain_order=True)
        num_alone = int(known[key].lacks(ids).sum())
        near = known[key].near_misses(ids)
        found = f"{num_alone} of {len(ids)} {whose} of {path.name} have no event in the dataset"
        if near.height:
            found += f"; {describe_near_misses(near, f'{whose} of the dataset')}: write both alike"
            if 2 * near.height > len(ids):
                raise DataError(f"{path}: {found}")
            logger.warning("%s: %s", path, found)
        if num_alone:
            words.append(found)
    return words


def _refuse_shared(train: pl.DataFrame, test: pl.DataFrame, where: str, names: dict[str, str]) -> None:
    """Raises `DataError` where an event is both training and test."""
    both = train.join(test, on=Columns.ROW, how="semi")
    if not both.height:
        return
    example = both.select(_KEYS).row(0, named=True)
    remedy = "name the time column where users repeat an item"
    if Columns.TIMESTAMP not in names:
        remedy = (
            "where users repeat an item, only a time distinguishes its events: name interactions.timestamp "
            "in dataset.toml, and that column in both files"
        )
    raise DataError(
        f"{both.height} events are in {where}, for instance {example}; an event is either training or test "
        f"({remedy})"
    )


def _names(dataset: Dataset) -> tuple[dict[str, str], TimeUnit]:
    """Own name of each key column, and the unit of the time; no time where the interactions have none."""
    if not (dataset.root / FILE_NAME).is_file():
        return {key: key for key in _KEYS}, "order"
    spec = DatasetSpec.load(dataset.root).interactions
    assert spec is not None, "a dataset with split files has interactions"
    own = zip(_KEYS, (spec.user, spec.item, spec.timestamp), strict=True)
    return {key: name for key, name in own if name is not None}, spec.time


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
                # A column with the name of `Columns` has microseconds.
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
    """The order of the files in time, the reviews that may therefore be read, and both as text."""
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
