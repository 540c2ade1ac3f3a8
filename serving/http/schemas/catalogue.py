"""What the endpoints about the catalogue take and answer."""

from typing import Final

from pydantic import Field

from recsys.search import QueryKind
from serving.filters import FilterBody
from serving.http.schemas.common import MAX_ALLOWED, ItemId, Model, ModelInfo, UserId, UserQuery
from serving.pictures import MAX_SIDE

MAX_VALUES: Final = 500
MIN_SIDE: Final = 32


class About(Model):
    """What this endpoint can answer."""

    name: str = Field(description="Of the dataset.")
    num_items: int = Field(description="That the user may see.")
    owned: bool = Field(description="Whether items have owners, who alone may see them.")
    recommends: bool = Field(description="Whether `/v1/recommend` answers.")
    queries: list[QueryKind] = Field(
        description="Kinds of query that `/v1/search` takes; none without a search part."
    )
    pictures: bool = Field(description="Whether `/v1/items/{item_id}/image` has pictures.")
    model: ModelInfo


class FacetRequest(Model):
    """Items whose categories are counted, and the filters that hold."""

    items: list[ItemId] | None = Field(
        None, max_length=MAX_ALLOWED, description="Only these items, such as hits; by default the catalogue."
    )
    filters: FilterBody = Field(
        default_factory=dict,
        description="As in a search. A field is counted among the items that pass the conditions on all "
        "other fields.",
    )
    user_id: UserId | None = Field(
        None, description="Items with an owner count for this user alone; without, they do not count."
    )
    k: int = Field(20, ge=1, le=MAX_VALUES, description="How many values of a field, at most.")


class ValueCount(Model):
    value: str
    count: int = Field(description="Items with this value.")


class Facet(Model):
    """One field that can be filtered, and its most frequent values."""

    field: str
    num_values: int = Field(description="All values that an item has, those left out included.")
    values: list[ValueCount]


class FacetAnswer(Model):
    facets: list[Facet]


class ItemOut(Model):
    """One item of the catalogue."""

    item_id: str
    title: str | None
    picture: bool = Field(description="Whether `/v1/items/{item_id}/image` has its picture.")


class PictureQuery(UserQuery):
    """The query parameters of a request for a picture."""

    side: int = Field(480, ge=MIN_SIDE, le=MAX_SIDE, description="Pixels of the longer side, at most.")
