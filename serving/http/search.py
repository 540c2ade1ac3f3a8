"""The endpoints of search."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query

from features.queries import AudioClause, Clause, ImageClause, TextClause, VideoClause
from recsys.errors import RequestError
from serving.http.bodies import REQUEST, BodyOf, FilePart, FilesOf
from serving.http.parts import (
    BAD_BODY,
    BAD_REQUEST,
    NO_PART,
    NOT_READY,
    Asked,
    Responses,
    ServedOf,
    history_of,
    model_info,
)
from serving.http.problems import problem
from serving.http.schemas import (
    ErrorBody,
    ExplanationOut,
    FoundItem,
    SearchAnswerOut,
    SearchBody,
    SearchClause,
    SuggestAnswer,
    SuggestionOut,
    SuggestQuery,
)
from serving.search import Hit, SearchEngine, SearchRequest

router = APIRouter()
SCHEMAS = "#/components/schemas/{model}"
TOO_LARGE: Responses = {413: {"model": ErrorBody, "description": "The body is too large."}}
_MEDIA = {"image": ImageClause, "audio": AudioClause, "video": VideoClause}
# The body is read by hand, because it has two forms, so its schema is named here.
_FILE = {"type": "array", "items": {"type": "string", "format": "binary"}}
_BODY_SCHEMA = {"$ref": SCHEMAS.format(model=SearchBody.__name__)}
_FORM_SCHEMA = {"type": "object", "properties": {REQUEST: _BODY_SCHEMA, **dict.fromkeys(_MEDIA, _FILE)}}
_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _BODY_SCHEMA},
            "multipart/form-data": {
                "schema": _FORM_SCHEMA,
                "encoding": {REQUEST: {"contentType": "application/json"}},
            },
        },
    }
}


async def _search(served: ServedOf) -> SearchEngine:
    if served.search is None:
        message = "this bundle has no search part; export it again (recsys export RUN) with search.enabled"
        raise HTTPException(409, problem(None, message))
    return served.search


SearchOf = Annotated[SearchEngine, Depends(_search)]


@router.post(
    "/v1/search",
    responses=BAD_BODY | NO_PART | NOT_READY | TOO_LARGE,
    tags=["search"],
    summary="Search items",
    openapi_extra=_REQUEST_BODY,
)
def search(search: SearchOf, body: BodyOf, files: FilesOf) -> SearchAnswerOut:
    """Items for words, pictures, sounds, videos and items, each with a weight; for a user, in their order.

    Send JSON, with media in base64, or a multipart form: the JSON in the part `request`, and files in parts
    named `image`, `audio` and `video`, several of each where wanted.
    """
    asked = _asked(search, body)
    answer = search.search(
        SearchRequest(
            clauses=_clauses(search, body, files),
            k=body.k,
            user=body.user_id,
            history=None if asked is None else asked.history,
            is_unknown_user=asked is not None and asked.history is None,
            filters=body.filters,
            exclude=body.exclude,
            exclude_seen=body.exclude_seen,
            min_relevance=body.min_relevance,
            personal=body.personal,
            leg_weights=body.modality_weights,
            strict=body.strict,
        )
    )
    return SearchAnswerOut(
        items=[_found(search, hit, rank) for rank, hit in enumerate(answer.hits, 1)],
        model=model_info(search.engine),
        notes=list(answer.notes),
        transcripts=dict(answer.transcripts),
        degraded=[*answer.degraded, *([] if asked is None else asked.degraded)],
        ignored=list(dict.fromkeys([*([] if asked is None else asked.ignored), *answer.ignored])),
        milliseconds={stage: round(time, 3) for stage, time in answer.milliseconds.items()},
    )


@router.get("/v1/suggest", responses=BAD_REQUEST | NO_PART, tags=["search"], summary="Complete a query")
def suggest(search: SearchOf, query: Annotated[SuggestQuery, Query()]) -> SuggestAnswer:
    """Titles, words and categories that complete what is typed."""
    return SuggestAnswer(
        suggestions=[
            SuggestionOut(
                text=each.text,
                kind=each.kind,
                item_id=None if each.item is None else search.engine.item_id(each.item),
            )
            for each in search.suggest(query.q, query.k, user=query.user_id)
        ]
    )


def body_definitions() -> dict[str, Any]:
    """The schemas that the request body of search refers to, by name."""
    schema = SearchBody.model_json_schema(ref_template=SCHEMAS)
    return {**schema.pop("$defs", {}), SearchBody.__name__: schema}


def _asked(search: SearchEngine, body: SearchBody) -> Asked | None:
    """The history that orders the hits; None where the request names no user."""
    if body.user_id is None and body.history is None:
        return None
    return history_of(search.engine, body)


def _clauses(search: SearchEngine, body: SearchBody, files: tuple[FilePart, ...]) -> tuple[Clause, ...]:
    clauses: list[Clause] = []
    if body.query is not None:
        clauses.append(TextClause(name="query", text=body.query))
    clauses += [_clause(search, each, f"clauses.{at}", body.user_id) for at, each in enumerate(body.clauses)]
    for name, weights in body.part_weights.items():
        num_parts = sum(each.kind == name for each in files)
        if len(weights) > num_parts:
            message = f"has {len(weights)} weights for {num_parts} parts; give one for each part at most"
            raise RequestError(f"part_weights.{name}", message)
    for each in files:
        weights = body.part_weights.get(each.kind, [])
        weight = weights[each.place] if each.place < len(weights) else 1.0
        clauses.append(
            _MEDIA[each.kind](name=f"{each.kind}.{each.place}", weight=weight, medium=each.content)
        )
    return tuple(clauses)


def _clause(search: SearchEngine, clause: SearchClause, name: str, user: str | None) -> Clause:
    if clause.text is not None:
        return TextClause(name=f"{name}.text", weight=clause.weight, text=clause.text)
    if clause.item_id is not None:
        return search.item_clause(clause.item_id, f"{name}.item_id", clause.weight, user=user)
    for kind, of in _MEDIA.items():
        medium = getattr(clause, kind)
        if medium is not None:
            return of(name=f"{name}.{kind}", weight=clause.weight, medium=medium)
    raise AssertionError("a checked clause has one of its kinds")


def _found(search: SearchEngine, hit: Hit, rank: int) -> FoundItem:
    engine, why = search.engine, hit.explanation
    past = None if why.past_item is None else engine.item_id(why.past_item)
    return FoundItem(
        item_id=engine.item_id(hit.item),
        title=engine.title(hit.item),
        image=engine.image(hit.item),
        rank=rank,
        score=hit.score,
        relevance=hit.relevance,
        explanation=ExplanationOut(
            text=why.text(engine.name), words=list(why.words), modality=why.leg, past_item=past
        ),
    )
