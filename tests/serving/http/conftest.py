"""A client of the endpoint."""

import pytest
from fastapi.testclient import TestClient

from serving.http.app import create_app


@pytest.fixture
def client(engine):
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        yield client
