"""The HTTP endpoint: `create_app(engine)`, and `serve`, which runs it."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_type_hints

from features.queries import QueryLimits
from recsys import __version__
from recsys.bundle import bundle_directory, is_store
from recsys.errors import MissingExtraError, RequestError, StateError
from serving.engine import LIVE_ROWS_MISSING, Engine
from serving.http.admin import router as admin_router
from serving.http.catalogue import router as catalogue_router
from serving.http.events import router as events_router
from serving.http.guard import (
    CONTENT_TYPE,
    LOGGING,
    Guard,
    KeyFile,
    Limits,
    Metrics,
    check_exposure,
    describe_guard,
)
from serving.http.items import router as items_router
from serving.http.lists import router as lists_router
from serving.http.page import router as page_router
from serving.http.parts import (
    NOT_READY,
    AnswerSettings,
    EngineOf,
    model_info,
    providers_of,
)
from serving.http.problems import of_request, of_validation, problem
from serving.http.schemas import (
    Health,
    Readiness,
)
from serving.http.search import body_definitions
from serving.http.search import router as search_router
from serving.items import ItemFollower
from serving.micro_batches import MicroBatches
from serving.swap import Holder, Served, ServeSettings, StoreFollower

try:
    import uvicorn
    from fastapi import APIRouter, FastAPI, HTTPException, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, PlainTextResponse
    from starlette.exceptions import HTTPException as AnyHTTPException
except ImportError:
    raise MissingExtraError("fastapi", "serve") from None

log = logging.getLogger(__name__)
DRAIN_SECONDS = 30  # for the requests in flight when the server is stopped
ABOUT = """
Recommendations from one model bundle, for known users and for histories sent along.

Every answer names the model version and the execution providers that ran. `degraded` says where the answer
does not come from the model and the user's history. `ignored` has the items of the request that are not in
the catalogue; `strict: true` refuses a request with such items. Every error has the same body, which names
the field, the rejected value, and what would be right.
"""


router = APIRouter()


def create_app(
    served: Engine | Holder,
    limits: QueryLimits | None = None,
    media: Sequence[Path] = (),
    *,
    answers: AnswerSettings | None = None,
    keys: KeyFile | None = None,
    guard_limits: Limits | None = None,
    bundles: Path | None = None,
) -> FastAPI:
    """The application that answers from `served`, an engine or a holder of one.

    `limits` are those of the queries of search, `media` the folders of `CataloguePictures`, both for an
    engine. With `keys` a request needs one of them; `guard_limits` hold for every request. `bundles` is
    the folder, or the store, of the bundles that a request may name to be served.
    """
    if isinstance(served, Engine):
        settings = ServeSettings(limits=limits or QueryLimits(), media=tuple(media))
        of_engine = Served.of(served, limits=settings.limits, media=settings.media)
        served = Holder(of_engine, settings)
    # FastAPI's own pages load scripts from another host; /docs is one of `serving/web/`.
    app = FastAPI(title="recsys", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    app.state.holder, app.state.bundles = served, bundles
    app.state.answers = answers = answers or AnswerSettings()
    app.state.metrics = metrics = Metrics()
    app.state.micro_batches = MicroBatches(
        max_batch=answers.max_batch,
        num_workers=os.cpu_count() or 1,
        clock=answers.clock,
        observe=metrics.computed,
    )
    app.add_middleware(Guard, metrics=metrics, keys=keys, limits=guard_limits, clock=answers.clock)
    for each in (
        lists_router,
        router,
        admin_router,
        events_router,
        search_router,
        items_router,
        catalogue_router,
        page_router,
    ):
        app.include_router(each)
    _describe_bodies(app)
    _install_handlers(app)
    return app


def serve(
    bundle: Path,
    settings: ServeSettings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    log_level: str = "info",
    answers: AnswerSettings | None = None,
    keys: Path | None = None,
    allow_anonymous: bool = False,
    guard_limits: Limits | None = None,
    bundles: Path | None = None,
) -> None:
    """Open `bundle` and answer over HTTP until stopped; errors as `Holder.open`.

    Where `bundle` is a store, the server follows its pointer, and `bundles` is the store by default. Raises
    `ConfigError` for a `host` that other machines reach without `keys`, unless `allow_anonymous`.
    """
    check_exposure(host, has_keys=keys is not None, allow_anonymous=allow_anonymous)
    key_file = None if keys is None else KeyFile(keys)
    follows = is_store(bundle)
    with ExitStack() as stack:
        holder = stack.enter_context(Holder.open(bundle_directory(bundle), settings or ServeSettings()))
        if not holder.current().engine.state.is_durable:
            log.warning(
                "the state is kept in memory: users who are erased come back with the next start, and events "
                "that are added are lost; name a writable file with --state to keep them (a Redis keeps them "
                "with appendonly yes and appendfsync always)"
            )
        stack.enter_context(ItemFollower(holder.refresh_items))
        if follows:
            stack.enter_context(StoreFollower(holder, bundle))
        application = create_app(
            holder,
            answers=answers,
            keys=key_file,
            guard_limits=guard_limits,
            bundles=bundle if bundles is None and follows else bundles,
        )
        logging.getLogger("recsys.access").setLevel(log_level.upper())
        uvicorn.run(
            application,
            host=host,
            port=port,
            log_level=log_level,
            log_config=LOGGING,
            access_log=False,  # the guard writes a line for each request
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )


@router.get(
    "/metrics", tags=["operation"], summary="Numbers for Prometheus", response_class=PlainTextResponse
)
def metrics(request: Request) -> PlainTextResponse:
    """Requests and their time by route, and degraded answers; with keys of scope admin."""
    return PlainTextResponse(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/healthz", tags=["operation"], summary="Whether the process is alive")
async def healthz() -> Health:
    """Status 200 while the process runs; the state is not read."""
    return Health(status="ok")


@router.get("/readyz", responses=NOT_READY, tags=["operation"], summary="Whether requests can be answered")
def readyz(engine: EngineOf) -> Readiness:
    """The bundle, its providers, and the numbers of items and of users in the state."""
    try:
        num_users, is_live = engine.state.count_users()
    except Exception as error:  # a state of any kind may fail in its own way
        raise HTTPException(503, f"the state does not answer ({error})") from error
    return Readiness(
        status="ready",
        model=model_info(engine),
        providers=providers_of(engine),
        ran_on=engine.ran_on,
        num_items=len(engine.bundle.item_ids),
        num_users=num_users,
        degraded=[] if is_live else [LIVE_ROWS_MISSING],
    )


def _describe_bodies(app: FastAPI) -> None:
    """Add the schemas of bodies that are read by hand to the description of `app`."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        schema = describe()
        for name, definition in body_definitions().items():
            schema["components"]["schemas"].setdefault(name, definition)
        describe_guard(schema)
        return schema

    app.openapi = described  # type: ignore[method-assign]


def _install_handlers(app: FastAPI) -> None:
    """Let `app` answer every error with the body `ErrorBody`."""

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> JSONResponse:
        # Parameters of endpoints have the names of the parts of a request: body, query.
        schemas = get_type_hints(request.scope["endpoint"])
        return JSONResponse(of_validation(error.errors(), error.body, schemas), 422)

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:
        return JSONResponse(of_request(error), 422)

    @app.exception_handler(StateError)
    async def unavailable(request: Request, error: StateError) -> JSONResponse:
        log.error("%s", error)
        return JSONResponse(problem(None, str(error)), 503, headers={"Retry-After": "1"})

    @app.exception_handler(AnyHTTPException)
    async def other(request: Request, error: AnyHTTPException) -> JSONResponse:
        cause = error.__cause__
        detail: Any = error.detail
        if isinstance(cause, UnicodeDecodeError):
            return JSONResponse(problem("body", f"is not UTF-8 ({cause}); encode it as UTF-8"), 400)
        if isinstance(cause, RecursionError | ValueError):  # too many levels, or too many digits
            return JSONResponse(problem("body", f"cannot be read as JSON ({cause}); simplify it"), 400)
        if not isinstance(detail, dict):
            detail = problem(None, f"{detail}: {request.method} {request.url.path}")
        return JSONResponse(detail, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        # The server logs the traceback. The client does not get it: it may hold private data.
        return JSONResponse(problem(None, "internal error; the server's log has the traceback"), 500)
