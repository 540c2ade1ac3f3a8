"""Raw tables to a validated `Dataset`.

Problems of a table (a missing file or column, a column of the wrong type, no valid row) are collected over
all tables and raised together. A faulty row is rejected with a reason.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import polars as pl

from features.dataset.files.media_paths import MediaFolder, media_lists
from features.dataset.files.readers import read_table
from features.dataset.interactions import (
    INTERACTIONS_SCHEMA,
    EventsTable,
    ReadEvents,
    check_interactions,
    id_columns,
    interaction_columns,
    items_of_ids,
    missing_part_warnings,
    valid_item_ids,
)
from features.dataset.joins import KnownIds, UserJoins, reject_unknown_items
from features.dataset.schema import FILE_NAME, DatasetSpec
from features.dataset.sections import InteractionsSpec, ItemsSpec, ReviewsSpec, UsersSpec
from features.dataset.table_checker import TableChecker, unreadable
from features.dataset.tables import InMemoryDataset, Rejected
from features.dataset.values import casting
from recsys.columns import Columns
from recsys.errors import DataError

REVIEW_SCHEMA = {
    Columns.USER: pl.String,
    Columns.ITEM: pl.String,
    Columns.TIMESTAMP: pl.Int64,
    Columns.TEXT: pl.String,
    Columns.AUDIO: pl.String,
    Columns.VALUE: pl.Float64,
    Columns.ROW: pl.Int64,
}
Table = TypeVar("Table", pl.DataFrame, EventsTable)


def load_dataset(root: Path, read_events: ReadEvents | None = None) -> InMemoryDataset:
    """The validated dataset in the folder `root`; `rejected` of the result has the rejected rows and media.

    `read_events` replaces the reader of the interactions (features/event_log).
    Raises `DataError` whose `problems` lists the problems of all tables.
    """
    root = root.resolve()
    spec = DatasetSpec.load(root)
    reader = _Reader(root, spec)
    items, table = _items_and_interactions(reader, spec, read_events or reader.interactions)
    events = table.events if table is not None else None
    known_items = KnownIds(items[Columns.ITEM]) if items is not None else None
    joins = UserJoins(events[Columns.USER] if events is not None and events.height else None)
    reviews = users = None
    if spec.reviews is not None:
        reviews_spec = spec.reviews
        reviews = reader.read("reviews", lambda: reader.reviews(reviews_spec, known_items, joins))
    if spec.users is not None:
        users_spec = spec.users
        users = reader.read("users", lambda: reader.users(users_spec, joins))
    split_files = reader.files("split", (spec.split.train, spec.split.test) if spec.split else None)
    oracle_files = reader.files("oracle", (spec.oracle.users, spec.oracle.items) if spec.oracle else None)
    if reader.problems or items is None or events is None:
        raise DataError(f"{root / FILE_NAME}: the tables break the dataset contract:", reader.problems)
    return InMemoryDataset(
        name=spec.name,
        root=root,
        items=items,
        interactions=events,
        reviews=reviews if reviews is not None else pl.DataFrame(schema=REVIEW_SCHEMA),
        users=_add_missing_users(users, events),
        has_clock=spec.has_clock,
        rejected=tuple(reader.rejected),
        warnings=(*missing_part_warnings(spec, items), *reader.warnings, *joins.warnings),
        unmatched_ids=joins.unmatched_ids,
        media_roots=reader.media.folders[1:],
        split_files=split_files,
        oracle_files=oracle_files,
    )


def _items_and_interactions(
    reader: "_Reader", spec: DatasetSpec, read_events: ReadEvents
) -> tuple[pl.DataFrame | None, EventsTable | None]:
    """Both tables, None for a table with a problem.

    Without [items] the items are the ids of the events; without [interactions] there are no events.
    """
    items, known = None, None
    if spec.items is not None:
        items_spec = spec.items
        items = reader.read("items", lambda: reader.items(items_spec))
        known = items[Columns.ITEM] if items is not None else pl.Series(dtype=pl.String)
    if spec.interactions is None:
        ids = known if known is not None else pl.Series(dtype=pl.String)
        return items, EventsTable(events=pl.DataFrame(schema=INTERACTIONS_SCHEMA), item_ids=ids)
    interactions_spec = spec.interactions
    table = reader.read("interactions", lambda: read_events(interactions_spec, known))
    if spec.items is None and table is not None:
        items = items_of_ids(table.item_ids)
    return items, table


class _Reader:
    """Reads the tables of a dataset, and collects their problems, rejected rows and warnings."""

    def __init__(self, root: Path, spec: DatasetSpec) -> None:
        self.root = root
        self.spec = spec
        self.problems: list[str] = []
        self.media = self._media_folder()
        self.rejected: list[Rejected] = []
        self.warnings: list[str] = []

    def _media_folder(self) -> MediaFolder:
        try:
            return MediaFolder(self.root, self.spec.media.roots if self.spec.media is not None else ())
        except DataError as error:
            self.problems += error.problems
            return MediaFolder(self.root)

    def read(self, name: str, table: Callable[[], Table]) -> Table | None:
        """The table, None where reading it raises `DataError`; the problems are collected."""
        try:
            return table()
        except DataError as error:
            self.problems += error.problems or (f"[{name}] {error}",)
            return None

    def finish(self, table: TableChecker, columns: list[pl.Series]) -> pl.DataFrame:
        """The kept rows of `columns`; problems, rejected rows and warnings of the table are collected."""
        frame = table.finish(columns)
        self.problems += table.problems
        self.rejected += table.rejected
        self.warnings += table.warnings()
        return frame

    def files(self, section: str, names: tuple[str, str] | None) -> tuple[Path, Path] | None:
        """Absolute paths of two files that dataset.toml names; a missing file is a problem."""
        if names is None:
            return None
        first, second = (self.root / name for name in names)
        for path in (first, second):
            if not path.is_file():
                wrong = "is a folder, not a file" if path.is_dir() else "no such file"
                self.problems.append(f"[{section}] {path.relative_to(self.root)}: {wrong}")
        return first, second

    def items(self, spec: ItemsSpec) -> pl.DataFrame:
        wanted = [spec.id, *spec.text, *spec.image, *spec.video, *spec.categories, *spec.numeric]
        wanted += [name for name in (spec.title, spec.owner, spec.created_at) if name is not None]
        lists = {*spec.text, *spec.image, *spec.video, *spec.categories}
        id_like = {spec.id, *spec.categories} | ({spec.owner} if spec.owner is not None else set())
        table = TableChecker(read_table(self.root, "items", spec.path, wanted, ids=id_like, lists=lists))
        ids = table.required_id(spec.id)
        table.keep_first(ids, spec.id)
        texts = [_texts(table, name, spec.lists) for name in spec.text]
        columns = [
            ids.alias(Columns.ITEM),
            _optional(table, spec.title, Columns.TITLE),
            _join_texts(texts, ids.len()),
            self._media(table, spec.image, spec.lists).alias(Columns.IMAGE),
            self._media(table, spec.video, spec.lists).alias(Columns.VIDEO),
        ]
        if spec.created_at is not None:
            columns.append(table.optional_time(spec.created_at, self.spec.items_time))
        else:
            columns.append(pl.Series([None] * ids.len(), dtype=pl.Int64))
        columns[-1] = columns[-1].cast(pl.Int64).alias(Columns.CREATED_AT)
        columns += _categories(table, spec.categories, spec.lists)
        if spec.owner is not None:
            columns.append(table.optional_id(spec.owner).alias(Columns.OWNER))
        for name in spec.numeric:
            columns.append(table.optional_number(name).cast(pl.Float64).alias(Columns.NUMERIC_PREFIX + name))
        return self.finish(table, columns)

    def interactions(self, spec: InteractionsSpec, items: pl.Series | None) -> EventsTable:
        wanted = interaction_columns(spec)
        table = TableChecker(read_table(self.root, "interactions", spec.path, wanted, ids=id_columns(spec)))
        columns = check_interactions(table, spec, KnownIds(items) if items is not None else None)
        events = self.finish(table, columns).sort(Columns.TIMESTAMP, Columns.ROW)
        return EventsTable(
            events=events, item_ids=valid_item_ids(table.raw.frame[spec.item]) if items is None else items
        )

    def reviews(self, spec: ReviewsSpec, items: KnownIds | None, joins: UserJoins) -> pl.DataFrame:
        names = (spec.timestamp, spec.text, spec.audio, spec.value)
        wanted = [spec.user, spec.item, *(name for name in names if name is not None)]
        table = TableChecker(
            read_table(self.root, "reviews", spec.path, wanted, ids={spec.user, spec.item}, lists=())
        )
        user, item = table.required_id(spec.user), table.required_id(spec.item)
        timestamp = pl.Series([None] * len(user), dtype=pl.Int64)
        if spec.timestamp:
            timestamp = table.given_time(spec.timestamp, self.spec.reviews_time)
        reject_unknown_items(table, item, spec.item, items)
        joins.check_reviewers(table, user, spec.user)
        text = _optional(table, spec.text, Columns.TEXT)
        audio_paths = _optional(table, spec.audio, Columns.AUDIO)
        table.reject(text.is_null() & audio_paths.is_null(), spec.text or spec.audio or "", "an empty review")
        audio = self._audio(table, spec.audio, audio_paths)
        value = pl.Series([None] * len(user), dtype=pl.Float64)
        if spec.value:
            value = table.optional_number(spec.value).cast(pl.Float64)
        columns = [
            user.alias(Columns.USER),
            item.alias(Columns.ITEM),
            timestamp.cast(pl.Int64).alias(Columns.TIMESTAMP),
            text,
            audio.alias(Columns.AUDIO),
            value.alias(Columns.VALUE),
            table.rows(),
        ]
        return self.finish(table, columns)

    def users(self, spec: UsersSpec, joins: UserJoins) -> pl.DataFrame:
        wanted = [spec.id, *spec.categories]
        table = TableChecker(
            read_table(self.root, "users", spec.path, wanted, ids=wanted, lists=spec.categories)
        )
        ids = table.required_id(spec.id)
        table.keep_first(ids, spec.id)
        columns = [ids.alias(Columns.USER), *_categories(table, spec.categories, spec.lists)]
        joins.check_users(table, ids.filter(pl.Series(table.kept)), spec.id)
        return self.finish(table, columns)

    def _audio(self, table: TableChecker, column: str | None, paths: pl.Series) -> pl.Series:
        """Absolute paths of the recordings; an invalid path becomes null and is noted as rejected."""
        if column is None:
            return paths
        checked = pl.DataFrame({"path": paths}).join(
            self.media.check(paths), on="path", how="left", maintain_order="left"
        )
        kept = pl.Series(table.kept)
        for reason in checked["reason"].drop_nulls().unique(maintain_order=True):
            table.note((checked["reason"] == reason) & kept, column, reason)
        return checked["absolute"]

    def _media(
        self, table: TableChecker, columns: tuple[str, ...], separators: Mapping[str, str]
    ) -> pl.Series:
        """Absolute paths of all media files of each item, in the order of `columns`. List(String)."""
        num_rows = table.raw.frame.height
        row = pl.int_range(num_rows, eager=True)
        parts = [pl.DataFrame(schema={"row": pl.Int64, "absolute": pl.String})]
        for column in columns:
            raw = table.lists(column, separators)
            lists = table.cast(column, media_lists, unreadable("a path"), series=raw)
            flat = pl.DataFrame({"row": row, "path": lists.cast(pl.List(pl.String))})
            flat = flat.filter(pl.Series(table.kept)).explode("path").drop_nulls()
            flat = flat.join(self.media.check(flat["path"]), on="path", how="left", maintain_order="left")
            bad = flat.filter(pl.col("reason").is_not_null())
            for (reason,), part in bad.group_by("reason", maintain_order=True):
                table.note_values(part["row"].to_list(), part["path"].to_list(), column, str(reason))
            parts.append(flat.drop_nulls("absolute").select("row", "absolute"))
        files = pl.concat(parts).group_by("row", maintain_order=True).agg("absolute")
        joined = pl.DataFrame({"row": row}).join(files, on="row", how="left", maintain_order="left")
        return joined.select(pl.col("absolute").fill_null(casting.EMPTY_LIST)).to_series()


def _optional(table: TableChecker, column: str | None, name: str) -> pl.Series:
    if column is None:
        return pl.Series(name, [None] * table.raw.frame.height, dtype=pl.String)
    return table.cast(column, casting.as_text, unreadable("a text")).cast(pl.String).alias(name)


def _join_texts(texts: list[pl.Series], num_rows: int) -> pl.Series:
    """The text columns, joined by a blank line; null where all columns are null."""
    if not texts:
        return pl.Series(Columns.TEXT, [None] * num_rows, dtype=pl.String)
    frame = pl.DataFrame([text.cast(pl.String).alias(str(at)) for at, text in enumerate(texts)])
    joined = pl.concat_str(pl.all(), separator="\n\n", ignore_nulls=True)
    return frame.select(pl.when(joined != "").then(joined).alias(Columns.TEXT)).to_series()


def _texts(table: TableChecker, column: str, separators: Mapping[str, str]) -> pl.Series:
    """The texts of the column; the elements of a list are joined by line feeds."""
    raw = table.lists(column, separators, warn=False)
    return table.cast(column, casting.as_joined_text, unreadable("a text"), series=raw)


def _categories(
    table: TableChecker, names: tuple[str, ...], separators: Mapping[str, str]
) -> list[pl.Series]:
    columns = []
    for name in names:
        raw = table.lists(name, separators)
        lists = table.cast(name, casting.as_categories, unreadable("a category"), series=raw)
        lists = lists.cast(pl.List(pl.String))
        unusable = lists.list.eval(casting.has_nul(pl.element())).list.any()
        if unusable.any():  # the id map of a category field must not contain a NUL character
            table.note(unusable, name, "a category with a NUL character")
            lists = lists.list.eval(pl.element().filter(~casting.has_nul(pl.element())))
        columns.append(lists.alias(Columns.CATEGORY_PREFIX + name))
    return columns


def _add_missing_users(users: pl.DataFrame | None, events: pl.DataFrame) -> pl.DataFrame:
    """The table of users, with a row of empty categories for each user who has only interactions."""
    if users is None:
        users = pl.DataFrame(schema={Columns.USER: pl.String})
    missing = events.select(pl.col(Columns.USER).unique(maintain_order=True)).join(
        users, on=Columns.USER, how="anti"
    )
    lists = [name for name in users.columns if name.startswith(Columns.CATEGORY_PREFIX)]
    return pl.concat([users, missing.with_columns([casting.EMPTY_LIST.alias(name) for name in lists])])
