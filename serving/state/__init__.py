"""Users by external ids: live rows and histories of training behind one protocol; SQLite by default."""

from serving.state.opening import open_live_rows, open_state
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

__all__ = [
    "Appended",
    "Impression",
    "LiveEvent",
    "LiveItem",
    "LiveRows",
    "LiveUser",
    "State",
    "hash_of",
    "open_live_rows",
    "open_state",
]
