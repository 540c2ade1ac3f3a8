"""The bundle that a server answers from, and its replacement by another one without a failed request."""

from serving.swap.following import StoreFollower
from serving.swap.golden import check_answers
from serving.swap.holder import Holder, Swapped, SwapUnderWayError
from serving.swap.served import Served, ServeSettings, Source

__all__ = [
    "Holder",
    "ServeSettings",
    "Served",
    "Source",
    "StoreFollower",
    "SwapUnderWayError",
    "Swapped",
    "check_answers",
]
