"""The base class of the sections, and the ranges that several of their fields share."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

TEMPERATURE_RANGE: Final = (0.01, 1.0)  # the softmax over cosines trains well in this range
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]  # a fraction that is not 0
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=TEMPERATURE_RANGE[0], le=TEMPERATURE_RANGE[1])]
Device = Literal["cpu", "cuda"]


class Section(BaseModel):
    """A section is frozen. An unknown key, an infinite number or NaN is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
