"""A Redis of the tests' own, on a free port."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

SERVER = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")


class RedisServer:
    """A Redis in `folder` that syncs every write; it can be stopped and started with its rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert SERVER is not None
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen([SERVER, *words], stdout=subprocess.DEVNULL)
        self._wait()

    def kill(self) -> None:
        """Stop without a chance to save."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def _wait(self) -> None:
        for _ in range(600):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(99) == b"+PONG\r\n":
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("the Redis does not answer")
