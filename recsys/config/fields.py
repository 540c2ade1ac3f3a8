"""The base class of the sections, and the ranges that several of their fields share."""

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

TEMPERATURE_RANGE: Final = (0.01, 1.0)  # the softmax over cosines trains well in this range
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]  # a fraction that is not 0
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=TEMPERATURE_RANGE[0], le=TEMPERATURE_RANGE[1])]


def microseconds_of(time: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time; UTC without a time zone. Raises `ValueError`."""
    try:
        found = datetime.fromisoformat(time.strip())
    except ValueError:
        raise ValueError(
            f"{time!r} is not a time; write 2020-09-23, 2020-09-23T16:01, or 2020-09-23T16:01+02:00"
        ) from None
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _as_text(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value  # a date of TOML


def _checked_time(time: str) -> str:
    microseconds_of(time)
    return time


Time = Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked_time)]
Device = Literal["cpu", "cuda"]


class Section(BaseModel):
    """A section is frozen. An unknown key, an infinite number or NaN is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
