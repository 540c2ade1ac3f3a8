"""Golden requests: what a bundle must answer before it takes the place of another one."""

from itertools import islice
from typing import Final

import numpy as np

from features.queries import TextClause
from recsys.arrays import Floats, Ints
from recsys.errors import BundleError, StateError
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from serving.engine import Engine
from serving.requests import Event
from serving.search import SearchRequest
from serving.swap.served import Served

NUM_USERS: Final = 16
K: Final = 10


def check_answers(served: Served) -> int:
    """Ask for lists of users of the state, of a posted history and of an unknown user, and search a title.

    Returns the number of answers. Raises `BundleError` that names the first answer with an error, a score
    that is not finite, a repeated item, or fewer items than could be listed.
    """
    engine = served.engine
    num_answers = 0
    if engine.recommender is not None and len(engine.bundle.item_ids):
        for name, user, history in _subjects(engine):
            try:
                found = engine.recommend([history], K, users=[user])
            except Exception as error:  # whatever a damaged graph or index raises
                raise BundleError(f"{_golden(engine, name)} failed: {error!r}") from error
            _check_list(engine, name, user, history, found.items[0], found.scores[0])
            num_answers += 1
    title = next((title for title in engine.bundle.catalogue["title"] if title), None)
    if served.search is not None and title is not None and "text" in served.search.query_kinds:
        try:
            request = SearchRequest(clauses=(TextClause(name="query", text=title),), k=K)
            hits = served.search.search(request).hits
        except Exception as error:
            raise BundleError(f"{_golden(engine, 'search for a title')} failed: {error!r}") from error
        if not np.isfinite([hit.score for hit in hits]).all():
            raise BundleError(f"{_golden(engine, 'search for a title')} has a score that is not finite")
        num_answers += 1
    return num_answers


def _subjects(engine: Engine) -> list[tuple[str, str | None, History | None]]:
    """Names of requests, the user, and the history: those of the state first."""
    try:
        users = list(islice(engine.state.user_ids(), NUM_USERS))
    except StateError:  # live rows that do not answer: lists go on without them as well
        users = []
    known = engine.state.read(users).histories
    found: list[tuple[str, str | None, History | None]] = [
        (
            f"the list of stored user {at}",
            user,
            None if history is None else engine.owners.visible_history(user, history),
        )
        for at, (user, history) in enumerate(zip(users, known, strict=True))
    ]
    posted, _ = engine.operator_reader.history([Event(item=engine.item_id(NUM_RESERVED))])
    return [*found, ("the list of a history", None, posted), ("the list of an unknown user", None, None)]


def _check_list(
    engine: Engine, name: str, user: str | None, history: History | None, items: Ints, scores: Floats
) -> None:
    found = items != PAD
    num_found = int(found.sum())
    if not np.isfinite(scores[found]).all():
        raise BundleError(f"{_golden(engine, name)} has a score that is not finite")
    if len(np.unique(items[found])) < num_found:
        raise BundleError(f"{_golden(engine, name)} has an item twice")
    expected = min(K, _num_reachable(engine, user, history))
    if num_found < expected:
        raise BundleError(f"{_golden(engine, name)} has {num_found} items; {expected} could be listed")


def _num_reachable(engine: Engine, user: str | None, history: History | None) -> int:
    """The number of items that a list of this user can have: those with training events or content."""
    items = engine.require_recommender().items
    reachable = items.trained | np.any(items.token_mask, axis=1)
    reachable[:NUM_RESERVED] = False
    visible = engine.owners.visible(user)
    if visible is not None:
        reachable &= visible
    if history is not None:
        reachable[history.seen] = False
    return int(reachable.sum())


def _golden(engine: Engine, name: str) -> str:
    return f"{engine.bundle.path}: golden request: {name}"
