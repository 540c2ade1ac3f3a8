"""Users by external ids: live rows and histories of training behind one protocol; SQLite by default."""

from serving.state.opening import open_live_rows, open_state, state_of_bundle
from serving.state.protocol import (
    Appended,
    Impression,
    LiveEvent,
    LiveItem,
    LiveRows,
    LiveUser,
    State,
    hash_of,
)
from serving.state.users import UserState

__all__ = [
    "Appended",
    "Impression",
    "LiveEvent",
    "LiveItem",
    "LiveRows",
    "LiveUser",
    "State",
    "UserState",
    "hash_of",
    "open_live_rows",
    "open_state",
    "state_of_bundle",
]
