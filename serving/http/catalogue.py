"""The endpoints about the catalogue: kinds of query, counts of category values, an item, its picture."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi import Path as InPath

from recsys.errors import MediumError, RequestError
from serving.engine import Engine
from serving.http.parts import BAD_BODY, BAD_REQUEST, NOT_FOUND, EngineOf, ServedOf, model_info
from serving.http.problems import of_request, problem
from serving.http.schemas import (
    About,
    Facet,
    FacetAnswer,
    FacetRequest,
    ItemOut,
    PictureQuery,
    UserQuery,
    ValueCount,
)
from serving.pictures import CataloguePictures, PictureFile
from serving.swap import Served

router = APIRouter()
log = logging.getLogger(__name__)
ItemInPath = Annotated[str, InPath(description="Item id.", examples=["1"])]
_PICTURE_HEADERS = {
    "Cache-Control": "private, max-age=600",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


async def _pictures(served: ServedOf) -> CataloguePictures:
    return served.pictures


PicturesOf = Annotated[CataloguePictures, Depends(_pictures)]


@router.get("/v1/about", responses=BAD_REQUEST, tags=["catalogue"], summary="What can be asked here")
def about(
    engine: EngineOf, pictures: PicturesOf, query: Annotated[UserQuery, Query()], served: ServedOf
) -> About:
    """The dataset, and the kinds of request that its bundle answers."""
    manifest = engine.bundle.manifest
    search = served.search
    return About(
        name=manifest.dataset.name,
        num_items=engine.reader_of(query.user_id).num_items(),
        owned=engine.owners.has_owners,
        recommends=engine.recommender is not None,
        queries=[] if search is None else list(search.query_kinds),
        pictures=bool(pictures) or served.live.has_pictures,
        model=model_info(engine),
    )


@router.post("/v1/facets", responses=BAD_BODY, tags=["catalogue"], summary="Count category values")
def facets(body: FacetRequest, engine: EngineOf) -> FacetAnswer:
    """How many items have each value of each field that can be filtered, most frequent first.

    Ids that are not in the catalogue do not count.
    """
    counted = engine.reader_of(body.user_id).facets(body.items, body.filters)
    return FacetAnswer(
        facets=[
            Facet(
                field=field,
                num_values=len(values),
                values=[ValueCount(value=value, count=count) for value, count in values[: body.k]],
            )
            for field, values in counted.items()
            if values
        ]
    )


@router.get(
    "/v1/items/{item_id:path}/image",  # an id may hold a slash
    response_class=Response,
    responses=BAD_REQUEST
    | NOT_FOUND
    | {200: {"content": {"image/jpeg": {}}}, 304: {"description": "The client's copy is the current one."}},
    tags=["catalogue"],
    summary="The picture of an item",
)
def picture(
    item_id: ItemInPath,
    engine: EngineOf,
    pictures: PicturesOf,
    query: Annotated[PictureQuery, Query()],
    request: Request,
    served: ServedOf,
) -> Response:
    """A JPEG of the item's picture: sent with it, or from the folders that `recsys serve --media` names."""
    found = _picture(served, item_id, _item(engine, item_id, query.user_id))
    if found is None:
        raise HTTPException(404, problem("item_id", "this item has no picture here", item_id))
    tag = f'"{found.tag}-{query.side}"'
    headers = {"ETag": tag, **_PICTURE_HEADERS}
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    try:
        content = pictures.jpeg(found, query.side)
    except (MediumError, OSError) as error:
        log.warning("the picture of item %r cannot be shown: %s", item_id, error)
        unread = problem("item_id", "the picture of this item cannot be read", item_id)
        raise HTTPException(404, unread) from None
    return Response(content, media_type="image/jpeg", headers=headers)


# After the paths that go on behind the id, since an id may hold a slash.
@router.get(
    "/v1/items/{item_id:path}",
    responses=BAD_REQUEST | NOT_FOUND,
    tags=["catalogue"],
    summary="An item of the catalogue",
)
def item(
    item_id: ItemInPath,
    engine: EngineOf,
    served: ServedOf,
    query: Annotated[UserQuery, Query()],
) -> ItemOut:
    """The title, and whether there is a picture."""
    found = _item(engine, item_id, query.user_id)
    has_picture = _picture(served, item_id, found) is not None
    return ItemOut(item_id=item_id, title=engine.title(found), picture=has_picture)


def _picture(served: Served, item_id: str, row: int) -> PictureFile | None:
    """The picture that came with the item, or that of the bundle's catalogue."""
    own = served.live.picture(item_id)
    if own is None:
        return served.pictures.find(row)
    content, version = own
    return None if content is None else PictureFile(path=None, tag=f"live-{version}", content=content)


def _item(engine: Engine, item_id: str, user: str | None) -> int:
    try:
        return engine.reader_of(user).item(item_id, "item_id")
    except RequestError as error:
        raise HTTPException(404, of_request(error)) from None
