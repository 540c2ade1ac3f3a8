"""One user's history and recommendations on the terminal, with a reason each."""

import math
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.errors import DataError, clipped, did_you_mean
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from serving.engine import Engine

MAX_EVENTS_SHOWN = 10
MAX_USERS_READ = 1000  # the user with the longest history is chosen among this many
SEARCHED_FOR_HINT = 10_000  # known ids that a mistyped id is compared with; bounds the time of an error


def show_user(engine: Engine, console: Console, *, user: str | None = None, k: int = 10) -> None:
    """Print the newest events of `user` and the best `k` items.

    Without `user`, show the user with the longest history among the first `MAX_USERS_READ`. Raises
    `DataError` for an unknown user, with the nearest known ids, and where no user is known.
    """
    engine.require_recommender()
    user_id, history = _select_user(engine, user)
    shown = min(MAX_EVENTS_SHOWN, len(history))
    console.print(f"{escape(user_id)}: newest {shown} of {len(history)} events")
    console.print(_events_table(engine, history.last(shown)))
    ranked = engine.explained(engine.recommend([history], k, users=[user_id]), history)
    console.print(f"Recommended to {escape(user_id)}")
    table = Table()
    table.add_column("", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    table.add_column("why")
    for place, item in enumerate(ranked.items[0].tolist()):
        if item == PAD:
            break
        reason = engine.reason(ranked, 0, place)
        table.add_row(
            str(place + 1),
            escape(engine.name(item)),
            f"{ranked.scores[0, place]:.2f}",
            escape(reason.text) if reason else "",
        )
    console.print(table)
    for note in engine.degraded(history, ranked.answered_by[0]):
        console.print(f"degraded: {escape(note)}")


def _select_user(engine: Engine, user: str | None) -> tuple[str, History]:
    names = [user] if user is not None else _first_users(engine)
    known = [
        (name, history)
        for name, history in zip(names, engine.histories(names), strict=True)
        if history is not None
    ]
    if not known:
        raise DataError(_unknown(engine, user))
    return max(known, key=lambda each: len(each[1]))


def _first_users(engine: Engine) -> list[str]:
    return list(islice(engine.state.user_ids(), MAX_USERS_READ))


def _unknown(engine: Engine, user: str | None) -> str:
    """The error for an unknown user, or for a state without users."""
    known = list(islice(engine.state.user_ids(), SEARCHED_FOR_HINT))
    parts = [] if user is None else [f"unknown user {clipped(user)!r}"]
    if user is not None and user in engine.bundle.item_ids:
        parts.append("this is the id of an item, and a user is needed")
    if not known:
        return "; ".join([*parts, "no user is known: name the file of histories with --histories"])
    hint = did_you_mean(user or "", known)
    return "; ".join([*parts, hint, "without --user a user with a long history is shown"])


def _events_table(engine: Engine, history: History) -> Table:
    """The events, newest first."""
    table = Table()
    for name in ("item", "event", "value"):
        table.add_column(name)
    for at in reversed(range(len(history))):
        item, event, value = int(history.item[at]), int(history.event[at]), float(history.value[at])
        table.add_row(
            escape(engine.name(item)) if item >= NUM_RESERVED else "(no longer in the catalogue)",
            engine.bundle.event_ids.decode([event])[0] if event >= NUM_RESERVED else "",
            "" if math.isnan(value) else f"{value:g}",
        )
    return table
