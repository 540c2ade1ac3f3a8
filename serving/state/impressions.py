"""`ImpressionLog`: impressions are written in batches behind the answers that they record."""

import logging
import threading
from typing import Final

from recsys.errors import StateError
from serving.state.protocol import Impression, LiveRows

SECONDS_BETWEEN_WRITES: Final = 0.2
MAX_WAITING: Final = 100_000  # impressions in memory while the database does not answer
log = logging.getLogger(__name__)


class ImpressionLog:
    """Impressions that wait to be written to `rows`, each at most `SECONDS_BETWEEN_WRITES` while it answers.

    Those of a process that is killed in this time are lost; `close` writes all. Where the database does not
    answer they are kept for the next attempt; of more than `MAX_WAITING` the oldest are dropped, and the log
    of the process says how many.
    """

    def __init__(self, rows: LiveRows) -> None:
        self._rows = rows
        self._waiting: list[Impression] = []
        self._lock = threading.Lock()  # of `_waiting`
        self._write_lock = threading.Lock()  # held from taking impressions until they are written
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, impression: Impression) -> None:
        """Let the impression be written soon; it is not waited for."""
        with self._lock:
            self._waiting.append(impression)
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
                self._thread.start()

    def forget(self, user: str) -> None:
        """Drop what waits of this user; what was being written is written when it returns."""
        with self._write_lock, self._lock:
            self._waiting = [each for each in self._waiting if each.user != user]

    def flush(self) -> None:
        """Write all that waits; raises `StateError`, and keeps them, where the database does not answer."""
        with self._write_lock:
            with self._lock:
                taken, self._waiting = self._waiting, []
            if not taken:
                return
            try:
                self._rows.append_impressions(taken)
            except StateError:
                with self._lock:
                    kept = taken + self._waiting
                    num_dropped = max(len(kept) - MAX_WAITING, 0)
                    self._waiting = kept[num_dropped:]
                if num_dropped:
                    log.error("%d impressions are lost, since the state does not answer", num_dropped)
                raise

    def close(self) -> None:
        """Write all that waits and stop; what cannot be written is lost, and the log says how many."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        except StateError as error:
            log.error("%d impressions are lost: %s", len(self._waiting), error)

    def _run(self) -> None:
        is_failing = False
        while not self._stop.wait(SECONDS_BETWEEN_WRITES):
            try:
                self.flush()
            except StateError as error:
                if not is_failing:  # once, not at every attempt
                    log.error("impressions wait until the state answers: %s", error)
                is_failing = True
            else:
                is_failing = False
