"""`StoreFollower`: serves the version that the pointer of a store moves to."""

import logging
import threading
from pathlib import Path
from typing import Final

from recsys.bundle import Store
from recsys.errors import RecsysError
from serving.swap.holder import Holder, SwapUnderWayError

SECONDS_BETWEEN_LOOKS: Final = 2.0
log = logging.getLogger(__name__)


class StoreFollower:
    """Looks at the pointer of a store every few seconds; a version that is refused is not tried again.

    A bundle that was swapped by other means stays until the pointer moves.
    """

    def __init__(self, holder: Holder, store: Path, *, seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
        self._holder, self._store, self._seconds = holder, Store.open(store), seconds
        self._seen: str | None = holder.current().source.version
        self._failing: str | None = None  # the last error of reading the pointer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def look(self) -> None:
        """Swap where the pointer has moved since the last look; errors go to the log."""
        try:
            current, self._failing = self._store.pointer.current, None
        except RecsysError as error:
            if str(error) != self._failing:  # once, not at every look
                log.error("the store cannot be followed: %s", error)
            self._failing = str(error)
            return
        if current is None or current == self._seen:
            return
        self._seen = current
        if current == self._holder.current().source.version:
            return
        try:
            self._holder.swap(self._store.bundle_path(current))
        except SwapUnderWayError:
            self._seen = None  # at the next look
        except Exception as error:  # the server goes on with the old bundle, whatever the new one raised
            log.error("version %s of the store is refused, the old one goes on: %s", current, error)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()

    def __enter__(self) -> "StoreFollower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
