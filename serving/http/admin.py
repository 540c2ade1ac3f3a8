"""The endpoints for the operator: which bundle is served, another one, and back to the one before."""

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request

from recsys.bundle import Store, is_store
from recsys.errors import BundleError, RecsysError, RequestError
from serving.http.guard import Metrics
from serving.http.parts import BAD_BODY, BAD_REQUEST, HolderOf, Responses, ServedOf, model_info
from serving.http.problems import problem
from serving.http.schemas import BundleAnswer, BundleRequest, ErrorBody
from serving.swap import Holder, Swapped

router = APIRouter(prefix="/v1/admin", tags=["operation"])
REFUSED: Responses = {
    409: {"model": ErrorBody, "description": "The bundle is refused, and why; the old one is served."}
}


@router.get("/bundle", summary="Which bundle is served")
def served_bundle(served: ServedOf, holder: HolderOf) -> BundleAnswer:
    """The bundle of the next answer, and the one before it."""
    previous = holder.previous
    return BundleAnswer(
        model=model_info(served.engine), previous=None if previous is None else previous.version
    )


@router.post("/bundle", responses=BAD_BODY | REFUSED, summary="Serve another bundle")
def swap(body: BundleRequest, holder: HolderOf, request: Request) -> BundleAnswer:
    """Answers when the bundle is served; until then, and where it is refused, the old one answers.

    The bundle is opened beside the old one, its files are compared with their hashes, and it answers golden
    requests. Users, events and fields stay. The pointer of a store is not moved.
    """
    path = _named(body.bundle, request.app.state.bundles)
    return _swapped(request, lambda: holder.swap(path), holder)


@router.post("/rollback", responses=BAD_REQUEST | REFUSED, summary="Serve the bundle before")
def roll_back(holder: HolderOf, request: Request) -> BundleAnswer:
    """Serve the bundle again that was served before this one, checked like any other."""
    return _swapped(request, holder.roll_back, holder)


def _swapped(request: Request, swap: Callable[[], Swapped], holder: Holder) -> BundleAnswer:
    metrics: Metrics = request.app.state.metrics
    try:
        swapped = swap()
    except RecsysError as error:
        metrics.swapped(is_served=False)
        raise HTTPException(409, problem("bundle", str(error))) from None
    metrics.swapped(is_served=True)
    return BundleAnswer(
        model=model_info(holder.current().engine),
        previous=swapped.before.version,
        golden_requests=swapped.num_answers,
        milliseconds={stage: round(time, 1) for stage, time in swapped.milliseconds.items()},
    )


def _named(bundle: str, root: Path | None) -> Path:
    """The bundle that a request names; raises `RequestError` for one that is not under `root`."""
    if root is None:
        message = "cannot be named: the server has no folder of bundles; start it with --bundles FOLDER"
        raise RequestError("bundle", message, bundle)
    if is_store(root):
        try:
            store = Store.open(root)
            return store.bundle_path(store.version(bundle).version)
        except BundleError as error:
            raise RequestError("bundle", str(error), bundle) from None
    try:
        found = (root / bundle).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # gone, a byte of zero, links in a circle
        raise RequestError("bundle", "there is no such folder in the folder of bundles", bundle) from None
    if not found.is_relative_to(root.resolve()):
        raise RequestError("bundle", "leads out of the folder of bundles", bundle)
    return found
