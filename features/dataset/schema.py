"""`dataset.toml` as a whole: its sections, read together and checked against each other."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError, model_validator

from features.dataset.sections import (
    InteractionsSpec,
    ItemsSpec,
    MediaSpec,
    Name,
    OracleFiles,
    ReviewsSpec,
    SplitFiles,
    TimeUnit,
    UsersSpec,
)
from recsys.config import Section
from recsys.errors import DataError, did_you_mean

FILE_NAME = "dataset.toml"
_NO_TABLE = (
    "[items] and [interactions] are missing: name a table of items (path and id) for search, a table of "
    "interactions (path, user and item, and timestamp and time where it has times) for recommendations, or "
    "both"
)


class _Times(NamedTuple):
    """A column of times, with the unit that its section names."""

    section: str
    key: str  # of dataset.toml
    column: str
    unit: TimeUnit | None


class DatasetSpec(Section):
    name: Name
    items: ItemsSpec | None = None  # None: the catalogue is the item ids of the interactions
    interactions: InteractionsSpec | None = None  # None: a catalogue without behaviour, for search
    reviews: ReviewsSpec | None = None
    users: UsersSpec | None = None
    media: MediaSpec | None = None
    split: SplitFiles | None = None
    oracle: OracleFiles | None = None

    @model_validator(mode="after")
    def _has_rows(self) -> "DatasetSpec":
        if self.interactions is not None:
            return self
        if self.items is None:
            raise ValueError(_NO_TABLE)
        events_of = {"split": self.split, "oracle": self.oracle}
        problems = [
            f"[{section}] is about events, which a dataset without [interactions] lacks; leave it out"
            for section, given in events_of.items()
            if given is not None
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _one_clock(self) -> "DatasetSpec":
        if problems := self._problems_of_times():
            raise ValueError("\n".join(problems))
        return self

    def _problems_of_times(self) -> list[str]:
        if self.interactions is not None and self.interactions.timestamp is None:
            return [
                f"{times.key} = {times.column!r}: the interactions have no times to compare it with; "
                "leave it out, or name the column of the times as interactions.timestamp"
                for times in self._other_times
            ]
        if self.interactions is None:
            missing = [times for times in self._other_times if times.unit is None]
            if missing:
                return [
                    f"{times.section}.time is missing: the unit of the column {times.column!r}, one of "
                    f"{', '.join(get_args(TimeUnit))}"
                    for times in missing
                ]
        return self._problems_of_clocks()

    def _problems_of_clocks(self) -> list[str]:
        """Tables whose times are dates beside tables whose times are positions."""
        units = {times.section: times.unit or self._unit for times in self._other_times}
        first, unit = "interactions", self._unit
        if self.interactions is None and units:
            first, unit = next(iter(units.items()))
        return [
            f"{times.section}.time is {units[times.section]!r} but {first}.time is {unit!r}: a date and a "
            f"position cannot be compared; leave out {times.key}, or give both the same kind"
            for times in self._other_times
            if (units[times.section] == "order") != (unit == "order")
        ]

    @property
    def _other_times(self) -> list["_Times"]:
        """The columns of times outside the interactions."""
        found = []
        if self.items is not None and self.items.created_at is not None:
            found.append(_Times("items", "items.created_at", self.items.created_at, self.items.time))
        if self.reviews is not None and self.reviews.timestamp is not None:
            found.append(_Times("reviews", "reviews.timestamp", self.reviews.timestamp, self.reviews.time))
        return found

    @property
    def _unit(self) -> TimeUnit:
        """The unit of tables without a unit of their own."""
        return self.interactions.time if self.interactions is not None else "order"

    @property
    def items_time(self) -> TimeUnit:
        """Unit of `items.created_at`."""
        return (self.items.time if self.items is not None else None) or self._unit

    @property
    def reviews_time(self) -> TimeUnit:
        """Unit of the reviews' timestamps."""
        return (self.reviews.time if self.reviews is not None else None) or self._unit

    @property
    def has_clock(self) -> bool:
        """Whether the times are dates. False: they are positions, or there are none."""
        if self.interactions is not None:
            return self.interactions.time != "order"
        return any(times.unit != "order" for times in self._other_times)

    @classmethod
    def load(cls, root: Path) -> "DatasetSpec":
        """The checked `dataset.toml` of the folder `root`.

        Raises `DataError` whose `problems` lists every mistake, each with its key.
        """
        path = root / FILE_NAME
        try:
            values = tomllib.loads(path.read_text("utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                f"no {FILE_NAME} in {root}: a dataset is a folder whose {FILE_NAME} says which column of "
                "which file plays which role"
            ) from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{path} is not TOML: {error}") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [line for problem in error.errors() for line in _explain(problem).split("\n")]
            raise DataError(f"{path} breaks the dataset contract:", problems) from None


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {did_you_mean(location[-1], _keys_of(location[:-1]))}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    if not key or message.startswith(f"{key}."):
        return message  # it names its keys itself
    if not isinstance(problem["input"], str | int | float | list):
        return f"{key}: {message}"  # a whole section has no value worth repeating
    return f"{key} = {problem['input']!r}: {message}"


def _keys_of(location: list[str]) -> list[str]:
    section: type[BaseModel] = DatasetSpec
    for part in location:
        annotation = section.model_fields[part].annotation
        kinds = get_args(annotation) or (annotation,)
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)
