"""The form of rules: in a rules file (TOML) and in a request (JSON)."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from recsys.retrieval import MAX_DIVERSITY
from serving.filters import FilterBody

MAX_RANK: Final = 500
MAX_RULES: Final = 100  # of one kind, in a file
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Kind = Literal["exclude", "boost", "cap", "pin", "exploration", "diversity", "disable"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class ExcludeRule(_Part):
    """Items that are never listed."""

    name: Name
    filter: FilterBody


class BoostRule(_Part):
    """Items whose score is raised, or lowered where `add` is negative."""

    name: Name
    filter: FilterBody
    add: Annotated[float, Field(ge=-100, le=100, description="Added to the score.")]


class CapRule(_Part):
    """At most so many items with the same value in every page of so many ranks."""

    name: Name
    field: Annotated[str, Field(description="A category, such as brand.")]
    at_most: Annotated[int, Field(ge=1, le=MAX_RANK)]
    within: Annotated[int, Field(ge=1, le=MAX_RANK, description="Ranks of a page.")] = 20


class PinRule(_Part):
    """One item at a fixed rank."""

    name: Name
    item: Annotated[str, Field(min_length=1)]
    rank: Annotated[int, Field(ge=1, le=MAX_RANK, description="From 1.")]


class ExplorationRule(_Part):
    """A rank has with probability `rate` a uniform draw of the next `pool` items; propensities are logged."""

    rate: Annotated[float, Field(ge=0, le=1)]
    pool: Annotated[int, Field(ge=2, le=MAX_RANK)] = 100


class RulesBody(_Part):
    """Rules in a request, in addition to those of the operator."""

    exclude: Annotated[list[ExcludeRule], Field(max_length=MAX_RULES)] = []
    boost: Annotated[list[BoostRule], Field(max_length=MAX_RULES)] = []
    cap: Annotated[list[CapRule], Field(max_length=MAX_RULES)] = []
    pin: Annotated[list[PinRule], Field(max_length=MAX_RULES)] = []
    exploration: ExplorationRule | None = None
    diversity: Annotated[float | None, Field(ge=0, le=MAX_DIVERSITY)] = None
    disable: Annotated[
        list[Name], Field(max_length=MAX_RULES, description="Names of the operator's rules that do not hold.")
    ] = []

    def named(self) -> list[tuple[str, str]]:
        """The place and the name of every rule that has a name."""
        lists: dict[str, Any] = {kind: getattr(self, kind) for kind in ("exclude", "boost", "cap", "pin")}
        return [(f"{kind}.{at}", rule.name) for kind, rules in lists.items() for at, rule in enumerate(rules)]

    def kinds(self) -> list[Kind]:
        """The kinds of rules that are given."""
        kinds: tuple[Kind, ...] = ("exclude", "boost", "cap", "pin", "exploration", "diversity", "disable")
        return [kind for kind in kinds if getattr(self, kind) not in ([], None)]


class RequestLimits(_Part):
    """What a request may ask for in addition to the rules of the file, or against them."""

    allow: list[Kind] = ["exclude", "boost", "cap", "pin", "diversity"]
    max_boost: Annotated[float, Field(ge=0, le=100)] = 10.0
    max_rules: Annotated[int, Field(ge=0, le=MAX_RULES)] = 20


class RulesFile(RulesBody):
    """A rules file: the operator's rules, and the limits of requests."""

    requests: RequestLimits = RequestLimits()
