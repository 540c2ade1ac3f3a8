"""`UserState`: live rows and imported histories of training, as the engine reads them."""

import logging
from collections.abc import Iterator, Sequence
from copy import copy
from heapq import merge
from itertools import groupby, islice

from recsys.bundle import Bundle
from recsys.errors import StateError
from recsys.history import History
from serving.state.assembling import Assembler
from serving.state.database import Database
from serving.state.imported import PAGE, ImportedHistories
from serving.state.impressions import ImpressionLog
from serving.state.protocol import Impression, KnownUsers, LiveRows

log = logging.getLogger(__name__)


class UserState:
    """The state for one bundle.

    `imported` lies in `database`. `live` may lie there too, or in a database that several machines share.
    """

    def __init__(
        self, database: Database, imported: ImportedHistories, live: LiveRows, assembler: Assembler
    ) -> None:
        self.database, self.imported, self.live, self._assembler = database, imported, live, assembler
        self._impressions = ImpressionLog(live)
        self._is_live = True  # as of the last `read`

    def of_bundle(self, imported: ImportedHistories, assembler: Assembler) -> "UserState":
        """The same rows, read for another bundle."""
        other = copy(self)
        other.imported, other._assembler = imported, assembler
        return other

    def over(self, bundle: Bundle) -> "UserState":
        """As `State.over`."""
        return self.of_bundle(self.imported, Assembler(bundle))

    @property
    def is_durable(self) -> bool:
        return self.live.is_durable

    def histories(self, user_ids: Sequence[str]) -> list[History | None]:
        trained = self.imported.histories(user_ids)
        live = self.live.users(user_ids)
        for name, history, rows in zip(user_ids, trained, live, strict=True):
            if rows.is_erased and history is not None:  # on another machine, over the shared live rows
                self.imported.delete_user(name)
        return [self._assembler.history(*pair) for pair in zip(trained, live, strict=True)]

    def read(self, user_ids: Sequence[str]) -> KnownUsers:
        try:
            found = KnownUsers(histories=tuple(self.histories(user_ids)), is_live=True)
        except StateError as error:
            trained = self.imported.histories(user_ids)  # raises where its database does not answer either
            found = KnownUsers(histories=tuple(trained), is_live=False)
            if self._is_live:  # once, not for every request
                log.warning("events since the training are left out: %s", error)
        self._is_live = found.is_live
        return found

    def user_ids(self) -> Iterator[str]:
        both = merge(self.imported.user_ids(), self.live.user_ids())
        return (user for user, _ in groupby(both))

    def num_users(self) -> int:
        """The number of `user_ids`; takes the time of looking up the users of the live rows."""
        live, num_both = self.live.user_ids(), 0
        while page := list(islice(live, PAGE)):
            num_both += self.imported.count_known(page)
        return self.imported.num_users() + self.live.num_users() - num_both

    def count_users(self) -> tuple[int, bool]:
        try:
            return self.num_users(), True
        except StateError:
            return self.imported.num_users(), False

    def log_impression(self, impression: Impression) -> None:
        self._impressions.add(impression)

    def delete_user(self, user_id: str) -> bool:
        self._impressions.forget(user_id)
        # The live rows remember the erasure first: a read in between leaves out the history of training.
        had_rows = self.live.erase_user(user_id)
        had_history = self.imported.delete_user(user_id)
        return had_rows or had_history

    def is_empty(self) -> bool:
        """Whether nothing is stored at all, of any bundle."""
        return self.live.is_empty() and self.imported.is_empty()

    def close(self) -> None:
        self._impressions.close()
        self.live.close()
        self.database.close()
