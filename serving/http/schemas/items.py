"""Bodies and answers of the endpoints that change the catalogue."""

from typing import Any, Final

from pydantic import ConfigDict, Field, RootModel

from serving.http.schemas.common import Model, ModelInfo

MAX_BATCH: Final = 10_000


class ItemBody(RootModel[dict[str, Any]]):
    """The fields of an item: title, text, and the categories and numbers of the dataset by their names."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "The Red Balloon", "genres": ["Drama"], "year": 1956}]}
    )


class ItemStored(Model):
    """The item is on the disk, and the next request knows it."""

    item_id: str
    created: bool = Field(description="Whether the catalogue did not have the item before.")
    read: list[str] = Field(description="The fields that lists and searches are made of.")
    ignored: list[str] = Field(
        description="Fields that are kept, shown and filtered, but that nothing in this bundle reads."
    )
    durable: bool = Field(description="False: the state is in memory, and a restart loses the item.")
    model: ModelInfo


class ItemRemoved(Model):
    """The item is in no answer from the next request on."""

    item_id: str
    was_known: bool = Field(description="Whether the catalogue had the item.")
    durable: bool = Field(description="False: the state is in memory, and a restart brings the item back.")
