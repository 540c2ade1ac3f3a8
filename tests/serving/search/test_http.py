"""Search over HTTP: JSON and forms, what an answer says, and what a bad request is told."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_parts import write_tiny_bundle
from fastapi.testclient import TestClient
from PIL import Image
from search_bundle import COLORS, TITLES, write_search_bundle

from scripts.bad_media import write_wav
from serving.engine import Engine
from serving.http import Limits
from serving.http.app import create_app


def png(color: str = "blue", size: tuple[int, int] = (9, 9)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, COLORS[color]).save(out, "PNG")
    return out.getvalue()


def ask(client: Any, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def titles(answer: dict[str, Any]) -> list[str]:
    return [item["title"] for item in answer["items"]]


def problem(response: Any, status: int = 422) -> tuple[str | None, str]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    return error["field"], error["message"]


class TestAnswer:
    def test_words(self, client: Any) -> None:
        answer = ask(client, query="red shirt", k=2)
        assert titles(answer) == ["red shirt", "red shirt"]
        first, second = answer["items"]
        assert (first["item_id"], first["rank"], first["image"]) == ("i00", 1, "pictures/0.png")
        assert (second["item_id"], second["rank"], second["image"]) == ("i06", 2, None)
        assert first["explanation"]["words"] == ["red", "shirt"]
        assert '"red"' in first["explanation"]["text"]
        assert 0 <= first["relevance"] <= 1
        assert answer["notes"] == answer["degraded"] == answer["ignored"] == []
        assert {"encoding", "lexical", "dense"} <= set(answer["milliseconds"])

    def test_a_short_list_is_the_beginning_of_a_long_one(self, client: Any) -> None:
        long = ask(client, query="blue shoe", k=12)["items"]
        assert ask(client, query="blue shoe", k=3)["items"] == long[:3]

    def test_excluded_words(self, client: Any) -> None:
        found = titles(ask(client, query="shirt -red", k=12))
        assert found
        assert not any("red" in title for title in found)

    def test_a_picture_in_base64(self, client: Any) -> None:
        for text in (
            base64.b64encode(png()).decode(),
            "data:image/png;base64," + base64.encodebytes(png()).decode(),
        ):
            answer = ask(client, clauses=[{"image": text}], k=4)
            assert all("blue" in title for title in titles(answer))
            assert answer["items"][0]["explanation"]["modality"] == "image"

    def test_a_picture_and_words(self, client: Any) -> None:
        body = {"query": "shoe", "clauses": [{"image": base64.b64encode(png()).decode()}], "k": 2}
        assert titles(ask(client, **body)) == ["blue shoe", "blue shoe"]

    def test_like_an_item_which_is_left_out(self, client: Any) -> None:
        answer = ask(client, clauses=[{"item_id": "i00"}], k=1)
        assert [each["item_id"] for each in answer["items"]] == ["i06"]

    def test_a_negative_clause_moves_down(self, client: Any) -> None:
        body = {"clauses": [{"text": "shirt"}, {"image": base64.b64encode(png()).decode(), "weight": -2.0}]}
        assert titles(ask(client, **body, k=12))[-1].startswith("blue")

    def test_emoji_and_right_to_left_text(self, client: Any) -> None:
        assert "has no words" in ask(client, query="🙂")["notes"][0]
        assert ask(client, query="\u202eחולצה אדומה")["notes"] == []

    def test_10_000_characters(self, client: Any) -> None:
        answer = ask(client, query="red shirt " * 1_000, k=1)
        assert titles(answer) == ["red shirt"]
        assert answer["notes"] == ["query: only the first 999 of 10,000 characters are used"]

    def test_filters_and_exclusions(self, client: Any) -> None:
        answer = ask(client, query="shirt", filters={"kind": ["odd"]}, exclude=["i01", "nope"], k=12)
        found = [each["item_id"] for each in answer["items"]]
        assert found
        assert all(int(item[1:]) % 2 for item in found)
        assert "i01" not in found
        assert answer["ignored"] == ["nope"]

    def test_filters_that_leave_nothing(self, client: Any) -> None:
        everything = [f"i{at:02}" for at in range(12)]
        answer = ask(client, query="shirt", exclude=everything)
        assert answer["items"] == []
        assert answer["notes"] == ["no item passes the filters and exclusions; widen them"]

    def test_the_order_of_a_user(self, client: Any) -> None:
        impersonal = ask(client, query="shirt", k=12)["items"]
        assert ask(client, query="shirt", k=12, user_id="ann", personal=0.0)["items"] == impersonal
        personal = ask(client, query="shirt", k=12, user_id="ann", personal=1.0)["items"]
        assert {each["item_id"] for each in personal} == {each["item_id"] for each in impersonal}
        assert [each["item_id"] for each in personal] != [each["item_id"] for each in impersonal]
        posted = ask(client, query="shirt", k=12, history=["i00", "i03"], personal=1.0)["items"]
        assert [each["item_id"] for each in posted] == [each["item_id"] for each in personal]

    @pytest.mark.parametrize(
        ("who", "why"),
        [
            ({"user_id": "nobody"}, "unknown_user: impersonal"),
            ({"user_id": "new"}, "empty_history: impersonal"),
            ({"history": []}, "empty_history: impersonal"),
            ({"history": ["nope"]}, "unknown_items: impersonal"),
        ],
    )
    def test_users_of_whom_nothing_is_known(self, client: Any, who: Any, why: str) -> None:
        answer = ask(client, query="shirt", personal=1.0, **who)
        assert answer["degraded"] == [why]
        assert answer["items"] == ask(client, query="shirt")["items"]

    def test_seen_items(self, client: Any) -> None:
        found = ask(client, query="red", user_id="ann", exclude_seen=True, k=12)["items"]
        assert not {"i00", "i03"} & {each["item_id"] for each in found}
        assert {"i00", "i03"} <= {each["item_id"] for each in ask(client, query="red", k=12)["items"]}

    def test_the_next_search_reads_the_events_of_a_new_user(self, client: Any) -> None:
        asked = {"query": "red", "user_id": "eve", "exclude_seen": True, "personal": 1.0, "k": 12}
        before = ask(client, **asked)
        assert before["degraded"] == ["unknown_user: impersonal"]
        events = [{"user_id": "eve", "item_id": item} for item in ("i00", "i05")]
        assert client.post("/v1/events", json={"events": events}).json()["accepted"] == 2
        after = ask(client, **asked)
        assert after["degraded"] == []
        names = [{each["item_id"] for each in answer["items"]} for answer in (before, after)]
        assert "i00" in names[0] - names[1]
        client.delete("/v1/users/eve")

    def test_a_leg_that_is_switched_off(self, client: Any) -> None:
        answer = ask(client, query="red", modality_weights={"lexical": 0.0, "title": 1.0})
        assert "lexical" not in {each["explanation"]["modality"] for each in answer["items"]}


class TestForm:
    def test_files_beside_the_request(self, client: Any, tmp_path: Path) -> None:
        request = {"query": "shoe", "k": 1, "part_weights": {"image": [2.0, -1.0]}}
        files = [
            ("request", (None, json.dumps(request), "application/json")),
            ("image", ("one.png", png("green"))),
            ("image", ("two.png", png("red"))),
        ]
        response = client.post("/v1/search", files=files)
        assert response.status_code == 200, response.text
        assert titles(response.json()) == ["green shoe"]

    def test_a_file_alone(self, client: Any) -> None:
        response = client.post("/v1/search", files={"image": ("b.png", png())})
        assert titles(response.json())[:4] == ["blue shirt", "blue shoe", "blue shirt", "blue shoe"]

    def test_sound(self, client: Any, tmp_path: Path) -> None:
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) + 0.25
        write_wav(tmp_path / "said.wav", tone[:, None], 16_000)
        content = (tmp_path / "said.wav").read_bytes()
        field, message = problem(client.post("/v1/search", files={"audio": ("said.wav", content)}))
        assert field == "clauses" or "nothing here" in message  # no item has a sound to compare with

    @pytest.mark.parametrize(
        ("files", "field", "message"),
        [
            ({"imag": ("a.png", png())}, "imag", "did you mean 'image'"),
            ({"image": ("a.png", b"nothing")}, "image.0", "a text"),
            ({"image": ("a.png", b"")}, "image.0", "0 bytes"),
            ({"request": (None, "{"), "image": ("a.png", png())}, "body", "is not JSON"),
            (
                {"request": (None, '{"part_weights": {"image": [1, 2]}}'), "image": ("a.png", png())},
                "part_weights.image",
                "2 weights for 1 parts",
            ),
        ],
    )
    def test_what_is_refused(self, client: Any, files: Any, field: str, message: str) -> None:
        found = problem(client.post("/v1/search", files=files))
        assert found[0] == field
        assert message in found[1]

    def test_a_form_without_a_boundary(self, client: Any) -> None:
        headers = {"content-type": "multipart/form-data"}
        found = problem(client.post("/v1/search", content=b"--x", headers=headers))
        assert found[0] == "body"


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({}, "query", "is empty"),
            ({"query": ""}, "query", "is empty"),
            ({"query": " \x00 "}, "query", "is empty"),
            ({"query": "-red"}, "query", "only excludes"),
            ({"query": "\ud800"}, "query", "half of a surrogate pair"),
            ({"query": "red", "k": 0}, "k", "at least 1"),
            ({"query": "red", "kk": 3}, "kk", "did you mean 'k'?"),
            ({"query": "red", "min_relevance": 1.5}, "min_relevance", "at most 1"),
            ({"query": "red", "personal": -1}, "personal", "at least 0"),
            ({"query": "red", "modality_weights": {"imgae": 1}}, "modality_weights", "did you mean 'image'"),
            ({"query": "red", "modality_weights": {"image": -1}}, "modality_weights.image", "from 0 to 100"),
            ({"query": "red", "user_id": "ann", "history": ["i00"]}, "history", "together with user_id"),
            ({"query": "red", "filters": {"color": ["x"]}}, "filters.color", "unknown field"),
            ({"query": "red", "exclude": ["x"], "strict": True}, "exclude", "unknown items: 'x'"),
            ({"clauses": [{"item_id": "i99"}]}, "clauses.0.item_id", "unknown item"),
            ({"clauses": [{}]}, "clauses.0", "has none of them"),
            ({"clauses": [{"text": "a", "item_id": "i00"}]}, "clauses.0", "has text and item_id"),
            ({"clauses": [{"image": "%%%"}]}, "clauses.0.image", "is not base64"),
            ({"clauses": [{"image": 7}]}, "clauses.0.image", "must be a base64 text"),
            ({"clauses": [{"image": ""}]}, "clauses.0.image", "0 bytes"),
            ({"clauses": [{"text": "red", "weight": -1}]}, "clauses", "only moves items down"),
            ({"clauses": [{"text": "red", "weight": 0}]}, "clauses", "every weight is 0"),
            ({"clauses": [{"text": "red", "weight": 1e9}]}, "clauses.0.weight", "at most 100"),
            ({"clauses": [{"text": "red"}] * 17}, "clauses", "at most 16"),
        ],
    )
    def test_fields(self, client: Any, body: Any, field: str, message: str) -> None:
        found = problem(client.post("/v1/search", content=json.dumps(body)))
        assert (found[0] or "").startswith(field)
        assert message in found[1]

    @pytest.mark.parametrize(
        ("content", "kind", "status", "message"),
        [
            (b"", "application/json", 422, "is empty"),
            (b'{"query": ', "application/json", 422, "line 1, column 11"),
            (b"[1]", "application/json", 422, "must be a JSON object"),
            (b'{"query": "red", "k": NaN}', "application/json", 422, ""),
            (b'{"query": "\xff"}', "application/json", 400, "is not UTF-8"),
            (b"[" * 100_000, "application/json", 400, "cannot be read as JSON"),
            (b"red", "text/plain", 422, "must be JSON"),
        ],
    )
    def test_bodies(self, client: Any, content: bytes, kind: str, status: int, message: str) -> None:
        response = client.post("/v1/search", content=content, headers={"content-type": kind})
        assert message in problem(response, status)[1]

    def test_a_body_that_is_too_large(self, engine: Engine) -> None:
        app = create_app(engine, guard_limits=Limits(body_bytes=100))
        client = TestClient(app, raise_server_exceptions=False)
        for content in (b"x" * 101, iter([b"x" * 60, b"x" * 60])):
            assert "more than" in problem(client.post("/v1/search", content=content), 413)[1]

    def test_the_operators_limit_is_the_only_one(self, engine: Engine) -> None:
        app = create_app(engine, guard_limits=Limits(body_bytes=66_000_000))
        content = b" " * 65_000_000 + b'{"query": "red", "k": 2}'
        client = TestClient(app, raise_server_exceptions=False)
        response = client.post("/v1/search", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 200, response.text

    def test_a_picture_of_too_many_pixels(self, client: Any, tmp_path: Path) -> None:
        from scripts.bad_media import write_huge_png

        write_huge_png(tmp_path / "huge.png")
        found = problem(
            client.post("/v1/search", files={"image": ("h.png", (tmp_path / "huge.png").read_bytes())})
        )
        assert "shrink it" in found[1]


class TestSuggest:
    def test_titles_and_words(self, client: Any) -> None:
        found = client.get("/v1/suggest", params={"q": "re", "k": 2}).json()["suggestions"]
        assert found == [
            {"text": "red shirt", "kind": "title", "item_id": "i00"},
            {"text": "red shoe", "kind": "title", "item_id": "i03"},
        ]

    @pytest.mark.parametrize("q", ["", " ", "\x00", "🙂", "x" * 200, '"', "-"])
    def test_odd_beginnings(self, client: Any, q: str) -> None:
        assert client.get("/v1/suggest", params={"q": q}).status_code == 200

    @pytest.mark.parametrize(
        ("params", "field"),
        [({}, "q"), ({"q": "x" * 201}, "q"), ({"q": "a", "k": 0}, "k"), ({"q": "a", "n": 1}, "n")],
    )
    def test_what_is_refused(self, client: Any, params: Any, field: str) -> None:
        assert problem(client.get("/v1/suggest", params=params))[0] == field


class TestBundles:
    def test_of_items_alone(self, client_of: Callable[..., Any], items_alone: Path) -> None:
        client = client_of(items_alone)
        assert all("green" in title for title in titles(ask(client, query="green", k=4)))
        assert ask(client, query="green", history=["i00"])["degraded"] == ["no_recommender: impersonal"]
        for path, body in (
            ("recommend", {"user_id": "ann"}),
            ("rank", {"user_id": "a", "candidates": ["i00"]}),
        ):
            assert "recommends nothing" in problem(client.post(f"/v1/{path}", json=body), 409)[1]
        similar = client.get("/v1/items/i00/similar", params={"k": 2}).json()["items"]
        assert next(each["item_id"] for each in similar) == "i06"
        assert client.get("/readyz").json()["num_items"] == len(TITLES)

    def test_without_a_search_part(self, client_of: Callable[..., Any], tmp_path: Path) -> None:
        client = client_of(write_tiny_bundle(tmp_path / "bundle").path)
        for response in (
            client.post("/v1/search", json={"query": "red"}),
            client.get("/v1/suggest", params={"q": "r"}),
        ):
            assert "export it again (recsys export RUN)" in problem(response, 409)[1]

    def test_without_an_encoder(self, client_of: Callable[..., Any], tmp_path: Path) -> None:
        client = client_of(write_search_bundle(tmp_path / "bundle", kinds="text").path)
        found = problem(client.post("/v1/search", files={"image": ("a.png", png())}))
        assert found == (
            "image.0",
            "this bundle has no encoder of pictures; search by words, items, or make a bundle of a dataset "
            "that has pictures",
        )


def test_the_description_names_all_it_refers_to(client: Any) -> None:
    described = client.get("/openapi.json").json()
    body = described["paths"]["/v1/search"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    names = {each.split('"')[0] for each in json.dumps(described).split("#/components/schemas/")[1:]}
    assert names <= set(described["components"]["schemas"])
    assert "SearchBody" in names
    assert described == client.get("/openapi.json").json()


def test_the_kinds_of_query_that_something_answers(client: Any) -> None:
    # The bundle has an encoder of sounds, but no item with a sound.
    assert client.get("/v1/about").json()["queries"] == ["text", "image", "video"]
