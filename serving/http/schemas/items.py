"""Bodies and answers of the endpoints that change the catalogue."""

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, RootModel, SkipValidation, model_validator

from serving.http.schemas.common import Atomic, ErrorBody, ItemId, Model, ModelInfo

MAX_BATCH: Final = 10_000
_FIELDS: Final = "title, text, and the categories and numbers of the dataset by their names."


class ItemBody(RootModel[dict[str, Any]]):
    """The fields of an item: title, text, and the categories and numbers of the dataset by their names."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "The Red Balloon", "genres": ["Drama"], "year": 1956}]}
    )


class ItemStored(Model):
    """The item is on the disk, and the next request knows it."""

    item_id: str
    created: bool = Field(description="Whether the catalogue did not have the item before.")
    read: list[str] = Field(description="The fields and files that lists and searches are made of.")
    ignored: list[str] = Field(
        description="What is kept, shown and filtered, but read by nothing in this bundle."
    )
    durable: bool = Field(description="False: the state is in memory, and a restart loses the item.")
    model: ModelInfo


class ItemChanged(Model):
    """The fields are on the disk, and the next request knows them."""

    item_id: str
    stale: list[str] = Field(
        description="Fields that are shown and filtered as they are now, while vectors are those of the "
        "former values, until the item is put as a whole."
    )
    durable: bool = Field(description="False: the state is in memory, and a restart loses the change.")
    model: ModelInfo


class ItemRemoved(Model):
    """The item is in no answer from the next request on."""

    item_id: str
    was_known: bool = Field(description="Whether the catalogue had the item.")
    durable: bool = Field(description="False: the state is in memory, and a restart brings the item back.")


class BatchEntry(Model):
    """One item of a batch: its fields, or that it goes."""

    item_id: ItemId
    fields: dict[str, Any] | None = Field(None, description=_FIELDS)
    delete: bool = Field(False, description="Remove the item.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.fields is None) is not self.delete:
            raise ValueError("give fields, or delete: true")
        return self


class BatchRequest(Model):
    """Items that are put and removed, each of another id."""

    # Each entry is validated by itself, so that all bad ones are named, or the good ones are stored.
    items: list[Annotated[BatchEntry, SkipValidation]] = Field(min_length=1, max_length=MAX_BATCH)
    atomic: Atomic = True

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {"item_id": "new-1", "fields": {"title": "The Red Balloon", "genres": ["Drama"]}},
                        {"item_id": "260", "delete": True},
                    ]
                }
            ]
        }
    )


class RejectedItem(Model):
    """One entry that was not stored."""

    index: int = Field(description="Its place in `items`, from 0.")
    field: str | None = Field(description="Path of the rejected field.", examples=["items.3.fields.year"])
    message: str
    value: str | int | float | bool | None


class BatchOutcome(Model):
    """What became of one entry that was stored."""

    item_id: str
    known: bool = Field(description="Whether the catalogue had the item before.")
    deleted: bool
    read: list[str] = Field(description="As of a single item.")
    ignored: list[str] = Field(description="As of a single item.")


class BatchAnswer(Model):
    """What became of the items."""

    stored: list[BatchOutcome] = Field(description="In the order of the request.")
    rejected: list[RejectedItem] = Field(description="Entries that were not stored; `atomic: false` alone.")
    durable: bool = Field(description="False: the state is in memory, and a restart loses the items.")
    model: ModelInfo


class BatchRefused(ErrorBody):
    """The first problem as in every error, and all entries that were rejected."""

    rejected: list[RejectedItem] = Field(default_factory=list)
