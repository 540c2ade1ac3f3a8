"""A client of a shop whose catalogue changes, over a state in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from live_bundle import trained_items, write_live_bundle

from serving.engine import Engine
from serving.http.app import create_app


@pytest.fixture(scope="session")
def live_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_live_bundle(tmp_path_factory.mktemp("live") / "bundle", trained_items()).path


@pytest.fixture
def client(live_path: Path) -> Iterator[Any]:
    with Engine.open(live_path, state=":memory:") as engine:
        yield TestClient(create_app(engine), raise_server_exceptions=False)
