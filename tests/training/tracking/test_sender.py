"""The sending thread: soon, in few calls, never in the way, and quiet after a failure."""

import threading
import time

import pytest

from training.tracking import sender as module
from training.tracking.sender import Sender


class Server:
    """Counts calls; fails while `is_down`."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_down = False
        self.errors: list[Exception] = []
        self.called = threading.Event()

    def send(self) -> None:
        self.calls += 1
        self.called.set()
        if self.is_down:
            raise ConnectionError("down")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def sender(server: Server) -> Sender:
    made = Sender(server.send, server.errors.append)
    made.start()
    return made


def test_sends_soon_and_what_comes_meanwhile_together(server: Server, sender: Sender) -> None:
    sender.notify()
    assert server.called.wait(10)
    for _ in range(100):
        sender.notify()
    sender.close()
    assert server.calls == 2


def test_close_sends_the_rest(server: Server, sender: Sender) -> None:
    sender.close()
    assert server.calls == 1


def test_a_failure_is_told_and_the_server_left_alone_for_a_while(server: Server, sender: Sender) -> None:
    server.is_down = True
    sender.notify()
    assert server.called.wait(10)
    start = time.monotonic()
    sender.close()
    assert time.monotonic() - start < 5
    assert [str(each) for each in server.errors] == ["down"]
    assert server.calls == 1


def test_a_server_that_is_back_gets_the_rest(
    server: Server, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_AFTER_A_FAILURE", 0.0)
    server.is_down = True
    sender.notify()
    assert server.called.wait(10)
    server.is_down = False
    sender.close()
    assert server.calls == 2
    assert len(server.errors) == 1
