"""The HTTP endpoint: `create_app(engine)`, and `serve`, which runs it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from uuid import UUID

from features.queries import QueryLimits
from recsys import __version__
from recsys.bundle import bundle_directory, is_store
from recsys.errors import MissingExtraError, RequestError, StateError
from recsys.ids import PAD
from recsys.retrieval import AnsweredBy, Recommendations, RuledLists
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
from serving.http.page import router as page_router
from serving.http.parts import (
    BAD_BODY,
    BAD_REQUEST,
    NO_PART,
    NOT_FOUND,
    NOT_READY,
    Asked,
    EngineOf,
    RecommendingEngine,
    RecordOf,
    ServedOf,
    history_of,
    model_info,
    providers_of,
)
from serving.http.problems import of_request, of_validation, problem
from serving.http.schemas import (
    Answer,
    Health,
    RankedItem,
    RankRequest,
    Readiness,
    ReasonOut,
    Reasons,
    RecommendRequest,
    SimilarAnswer,
    SimilarItem,
    SimilarQuery,
)
from serving.http.search import body_definitions
from serving.http.search import router as search_router
from serving.items import ItemFollower
from serving.swap import Holder, Served, ServeSettings, StoreFollower

try:
    import uvicorn
    from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
    from fastapi import Path as InPath
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
    log_impressions: bool = True,
    keys: KeyFile | None = None,
    guard_limits: Limits | None = None,
    bundles: Path | None = None,
) -> FastAPI:
    """The application that answers from `served`, an engine or a holder of one.

    `limits` are those of the queries of search, `media` the folders of `CataloguePictures`, both for an
    engine. With `log_impressions` every recommended or ranked list is written to the state. With `keys` a
    request needs one of them; `guard_limits` hold for every request. `bundles` is the folder, or the store,
    of the bundles that a request may name to be served.
    """
    if isinstance(served, Engine):
        settings = ServeSettings(limits=limits or QueryLimits(), media=tuple(media))
        of_engine = Served.of(served, limits=settings.limits, media=settings.media)
        served = Holder(of_engine, settings)
    # FastAPI's own pages load scripts from another host; /docs is one of `serving/web/`.
    app = FastAPI(title="recsys", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    app.state.holder, app.state.bundles = served, bundles
    app.state.log_impressions = log_impressions
    app.state.metrics = Metrics()
    app.add_middleware(Guard, metrics=app.state.metrics, keys=keys, limits=guard_limits)
    for each in (
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
    log_impressions: bool = True,
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
            log_impressions=log_impressions,
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


# Endpoints are plain functions, so that inference runs in worker threads and the loop stays free.
@router.post(
    "/v1/recommend", responses=BAD_BODY | NOT_READY | NO_PART, tags=["recommend"], summary="Recommend items"
)
def recommend(
    body: RecommendRequest, engine: RecommendingEngine, record: RecordOf, request: Request
) -> Answer:
    """The best items for a user of the data, or for a history sent along.

    For an unknown user, an empty history, or a history of unknown items only, `degraded` says what answered.
    """
    asked = history_of(engine, body)
    allowed, unknown = engine.reader_of(body.user_id).allowed(
        body.candidates, body.filters, body.exclude, strict=body.strict
    )
    request_id: UUID = request.state.request_id
    ruled = engine.recommend_by_rules(
        [asked.history],
        body.k,
        engine.rule_book.rules(body.rules, engine.reader_of(body.user_id).visible),
        seeds=[request_id.int],
        users=[body.user_id],
        exclude_seen=body.exclude_seen,
        allowed=allowed,
        diversity=body.diversity,
    )
    return _answer(engine, asked, ruled, unknown, partial(record, body.user_id), request_id.hex, body.reasons)


@router.post(
    "/v1/rank",
    responses=BAD_BODY | NOT_READY | NO_PART,
    tags=["recommend"],
    summary="Put given items in order",
)
def rank(body: RankRequest, engine: RecommendingEngine, record: RecordOf, request: Request) -> Answer:
    """All the given candidates of the catalogue, best first for this user or history; seen items are kept.

    Items without training events have the same ranks as in a recommended list. Where the candidates are too
    few for these ranks, they come after all others.
    """
    asked = history_of(engine, body)
    candidates, unknown = engine.reader_of(body.user_id).candidates(body.candidates, strict=body.strict)
    ranked = RuledLists.without_rules(engine.rank([asked.history], candidates[None, :]))
    return _answer(
        engine,
        asked,
        ranked,
        unknown,
        partial(record, body.user_id),
        request.state.request_id.hex,
        body.reasons,
    )


@router.get(
    "/v1/items/{item_id:path}/similar",  # an id may hold a slash
    responses=BAD_REQUEST | NOT_FOUND,
    tags=["items"],
    summary="Similar items",
)
def similar(
    item_id: Annotated[str, InPath(description="Item id.", examples=["1"])],
    engine: EngineOf,
    query: Annotated[SimilarQuery, Query()],
    served: ServedOf,
) -> SimilarAnswer:
    """The nearest other items, by the cosine of item vectors; in a bundle of items alone, by search."""
    try:
        item = engine.reader_of(query.user_id).item(item_id, "item_id")
    except RequestError as error:
        raise HTTPException(404, of_request(error)) from None
    search = served.search
    similar_items = engine.similar if engine.recommender is not None or search is None else search.similar
    found, cosines = similar_items(item, query.k, user=query.user_id)
    items = [
        SimilarItem(
            item_id=engine.item_id(at),
            title=engine.title(at),
            image=engine.image(at),
            rank=place,
            score=score,
        )
        for place, (at, score) in enumerate(zip(found.tolist(), cosines.tolist(), strict=True), 1)
    ]
    return SimilarAnswer(item_id=item_id, items=items, model=model_info(engine))


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


def _answer(
    engine: Engine,
    asked: Asked,
    ruled: RuledLists,
    unknown: list[str],
    record: Callable[[Answer, AnsweredBy], None],
    request_id: str,
    reasons: Reasons,
) -> Answer:
    ranked = ruled.recommendations
    if reasons == "leave_one_out":
        ranked = engine.explained(ranked, asked.history)
        ruled = replace(ruled, recommendations=ranked)
    num_found = int((ranked.items[0] != PAD).sum())
    items = [_ranked_item(engine, ruled, place, reasons) for place in range(num_found)]
    answer = Answer(
        request_id=request_id,
        items=items,
        model=model_info(engine),
        providers=providers_of(engine),
        degraded=[*engine.degraded(asked.history, ranked.answered_by[0]), *asked.degraded],
        ignored=list(dict.fromkeys([*asked.ignored, *unknown])),
    )
    record(answer, ranked.answered_by[0])
    return answer


def _ranked_item(engine: Engine, ruled: RuledLists, place: int, reasons: Reasons) -> RankedItem:
    ranked = ruled.recommendations
    item = int(ranked.items[0, place])
    return RankedItem(
        item_id=engine.item_id(item),
        title=engine.title(item),
        image=engine.image(item),
        rank=place + 1,
        score=float(ranked.scores[0, place]),
        reason=None if reasons == "none" else _reason(engine, ranked, place),
        rules=list(ruled.rules[0][place]),
        propensity=float(ruled.propensity[0, place]),
    )


def _reason(engine: Engine, ranked: Recommendations, place: int) -> ReasonOut | None:
    reason = engine.reason(ranked, 0, place)
    if reason is None:
        return None
    past = None if reason.past_item is None else engine.item_id(reason.past_item)
    return ReasonOut(text=reason.text, past_item=past, modality=reason.modality)
