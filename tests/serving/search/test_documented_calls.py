"""Every call that docs/serving.md shows with curl or Python is answered, by a bundle with search."""

import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from live_bundle import trained_items, write_live_bundle
from PIL import Image

from serving.http.app import create_app
from serving.swap import Holder, ServeSettings

PAGE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text("utf-8").partition("\n## HTTP\n")[2]
# Items and fields of the page to those of the test.
KNOWN = {
    '"260"': '"i00"', '"1196"': '"i05"', "/260": "/i00", '"genres"': '"group"', '"year"': '"price"',
    '"Drama"': '"a"',
}  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of its own, of a bundle with every part that the calls need; another one lies beside it."""
    folder = tmp_path_factory.mktemp("documented")
    bundle = write_live_bundle(folder / "run" / "bundle", trained_items())
    with Holder.open(bundle.path, ServeSettings(state=":memory:")) as holder:
        yield TestClient(create_app(holder, bundles=folder), raise_server_exceptions=False)


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    for name, known in KNOWN.items():
        found = [block.replace(name, known) for block in found]
    return found


def curls() -> Iterator[list[str]]:
    """The words of each curl command."""
    for block in blocks("bash"):
        yield from (
            words for words in map(shlex.split, re.split(r"\n(?=curl )", block)) if words[0] == "curl"
        )


def send(client: Any, words: list[str]) -> Any:
    """The answer to a curl command."""
    address = next(word for word in words if word.startswith("localhost:8000"))
    given = {name: words[words.index(name) + 1] for name in ("-X", "-d", "-H") if name in words}
    method = given.get("-X", "POST" if "-d" in given else "GET")
    headers = dict([given["-H"].split(": ")]) if "-H" in given else {}
    path = address.removeprefix("localhost:8000")
    if parts := [words[at + 1] for at, word in enumerate(words) if word == "-F"]:
        return client.request(method, path, files=dict(map(part_of, parts)))
    return client.request(method, path, content=given.get("-d"), headers=headers)


def part_of(given: str) -> tuple[str, Any]:
    """A part of a form, as curl reads it; every file is a picture."""
    name, _, value = given.partition("=")
    if not value.startswith("@"):
        content, _, kind = value.partition(";type=")
        return name, (None, content, kind)
    picture = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 10, 10)).save(picture, "PNG")
    return name, (value[1:], picture.getvalue())


def test_every_curl_is_answered(client: Any) -> None:
    sent = set()
    for words in curls():
        answer = send(client, words)
        assert answer.status_code == 200, (words, answer.text)
        sent.add((answer.request.method, answer.request.url.path))
    assert {path for _, path in sent} >= {
        "/v1/recommend", "/v1/rank", "/v1/search", "/v1/events", "/v1/users/42", "/v1/suggest",
        "/v1/items/i00/similar", "/v1/admin/bundle", "/v1/admin/rollback",
    }  # fmt: skip
    assert ("DELETE", "/v1/users/42") in sent
    assert {(method, "/v1/items/new-1") for method in ("PUT", "PATCH")} <= sent
    assert {("POST", "/v1/items:batch"), ("DELETE", "/v1/items/new-2")} <= sent


def test_every_python_is_answered(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self, base_url: str) -> None:
            assert base_url == "http://localhost:8000"

        def __enter__(self) -> Any:
            return client

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setitem(sys.modules, "httpx2", SimpleNamespace(Client=Client))  # type: ignore[arg-type]
    snippets = blocks("python")
    assert len(snippets) >= 2
    for snippet in snippets:
        exec(compile(snippet, "docs/serving.md", "exec"), {})


def test_the_page_shows_every_endpoint_of_users_and_lists(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    shown = PAGE.replace("/v1/users/42", "/v1/users/{user_id}").replace("items/260", "items/{item_id}")
    missing = [path for path in paths if path not in shown and not path.endswith("/image")]
    assert missing == []
    for path, methods in paths.items():
        for method, described in methods.items():
            if "requestBody" in described:
                assert {"400", "422"} <= described["responses"].keys(), (method, path)
