"""The endpoints that change the catalogue: an item comes, changes, goes."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi import Path as InPath
from pydantic import ValidationError

from recsys.errors import RequestError
from serving.http.bodies import read_body, validated
from serving.http.parts import BAD_BODY, NOT_FOUND, NOT_READY, HolderOf, Responses, ServedOf, model_info
from serving.http.problems import of_request, of_validation, problem
from serving.http.schemas import (
    BatchAnswer,
    BatchEntry,
    BatchOutcome,
    BatchRefused,
    BatchRequest,
    ErrorBody,
    ItemBody,
    ItemChanged,
    ItemRemoved,
    ItemStored,
    RejectedItem,
)
from serving.items import MEDIA, ItemEntry, Stored
from serving.swap import Served

router = APIRouter(tags=["items"])
MAX_ID_CHARACTERS = 500
ITEM = "item"  # the part of a form with the JSON
ItemInPath = Annotated[str, InPath(description="Item id.", examples=["new-1"])]
NO_TOWER: Responses = {
    409: {"model": ErrorBody, "description": "The bundle lacks the graph that new items are encoded by."}
}


async def _encoding(served: ServedOf) -> Served:
    if not served.live.can_encode:
        message = (
            "this bundle has no item tower (item_tower.onnx), so that it cannot take new items; export it "
            "again from its run (recsys export RUN)"
        )
        raise HTTPException(409, problem(None, message))
    return served


EncodingOf = Annotated[Served, Depends(_encoding)]  # of a bundle that can take new items


# The body is read by hand, because it has two forms, so its schema is named here.
_JSON = {"type": "object", "title": "ItemBody", "additionalProperties": True}
_FILE = {"type": "string", "format": "binary"}
_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _JSON | ItemBody.model_config["json_schema_extra"]},  # type: ignore[operator]
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {ITEM: _JSON, **dict.fromkeys(MEDIA, _FILE)}},
                "encoding": {ITEM: {"contentType": "application/json"}},
            },
        },
    }
}


async def _sent(request: Request) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields of an item, and its files by name."""
    values, parts = await read_body(request, ITEM, MEDIA)
    files: dict[str, bytes] = {}
    for name, content in parts:
        if name in files:
            raise RequestError(name, "comes twice; an item has one file of each kind")
        files[name] = content
    return validated(ItemBody, values).root, files


SentOf = Annotated[tuple[dict[str, Any], dict[str, bytes]], Depends(_sent)]


@router.put(
    "/v1/items/{item_id:path}",
    responses=BAD_BODY | NOT_READY | NO_TOWER,
    summary="Add or replace an item",
    openapi_extra=_REQUEST_BODY,
)
def put_item(item_id: ItemInPath, sent: SentOf, served: EncodingOf, holder: HolderOf) -> ItemStored:
    """The item is encoded, stored, and part of the next answer: recommended, ranked, searched, filtered.

    It replaces a former item of this id whole: a field that is not given has no value. An item of the bundle
    keeps its events and its place in the model; a removed item comes back. Send JSON, or a multipart form:
    the JSON in the part `item`, and files in parts named `image` and `video`.
    """
    fields, media = sent
    (stored,) = served.live.put([ItemEntry(item=_checked(item_id), fields=fields, media=media)])
    holder.refresh_items()
    return ItemStored(
        item_id=item_id,
        created=not stored.was_known,
        read=list(stored.read),
        ignored=list(stored.ignored),
        durable=served.engine.state.is_durable,
        model=model_info(served.engine),
    )


@router.patch(
    "/v1/items/{item_id:path}",
    responses=BAD_BODY | NOT_FOUND | NOT_READY,
    summary="Change fields of an item",
)
def patch_item(item_id: ItemInPath, body: ItemBody, served: ServedOf, holder: HolderOf) -> ItemChanged:
    """Change a price, a category or the title that is shown, without encoding; null takes a value away.

    `stale` names the fields whose former values lists are still made of. The text is changed by PUT.
    """
    changed = served.live.patch(_checked(item_id), body.root)
    if changed is None:
        raise HTTPException(404, problem("item_id", "unknown item; put it", item_id))
    holder.refresh_items()
    return ItemChanged(
        item_id=item_id,
        stale=list(changed.stale),
        durable=served.engine.state.is_durable,
        model=model_info(served.engine),
    )


@router.post(
    "/v1/items:batch",
    responses=BAD_BODY
    | NOT_READY
    | NO_TOWER
    | {422: {"model": BatchRefused, "description": "Entries are rejected; nothing is stored."}},
    summary="Add, replace and remove many items",
)
def batch(body: BatchRequest, served: EncodingOf, holder: HolderOf) -> BatchAnswer:
    """Thousands of items at once, encoded together, with a report of each; they appear in one step."""
    entries, rejected = _entries(body.items)
    given = list(entries.values())
    is_refused = body.atomic and rejected
    outcomes = served.live.check(given) if is_refused else served.live.change(given, is_atomic=body.atomic)
    stored = [_told(each) for each in outcomes if isinstance(each, Stored)]
    rejected += [
        _rejected(at, of_request(each))
        for at, each in zip(entries, outcomes, strict=True)
        if isinstance(each, RequestError)
    ]
    rejected.sort(key=lambda each: each.index)
    if rejected and (body.atomic or not stored):
        first = rejected[0]
        refused = problem(first.field, first.message, first.value)
        raise HTTPException(422, refused | {"rejected": [each.model_dump() for each in rejected]})
    holder.refresh_items()
    return BatchAnswer(
        stored=stored,
        rejected=rejected,
        durable=served.engine.state.is_durable,
        model=model_info(served.engine),
    )


@router.delete(
    "/v1/items/{item_id:path}",
    responses=BAD_BODY | NOT_READY,
    summary="Remove an item",
)
def delete_item(item_id: ItemInPath, served: ServedOf, holder: HolderOf) -> ItemRemoved:
    """The item, one of the bundle too, is in no list from the next request on, until it is put again."""
    was_known = served.live.delete(_checked(item_id))
    holder.refresh_items()
    return ItemRemoved(item_id=item_id, was_known=was_known, durable=served.engine.state.is_durable)


def _checked(item: str) -> str:
    if not item.strip() or "\0" in item:
        raise RequestError("item_id", "is empty, or has a NUL character; give the id of an item", item)
    if len(item) > MAX_ID_CHARACTERS:
        raise RequestError("item_id", f"has {len(item)} characters; at most {MAX_ID_CHARACTERS}")
    return item


def _entries(items: Sequence[Any]) -> tuple[dict[int, ItemEntry], list[RejectedItem]]:
    """The entries that can be read, by their place, and the problems of the others."""
    entries: dict[int, ItemEntry] = {}
    rejected: list[RejectedItem] = []
    first: dict[str, int] = {}
    for at, given in enumerate(items):
        try:
            entry = BatchEntry.model_validate(given)
            if first.setdefault(entry.item_id, at) != at:
                raise RequestError("item_id", f"repeats items.{first[entry.item_id]}", entry.item_id)
            entries[at] = ItemEntry(
                item=_checked(entry.item_id),
                fields=entry.fields or {},
                is_removal=entry.delete,
                place=f"items.{at}.fields.",
            )
        except ValidationError as error:
            located = {**error.errors()[0], "loc": ("body", *error.errors()[0]["loc"])}
            rejected.append(_rejected(at, of_validation([located], given, {"body": BatchEntry})))
        except RequestError as error:
            rejected.append(_rejected(at, of_request(error)))
    return entries, rejected


def _rejected(at: int, body: dict[str, Any]) -> RejectedItem:
    error, place = body["error"], f"items.{at}"
    field = str(error["field"])
    if field == "body":
        field = place
    elif not f"{field}.".startswith(f"{place}."):
        field = f"{place}.{field}"
    return RejectedItem(index=at, field=field, message=error["message"], value=error["value"])


def _told(stored: Stored) -> BatchOutcome:
    return BatchOutcome(
        item_id=stored.item,
        known=stored.was_known,
        deleted=stored.is_removal,
        read=list(stored.read),
        ignored=list(stored.ignored),
    )
