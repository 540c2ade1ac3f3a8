"""`ItemFollower`: changes of items that other servers stored in the same state."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from recsys.errors import StateError

SECONDS_BETWEEN_LOOKS: Final = 1.0
log = logging.getLogger(__name__)


class ItemFollower:
    """Calls `refresh` every second; a state that does not answer is asked again, and logged once."""

    def __init__(self, refresh: Callable[[], None], *, seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
        self._refresh, self._seconds = refresh, seconds
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="items", daemon=True)

    def look(self) -> None:
        """Take over what is new."""
        try:
            self._refresh()
            self._is_failing = False
        except StateError as error:
            if not self._is_failing:
                log.warning("changes of items by other servers are not read: %s", error)
            self._is_failing = True
        except Exception:  # one change that cannot be taken over must not end the looking
            log.exception("changes of items cannot be taken over")

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()

    def __enter__(self) -> "ItemFollower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
