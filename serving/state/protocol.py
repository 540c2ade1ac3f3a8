"""`State`: the protocol by which the engine reads users' histories from any database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from recsys.history import History

ReadHistories = Callable[[Path], Iterable[tuple[str, History]]]  # user ids and histories of a file


class State(Protocol):
    """Histories in the ids of one bundle's maps; safe to call from many threads.

    Every read checks, together with the rows, that they were written with those maps. It raises
    `StateError` where the rows of those maps were removed or the database cannot be read.
    """

    @property
    def is_durable(self) -> bool:
        """Whether an erasure is still known after a restart; False for a state in memory."""
        ...

    def histories(self, user_ids: Sequence[str]) -> list[History | None]:
        """The history of each user, None for an unknown user."""
        ...

    def user_ids(self) -> Iterator[str]:
        """Every known user, ascending."""
        ...

    def num_users(self) -> int: ...

    def delete_user(self, user_id: str) -> bool:
        """Erase a user from the histories of all bundles; later imports leave the user out.

        Returns whether there was a history.
        """
        ...

    def close(self) -> None: ...
