"""A thread that sends the journal, so that no step waits for a server."""

import threading
import time
from collections.abc import Callable
from typing import Final

SECONDS_BETWEEN_PASSES: Final = 1.0  # entries of that time are sent together
SECONDS_AFTER_A_FAILURE: Final = 30.0  # until the next attempt


class Sender:
    """Calls `send` after `notify`, in a thread. An error is passed to `failed`; `send` is repeated later."""

    def __init__(self, send: Callable[[], object], failed: Callable[[Exception], None]) -> None:
        self._send, self._failed = send, failed
        self._news, self._closing = threading.Event(), threading.Event()
        self._not_before = 0.0
        self._thread = threading.Thread(target=self._loop, name="tracking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        self._news.set()

    def close(self) -> None:
        """Send the rest and end the thread. Shortly after an error, nothing more is sent."""
        self._closing.set()
        self._news.set()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            self._news.wait()
            is_last = self._closing.is_set()  # everything is in the journal before `close`
            self._news.clear()
            if time.monotonic() >= self._not_before:
                try:
                    self._send()
                except Exception as error:
                    self._not_before = time.monotonic() + SECONDS_AFTER_A_FAILURE
                    self._failed(error)
            if is_last:
                return
            if self._closing.wait(SECONDS_BETWEEN_PASSES):
                self._news.set()
