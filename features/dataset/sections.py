"""The sections of `dataset.toml`: which column of which file plays which role."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, get_args

import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from recsys.config import Section
from recsys.errors import did_you_mean
from recsys.history import EVENT_NUMBERS

TimeUnit = Literal["unix_s", "unix_ms", "unix_us", "unix_ns", "iso", "order"]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if "://" in path or pure.is_absolute() or PureWindowsPath(path).drive or ".." in pure.parts:
        raise ValueError("must be a path inside the dataset's folder, relative to it")
    return path


def _local(path: str) -> str:
    if "://" in path:
        raise ValueError("must be a folder of this machine, not a URL")
    return path


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]!r} appears twice")
    return names


def _distinct(keys: dict[str, str | None], others: tuple[str | None, ...]) -> None:
    """Raises `ValueError` where a column of `keys` has a second role."""
    names = [name for name in (*keys.values(), *others) if name is not None]
    for role, name in keys.items():
        if name is not None and names.count(name) > 1:
            raise ValueError(f"the column {name!r} is named as {role} and as something else; name another")


def _known_lists(lists: dict[str, str], columns: tuple[str, ...]) -> None:
    for name in lists:
        if name not in columns:
            raise ValueError(
                f"lists names the column {name!r}, which has no role that takes lists; "
                f"{did_you_mean(name, columns)}"
            )


Name = Annotated[str, Field(min_length=1)]
FilePath = Annotated[Name, AfterValidator(_inside)]
Root = Annotated[Name, AfterValidator(_local)]


class TableSpec(Section):
    path: FilePath  # or a glob such as part-*.parquet


# Text column of lists -> the separator of its elements, or "json" for ["a", "b"] and ['a', 'b'].
ListColumns = dict[Name, Annotated[str, Field(min_length=1)]]
# A single string is read as a list with one element.
ColumnList = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]


class ItemsSpec(TableSpec):
    id: Name
    title: Name | None = None
    text: ColumnList = ()
    image: ColumnList = ()
    video: ColumnList = ()
    categories: ColumnList = ()
    numeric: ColumnList = ()
    owner: Name | None = None  # the user who alone may see the item; none: everybody may
    created_at: Name | None = None
    time: TimeUnit | None = None  # of created_at; None: as the interactions'
    lists: ListColumns = Field(default_factory=dict)

    @field_validator("text", "image", "video", "categories", "numeric")
    @classmethod
    def _no_column_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _unique(names)

    @model_validator(mode="after")
    def _unit_has_a_column(self) -> "ItemsSpec":
        if self.created_at is None and self.time is not None:
            raise ValueError(
                f"items.time = {self.time!r} is the unit of no column; name the column of the times as "
                "items.created_at, or leave out items.time"
            )
        return self

    @model_validator(mode="after")
    def _lists_have_a_role(self) -> "ItemsSpec":
        _known_lists(self.lists, (*self.categories, *self.text, *self.image, *self.video))
        return self


class InteractionsSpec(TableSpec):
    user: Name
    item: Name
    timestamp: Name | None = None  # None: an event's time is the number of its row, over all files
    time: TimeUnit = "order"
    event: Name | None = None
    value: Name | None = None
    positive: Name | None = None

    @field_validator("positive")
    @classmethod
    def _is_sql(cls, positive: str | None) -> str | None:
        if positive is not None:
            positive_columns(positive)
        return positive

    @model_validator(mode="after")
    def _one_role_a_column(self) -> "InteractionsSpec":
        others = (self.event, *self.numbers.values())
        _distinct({"user": self.user, "item": self.item, "timestamp": self.timestamp}, others)
        return self

    @model_validator(mode="after")
    def _unit_has_a_column(self) -> "InteractionsSpec":
        if self.timestamp is None and self.time != "order":
            raise ValueError(
                f"interactions.time = {self.time!r} is the unit of no column; name the column of the times "
                "as interactions.timestamp, or leave out interactions.time: events are then in the order of "
                "their rows"
            )
        if self.timestamp is not None and "time" not in self.model_fields_set:
            raise ValueError(
                f"interactions.time is missing: the unit of the column {self.timestamp!r}, one of "
                f"{', '.join(get_args(TimeUnit))}"
            )
        return self

    @property
    def numbers(self) -> dict[str, str | None]:
        """The file's own column for each of `EVENT_NUMBERS`, None where it has none."""
        return {name: getattr(self, name) for name in EVENT_NUMBERS}


class ReviewsSpec(TableSpec):
    user: Name
    item: Name
    timestamp: Name | None = None
    time: TimeUnit | None = None  # None: as the interactions'
    text: Name | None = None
    audio: Name | None = None
    value: Name | None = None

    @model_validator(mode="after")
    def _has_content(self) -> "ReviewsSpec":
        if self.text is None and self.audio is None:
            raise ValueError("name a `text` column, an `audio` column, or both")
        others = (self.text, self.audio, self.value)
        _distinct({"user": self.user, "item": self.item, "timestamp": self.timestamp}, others)
        return self


class UsersSpec(TableSpec):
    id: Name
    categories: ColumnList = ()
    lists: ListColumns = Field(default_factory=dict)

    @field_validator("categories")
    @classmethod
    def _no_column_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _unique(names)

    @model_validator(mode="after")
    def _lists_have_a_role(self) -> "UsersSpec":
        _known_lists(self.lists, self.categories)
        return self


class MediaSpec(Section):
    # Folders outside the dataset's folder from which media may come: absolute, or relative to that folder.
    roots: Annotated[tuple[Root, ...], AfterValidator(_unique)] = ()


class SplitFiles(Section):
    train: FilePath
    test: FilePath


class OracleFiles(Section):
    users: FilePath
    items: FilePath


def positive_columns(positive: str) -> list[str]:
    """Columns that the SQL expression `positive` reads. Raises `ValueError` where it is not one."""
    try:
        return list(dict.fromkeys(pl.sql_expr(positive).meta.root_names()))
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f'not an SQL expression such as "rating >= 3.5": {str(error).partition(chr(10))[0]} '
            "(a column whose name is a word of SQL is written in double quotes)"
        ) from None
