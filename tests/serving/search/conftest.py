"""An engine over a bundle of coloured shirts and shoes, and a client of its endpoint."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import write_histories
from fastapi.testclient import TestClient
from search_bundle import write_search_bundle

from serving.engine import Engine
from serving.http.app import create_app
from serving.search import SearchEngine

USERS = {"ann": ["i00", "i03"], "bob": ["i11"], "new": []}


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "run" / "bundle"
    write_search_bundle(path)
    write_histories(path.parent / "histories.parquet", USERS)
    return path


@pytest.fixture(scope="session")
def items_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_search_bundle(tmp_path_factory.mktemp("alone") / "bundle", alone=True).path


@pytest.fixture(scope="session")
def engine(bundle_path: Path) -> Iterator[Engine]:
    histories = bundle_path.parent / "histories.parquet"
    with Engine.open(bundle_path, state=Path(":memory:"), histories=histories) as engine:
        yield engine


@pytest.fixture(scope="session")
def search(engine: Engine) -> SearchEngine:
    return SearchEngine.of(engine)


@pytest.fixture(scope="session")
def client(engine: Engine) -> Iterator[Any]:
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client_of(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A client of the bundle in a path, until the end of the test."""
    opened: list[Engine] = []

    def client_of(path: Path) -> Any:
        opened.append(Engine.open(path, state=Path(":memory:")))
        return TestClient(create_app(opened[-1]), raise_server_exceptions=False)

    yield client_of
    for engine in opened:
        engine.close()
