"""What several endpoints share: the engine of the application, documented errors, and parts of answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from recsys.errors import RequestError
from recsys.history import History
from recsys.retrieval import AnsweredBy
from serving.engine import Engine
from serving.http.guard import Metrics
from serving.http.problems import problem
from serving.http.schemas import Answer, ErrorBody, ModelInfo, Subject
from serving.micro_batches import MAX_BATCH, Clock, MicroBatches
from serving.requests import Event
from serving.state import Impression
from serving.swap import Holder, Served

Responses = dict[int | str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """How lists are computed and recorded."""

    log_impressions: bool = True  # write every recommended or ranked list to the state
    budget_ms: float | None = None  # after it the retriever's order is the answer; a request may ask for less
    max_batch: int = MAX_BATCH  # requests in flight that are computed together; 1: each alone
    clock: Clock = time.perf_counter


async def _holder(request: Request) -> Holder:
    holder = request.app.state.holder
    assert isinstance(holder, Holder)
    return holder


HolderOf = Annotated[Holder, Depends(_holder)]


async def _served(request: Request, holder: HolderOf) -> Served:
    served = holder.current()
    request.state.bundle = served.source.version  # the guard names it in a header
    return served


# FastAPI calls a dependency once a request, so that all parts of a request are of one bundle.
ServedOf = Annotated[Served, Depends(_served)]


async def _engine(served: ServedOf) -> Engine:
    return served.engine


EngineOf = Annotated[Engine, Depends(_engine)]


async def _recommending(engine: EngineOf) -> Engine:
    if engine.recommender is None:
        message = (
            "this bundle was made of items alone and recommends nothing; use /v1/search, or serve a bundle"
        )
        raise HTTPException(409, problem(None, f"{message} of a dataset with interactions (recsys run)"))
    return engine


RecommendingEngine = Annotated[Engine, Depends(_recommending)]  # of a bundle that has a recommender
Record = Callable[[str | None, Answer, AnsweredBy], None]  # of a user, what answered


async def _record(request: Request, engine: EngineOf) -> Record:
    """Writes an answer to the log of impressions, where the application keeps one."""
    metrics: Metrics = request.app.state.metrics
    if not request.app.state.answers.log_impressions:
        return lambda user, answer, answered_by: metrics.degraded(answer.degraded)

    def record(user: str | None, answer: Answer, answered_by: AnsweredBy) -> None:
        metrics.degraded(answer.degraded)
        impression = Impression(
            request_id=answer.request_id,
            user=user,
            timestamp=time.time_ns() // 1000,
            bundle=answer.model.version,
            items=tuple(each.item_id for each in answer.items),
            scores=tuple(each.score for each in answer.items),
            sources=(answered_by.value,) * len(answer.items),
            propensities=tuple(each.propensity for each in answer.items),
        )
        engine.state.log_impression(impression)

    return record


RecordOf = Annotated[Record, Depends(_record)]


async def _micro_batches(request: Request) -> MicroBatches:
    batches = request.app.state.micro_batches
    assert isinstance(batches, MicroBatches)
    return batches


MicroBatchesOf = Annotated[MicroBatches, Depends(_micro_batches)]


def deadline_of(request: Request, budget_ms: float | None) -> float | None:
    """When the time of a request has run out, by the clock of the application; None: never."""
    answers: AnswerSettings = request.app.state.answers
    budgets = [each for each in (budget_ms, answers.budget_ms) if each is not None]
    started: float = request.state.started
    return started + min(budgets) / 1000 if budgets else None


BAD_REQUEST: Responses = {
    422: {"model": ErrorBody, "description": "A field is missing, unknown or out of range."}
}
BAD_BODY: Responses = BAD_REQUEST | {
    400: {
        "model": ErrorBody,
        "description": "The body is not UTF-8, or the JSON parser gives it up.",
    }
}
NOT_FOUND: Responses = {404: {"model": ErrorBody, "description": "There is no such item."}}
NOT_READY: Responses = {503: {"model": ErrorBody, "description": "The state of users does not answer."}}
NO_PART: Responses = {
    409: {"model": ErrorBody, "description": "The bundle lacks the part that answers: recommender or search."}
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The history that a request is about."""

    history: History | None  # None for an unknown user
    ignored: list[str] = field(default_factory=list)  # unknown items of a posted history
    degraded: list[str] = field(default_factory=list)  # why the user's history is not all there is


def history_of(engine: Engine, subject: Subject) -> Asked:
    """The posted history, or the user's."""
    if subject.user_id is not None:
        if subject.history is not None:
            raise RequestError(
                "history", "is given together with user_id; leave one of the two out", list(subject.history)
            )
        known, degraded = engine.history(subject.user_id)
        return Asked(history=known, degraded=degraded)
    if subject.history is None:
        raise RequestError("user_id", "is missing; give user_id, or history instead")
    events = [Event(**entry.model_dump()) for entry in subject.history]
    history, ignored = engine.request_reader.history(events, strict=subject.strict)
    return Asked(history=history, ignored=ignored)


def model_info(engine: Engine) -> ModelInfo:
    manifest = engine.bundle.manifest
    return ModelInfo(
        version=engine.bundle.version, created_at=manifest.created_at, dataset=manifest.dataset.name
    )


def providers_of(engine: Engine) -> dict[str, list[str]]:
    return {graph: list(names) for graph, names in engine.providers.items()}
