"""The endpoints that change the catalogue: an item comes, changes, goes."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi import Path as InPath

from recsys.errors import RequestError
from serving.http.parts import BAD_BODY, NOT_READY, HolderOf, Responses, ServedOf, model_info
from serving.http.problems import problem
from serving.http.schemas import ErrorBody, ItemBody, ItemRemoved, ItemStored
from serving.items import ItemEntry
from serving.swap import Served

router = APIRouter(tags=["items"])
MAX_ID_CHARACTERS = 500
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


@router.put(
    "/v1/items/{item_id:path}", responses=BAD_BODY | NOT_READY | NO_TOWER, summary="Add or replace an item"
)
def put_item(item_id: ItemInPath, body: ItemBody, served: EncodingOf, holder: HolderOf) -> ItemStored:
    """The item is encoded, stored, and part of the next answer: recommended, ranked, searched, filtered.

    It replaces a former item of this id whole: a field that is not given has no value. An item of the bundle
    keeps its events and its place in the model; a removed item comes back.
    """
    (stored,) = served.live.put([ItemEntry(item=_checked(item_id), fields=body.root)])
    holder.refresh_items()
    return ItemStored(
        item_id=item_id,
        created=not stored.was_known,
        read=list(stored.read),
        ignored=list(stored.ignored),
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
