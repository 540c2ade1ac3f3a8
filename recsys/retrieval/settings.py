"""`RecommenderSettings`: all settings of a recommender in one object, which is part of the manifest.

To add a setting: a field here, with its default, range and a comment, and the place that reads it. A field of
`ListSettings` is a configuration key of the section `model` as well (`--set model.cold_ranks=[10]`).
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

PAGE: Final = 20  # ranks after which the pattern of cold ranks repeats
ONE_IN_TEN: Final = "one-in-ten"
EVERY_TENTH: Final = (10, 20)


def _check_cold_ranks(ranks: tuple[int, ...] | str) -> tuple[int, ...] | str:
    if isinstance(ranks, str):
        return ranks
    if list(ranks) != sorted(set(ranks)) or not all(1 <= rank <= PAGE for rank in ranks):
        raise ValueError(f"model.cold_ranks = {list(ranks)}: ascending ranks from 1 to {PAGE}, each once")
    return ranks


def _check_pattern(value: object) -> object:
    if isinstance(value, str) and value not in ("auto", ONE_IN_TEN):
        raise ValueError(f'model.cold_ranks = "{value}": ranks such as [10, 20], "auto" or "{ONE_IN_TEN}"')
    return value


class ListSettings(BaseModel):
    """The settings that a user may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Ranks within a page of 20 that are kept for cold items; the pattern repeats every 20 ranks. An empty
    # list puts every cold item after all warm ones. "auto": validation chooses the ranks under
    # model.cold_budget. "one-in-ten": the ranks 10 and 20.
    cold_ranks: Annotated[
        tuple[int, ...] | Literal["auto", "one-in-ten"],
        BeforeValidator(_check_pattern),
        AfterValidator(_check_cold_ranks),
    ] = (10, 17, 19)
    # The longest list that can be requested. Candidates are generated for this length, whatever k is.
    max_list_length: Annotated[int, Field(ge=1, le=10_000)] = 500

    @property
    def fixed_cold_ranks(self) -> tuple[int, ...] | None:
        """The ranks of cold items; None where validation chooses them."""
        if isinstance(self.cold_ranks, tuple):
            return self.cold_ranks
        return EVERY_TENTH if self.cold_ranks == ONE_IN_TEN else None


class RecommenderSettings(ListSettings):
    """The settings of the user, and the settings that the fit has chosen."""

    cold_ranks: Annotated[tuple[int, ...], AfterValidator(_check_cold_ranks)] = (10, 17, 19)
    temperature: float = Field(gt=0)  # a retriever's score is the cosine divided by it
    num_candidates: int = Field(ge=1)  # warm items of the retriever that the ranker orders
    source_candidates: int = Field(default=0, ge=0)  # that each other candidate source adds to them
    history_length: int = Field(ge=1)  # newest events that the ranker reads
    # The model for users with fields and no event. Users without fields and events get popular items.
    without_events: Literal["towers", "popularity"] = "popularity"
    without_events_reason: str = ""  # the reason for this choice, in words
    # False: users who get popular items have no cold ranks; their cold items follow all warm ones.
    cold_without_events: bool = True

    @classmethod
    def of(cls, chosen: ListSettings, **fitted: Any) -> Self:
        """The fields of `ListSettings` from `chosen`, a section of the configuration; all others `fitted`."""
        values = {name: getattr(chosen, name) for name in ListSettings.model_fields}
        return cls(**values | fitted)
