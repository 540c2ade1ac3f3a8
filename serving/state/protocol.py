"""The protocols of the state, and its rows, which are keyed by external ids.

`LiveRows` keeps what came in over HTTP, in any database. `State` is what the engine reads: those rows and the
histories of training, as one history of each user in the ids of one bundle.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from recsys.bundle import Bundle
from recsys.history import History

ReadHistories = Callable[[Path], Iterable[tuple[str, History]]]  # user ids and histories of a file
_LISTED: Final = ("bundle", "items", "scores", "sources", "propensities")
MAX_LIVE_EVENTS: Final = 1000  # newest events of a user that are assembled to a history


class LiveEvent(NamedTuple):
    """One event that came in over HTTP. A tuple, since a read makes many: in storage it is its own row."""

    event_id: str
    user: str
    item: str
    timestamp: int  # microseconds since the epoch
    kind: str | None = None  # None: the first kind of the bundle
    value: float | None = None
    review: str | None = None  # the text of a review that came with it
    request_id: str | None = None  # of the answer that listed the item


@dataclass(frozen=True, kw_only=True)
class LiveUser:
    """What the live rows hold of one user; without any row all fields have their defaults."""

    events: tuple[LiveEvent, ...] = ()  # the newest, oldest first; equal times in the order of arrival
    seen: frozenset[str] = frozenset()  # items of all events, also of those that `events` leaves out
    profile: Mapping[str, tuple[str, ...]] | None = None  # user field -> values
    is_erased: bool = False  # whether the user was erased: histories of training do not count


@dataclass(frozen=True, kw_only=True)
class LiveItem:
    """An item that came in over HTTP, or one of the bundle that was changed or removed."""

    item: str
    fields: Mapping[str, Any]  # as JSON has them
    content: bytes = b""  # vectors of the encoders, in the form of `serving.items`
    is_deleted: bool = False
    version: int = 0  # number of the last change, which the state gives; it grows over all items


@dataclass(frozen=True, kw_only=True)
class Impression:
    """One answered request: the items that were listed, best first."""

    request_id: str
    user: str | None  # None: a history was sent along
    timestamp: int  # microseconds since the epoch
    bundle: str  # version of the bundle that answered
    items: tuple[str, ...]
    scores: tuple[float, ...]
    sources: tuple[str, ...]  # what ordered each item: history, profile, popularity
    propensities: tuple[float, ...] = field(default=())  # probability that the item was listed there

    def listed(self) -> str:
        """The bundle and the lists as JSON, for storage; `of_stored` is the inverse."""
        return json.dumps({name: getattr(self, name) for name in _LISTED})

    @classmethod
    def of_stored(cls, request_id: str, user: str | None, timestamp: int, listed: str) -> "Impression":
        lists = json.loads(listed)
        return cls(
            request_id=request_id,
            user=user,
            timestamp=timestamp,
            bundle=lists.pop("bundle"),
            **{name: tuple(values) for name, values in lists.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Appended:
    """The outcome of events that were appended."""

    accepted: int
    duplicates: tuple[int, ...]  # positions of the events whose id was known


class LiveRows(Protocol):
    """Rows by external ids; safe to call from many threads, shared with other processes where durable.

    Every method raises `StateError` where the database does not answer; a failed write stores nothing.
    """

    @property
    def is_durable(self) -> bool:
        """Whether a row is still known after a restart."""
        ...

    def append_events(self, events: Sequence[LiveEvent]) -> Appended:
        """Store all events with new ids, or nothing; they are on the disk when it returns."""
        ...

    def set_profile(self, user: str, profile: Mapping[str, Sequence[str]]) -> None:
        """Replace the user's own fields."""
        ...

    def users(self, names: Sequence[str], *, newest: int = MAX_LIVE_EVENTS) -> list[LiveUser]:
        """The rows of each user, of the events the `newest`."""
        ...

    def user_ids(self) -> Iterator[str]:
        """Every user with an event or fields of their own, ascending."""
        ...

    def num_users(self) -> int: ...

    def append_impressions(self, impressions: Sequence[Impression]) -> None:
        """Store all of them, or nothing, in this order; those of erased users as well."""
        ...

    def events(self) -> Iterator[LiveEvent]:
        """All events, in the order of arrival."""
        ...

    def impressions(self) -> Iterator[Impression]:
        """All impressions, in the order of arrival."""
        ...

    def put_items(
        self, items: Sequence[LiveItem], media: Mapping[str, Mapping[str, bytes]] | None = None
    ) -> int:
        """Store the rows in this order, or nothing, in place of former ones; each gets the next version.

        `media` has the files of an item by name, in place of all its former files; those of an item that is
        not named in it stay, and those of a deleted item are removed. Returns the version of the last row.
        """
        ...

    def items(self, after: int = 0) -> Iterator[LiveItem]:
        """The items whose last change is later than the version `after`, by the time of their first one."""
        ...

    def items_version(self) -> int:
        """The version of the last change of any item, 0 without one."""
        ...

    def item_medium(self, item: str, name: str) -> bytes | None:
        """A file of an item; None where there is none."""
        ...

    def erase_user(self, user: str) -> bool:
        """Remove the user's events, fields and impressions, and remember the erasure as a hash.

        Returns whether there was a row. Later events of the user are those of a new user.
        """
        ...

    def erased(self) -> frozenset[str]:
        """`hash_of` every erased user."""
        ...

    def is_empty(self) -> bool:
        """Whether there is no row at all."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class KnownUsers:
    """What was read of some users, and whether the live rows answered."""

    histories: tuple[History | None, ...]
    is_live: bool  # False: these are the histories of training alone


class State(Protocol):
    """Users in the ids of one bundle's maps; safe to call from many threads.

    Every read of histories of training checks, together with the rows, that they were written with those
    maps. It raises `StateError` where the rows of those maps were removed or the database cannot be read.
    """

    @property
    def live(self) -> LiveRows:
        """The rows that came in over HTTP."""
        ...

    @property
    def is_durable(self) -> bool:
        """Whether an erasure is still known after a restart; False for a state in memory."""
        ...

    def over(self, bundle: Bundle) -> "State":
        """The same rows, assembled in the ids of `bundle`, which has at least the items of the present one.

        Only the first one is closed.
        """
        ...

    def histories(self, user_ids: Sequence[str]) -> list[History | None]:
        """The history of each user, None for an unknown user."""
        ...

    def read(self, user_ids: Sequence[str]) -> KnownUsers:
        """`histories`, which go on without live rows while the database of these does not answer."""
        ...

    def user_ids(self) -> Iterator[str]:
        """Every known user, ascending."""
        ...

    def num_users(self) -> int: ...

    def count_users(self) -> tuple[int, bool]:
        """`num_users`, and whether the live rows answered; False: those with a history of training."""
        ...

    def log_impression(self, impression: Impression) -> None:
        """Let the impression be written soon, and at the latest by `close`; it is not waited for."""
        ...

    def delete_user(self, user_id: str) -> bool:
        """Erase a user from all rows and the histories of all bundles; later imports leave the user out.

        Returns whether there was a history or a row.
        """
        ...

    def close(self) -> None: ...


def hash_of(user: str) -> str:
    """What is remembered of an erased user: the id itself would be what they asked to be rid of."""
    return hashlib.sha256(user.encode()).hexdigest()
