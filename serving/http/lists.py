"""The endpoints that answer with lists of items: recommended, put in order, similar."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi import Path as InPath

from recsys.errors import RequestError
from recsys.ids import PAD
from recsys.retrieval import AnsweredBy, Recommendations, RuledLists
from serving.engine import Engine
from serving.http.parts import (
    BAD_BODY,
    BAD_REQUEST,
    NO_PART,
    NOT_FOUND,
    NOT_READY,
    Asked,
    EngineOf,
    MicroBatchesOf,
    RecommendingEngine,
    RecordOf,
    ServedOf,
    deadline_of,
    history_of,
    model_info,
    providers_of,
)
from serving.http.problems import of_request
from serving.http.schemas import (
    Answer,
    RankedItem,
    RankRequest,
    ReasonOut,
    Reasons,
    RecommendRequest,
    SimilarAnswer,
    SimilarItem,
    SimilarQuery,
)
from serving.micro_batches import ListRequest

router = APIRouter()


# Endpoints are plain functions, so that inference runs in worker threads and the loop stays free.
@router.post(
    "/v1/recommend", responses=BAD_BODY | NOT_READY | NO_PART, tags=["recommend"], summary="Recommend items"
)
def recommend(
    body: RecommendRequest,
    engine: RecommendingEngine,
    batches: MicroBatchesOf,
    record: RecordOf,
    request: Request,
) -> Answer:
    """The best items for a user of the data, or for a history sent along.

    For an unknown user, an empty history, or a history of unknown items only, `degraded` says what answered.
    """
    asked = history_of(engine, body)
    allowed, unknown = engine.reader_of(body.user_id).allowed(
        body.candidates, body.filters, body.exclude, strict=body.strict
    )
    request_id: UUID = request.state.request_id
    listed = batches.recommend(
        ListRequest(
            engine=engine,
            history=asked.history,
            k=body.k,
            rules=engine.rule_book.rules(body.rules, engine.reader_of(body.user_id).visible),
            seed=request_id.int,
            user=body.user_id,
            exclude_seen=body.exclude_seen,
            allowed=allowed,
            diversity=body.diversity,
            explain=body.reasons == "leave_one_out",
            deadline=deadline_of(request, body.budget_ms),
        )
    )
    asked = replace(asked, degraded=[*asked.degraded, *listed.degraded])
    return _answer(
        engine, asked, listed.ruled, unknown, partial(record, body.user_id), request_id.hex, body.reasons
    )


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
    ranked = engine.rank([asked.history], candidates[None, :])
    if body.reasons == "leave_one_out":
        ranked = engine.explained(ranked, asked.history)
    return _answer(
        engine,
        asked,
        RuledLists.without_rules(ranked),
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
