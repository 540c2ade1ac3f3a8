"""Users' histories behind one protocol; embedded default SQLite."""

from serving.state.opening import open_state
from serving.state.protocol import State

__all__ = [
    "State",
    "open_state",
]
