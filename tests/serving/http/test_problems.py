"""Every refused request names the field, the rejected value, and what would be right."""

import pytest
from fastapi.testclient import TestClient

from serving.http.app import create_app
from serving.http.schemas import MAX_HISTORY

ANN = {"user_id": "ann"}
NOT_A_TIME = "must be seconds since the epoch (not milliseconds), or an ISO 8601 time"
REFUSED = [
    ({}, "user_id", "is missing; give user_id, or history instead", None),
    (ANN | {"history": ["ant"]}, "history", "leave one of the two out", "list of 1"),
    ({"user_id": ""}, "user_id", "is empty; give the id of a user, or leave user_id out", ""),
    ({"user_id": " \t"}, "user_id", "is empty; give the id of a user", " \t"),
    ({"user_id": 7}, "user_id", 'must be a string; write "7" in quotes', 7),
    ({"user_id": ["ann"]}, "user_id", "must be a string", "list of 1"),
    ({"history": ["ant"] * (MAX_HISTORY + 1)}, "history", "give at most 1,000", "list of 1001"),
    ({"history": ["ant", {"item": "wolf"}], "strict": True}, "history", "items: 'wolf';", "list of 1"),
    ({"history": ["elk", "ant", "wolf"], "strict": True}, "history", "items: 'elk', 'wolf';", "list of 2"),
    (ANN | {"exclude": ["bee", "wolf"], "strict": True}, "exclude", "items: 'wolf';", "list of 1"),
    (ANN | {"candidates": ["bee", "wolf"], "strict": True}, "candidates", "items: 'wolf';", "list of 1"),
    (ANN | {"strict": 1}, "strict", "must be true or false", 1),
    (ANN | {"exclude": "ant"}, "exclude", "must be a list", "ant"),
    (ANN | {"exclude": [" "]}, "exclude.0", "is empty; give the id of an item", " "),
    ({"history": [7]}, "history.0", "must be an item id in quotes, or an object", 7),
    ({"history": [""]}, "history.0.item", "is empty; give the id of an item", ""),
    ({"history": [{"item": 7}]}, "history.0.item", 'write "7" in quotes', 7),
    ({"history": [{"value": 3.0}]}, "history.0.item", "is missing; add it", None),
    ({"history": [{"item": "ant", "values": 3}]}, "history.0.values", "did you mean 'value'?", 3),
    ({"history": [{"item": "ant", "value": "much"}]}, "history.0.value", "must be a number", "much"),
    ({"history": [{"item": "ant", "value": 1e39}]}, "history.0.value", "must be at most 3", 1e39),
    ({"history": [{"item": "ant", "event": "eat"}]}, "history.0.event", "unknown kind", "eat"),
    ({"history": [{"item": "ant", "timestamp": "noon"}]}, "history.0.timestamp", NOT_A_TIME, "noon"),
    ({"history": [{"item": "ant", "timestamp": 17e11}]}, "history.0.timestamp", NOT_A_TIME, 17e11),
    ({"history": [{"item": "ant", "timestamp": 1}, "bee"]}, "history.1.timestamp", "or to none", None),
    ({"history": "ant"}, "history", "must be a list", "ant"),
    (ANN | {"k": 0}, "k", "must be at least 1", 0),
    (ANN | {"k": 501}, "k", "must be at most 500", 501),
    (ANN | {"k": "20"}, "k", "must be a whole number", "20"),
    (ANN | {"k": 2.5}, "k", "must be a whole number", 2.5),
    (ANN | {"k": True}, "k", "must be a whole number", True),
    (ANN | {"exclude_seen": "yes"}, "exclude_seen", "must be true or false", "yes"),
    (ANN | {"candidates": []}, "candidates", "is empty; give at least 1", "list of 0"),
    (ANN | {"candidates": ["wolf", "elk"]}, "candidates", "give at least one known item", "list of 2"),
    (ANN | {"filters": []}, "filters", "must be an object", "list of 0"),
    (ANN | {"filters": {"grupo": ["fish"]}}, "filters.grupo", "'group'", "list of 1"),
    (ANN | {"filters": {"group": ["fsh"]}}, "filters.group.0", "'fish'", "fsh"),
    (ANN | {"filters": {"group": []}}, "filters.group", "give at least one value", "list of 0"),
    (
        ANN | {"filters": {"group": {"fish": 1}}},
        "filters.group",
        "a value or a list of values",
        "object of 1",
    ),
    (ANN | {"diversity": -1}, "diversity", "must be at least 0", -1),
    (ANN | {"diversity": 1e3}, "diversity", "must be at most 100", 1e3),
    (ANN | {"kk": 5}, "kk", "unknown field; did you mean 'k'?", 5),
]


@pytest.fixture(scope="module")
def client(written_bundle, shop):
    """One client for all tests here, whose requests change nothing."""
    engine = shop.open_engine(written_bundle)
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        yield client
    engine.close()


@pytest.mark.parametrize(("body", "field", "said", "value"), REFUSED)
def test_a_bad_question_is_refused_by_field(client, body, field, said, value):
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 422
    assert answer.json().keys() == {"error"}
    error = answer.json()["error"]
    assert (error["field"], error["value"]) == (field, value)
    assert said in error["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": "ann"}, "candidates"),
        ({"user_id": "ann", "candidates": []}, "candidates"),
        ({"user_id": "ann", "candidates": ["wolf"]}, "candidates"),
        ({"user_id": "ann", "candidates": ["ant", "wolf"], "strict": True}, "candidates"),
        ({"user_id": "ann", "candidates": ["ant", ""]}, "candidates.1"),
        ({"user_id": "", "candidates": ["ant"]}, "user_id"),
        ({"user_id": "ann", "candidates": ["ant", "ant"]}, "candidates.1"),
        ({"user_id": "ann", "candidates": ["ant"] * 1001}, "candidates"),
        ({"candidates": ["ant"]}, "user_id"),
        ({"history": ["wolf"], "candidates": ["ant"], "strict": True}, "history"),
    ],
)
def test_a_bad_ranking_is_refused_by_field(client, body, field):
    answer = client.post("/v1/rank", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


@pytest.mark.parametrize("k", ["0", "501", "many"])
def test_bad_k_of_similar(client, k):
    answer = client.get("/v1/items/bee/similar", params={"k": k})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "k"
    assert answer.json()["error"]["value"] == k
    assert answer.json()["error"]["message"].startswith("must be ")


def test_an_unknown_query_parameter_is_refused(client):
    answer = client.get("/v1/items/bee/similar", params={"kk": "5"})
    assert answer.status_code == 422
    expected = {"field": "kk", "message": "unknown field; did you mean 'k'?", "value": "5"}
    assert answer.json()["error"] == expected


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("content", "said", "value"),
    [
        (b"{", "is not JSON: line 1, column 2: ", None),
        (
            b'{"user_id": "ann",\n "k": 3,, "strict": true}',
            "is not JSON: line 2, column 9: ",
            ', "strict": true}',
        ),
        (b"{\"user_id\": 'ann'}", "is not JSON: line 1, column 13: ", "'ann'}"),
        (b'{"user_id": "ann"', "is not JSON: line 1, column 18: ", None),
        (b"", "is empty; send a JSON object", None),
        (b"null", "is empty; send a JSON object", None),
        (b"[]", "must be a JSON object", "list of 0"),
        (b'"ann"', "must be a JSON object", "ann"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/rank"])
def test_a_body_that_is_no_object_is_refused_with_the_place_of_the_error(client, path, content, said, value):
    answer = client.post(path, content=content, headers=JSON)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["field"], error["value"]) == ("body", value)
    assert said in error["message"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'{"user_id": "\\ud800"}', "user_id"),
        (b'{"history": ["\\ud800"]}', "history.0.item"),
        (b'{"user_id": "ann", "exclude": ["ant", "\\ud800"]}', "exclude.1"),
        (b'{"user_id": "ann", "candidates": ["\\ud800"]}', "candidates.0"),
    ],
)
def test_half_a_surrogate_pair_is_refused(client, content, field):
    answer = client.post("/v1/recommend", content=content, headers=JSON)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["field"], error["value"]) == (field, "\\ud800")
    assert "is not valid Unicode" in error["message"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'{"history": [{"item": "ant", "event": "\\ud800"}]}', "history.0.event"),
        (b'{"user_id": "ann", "filters": {"group": ["\\ud800"]}}', "filters.group.0"),
        (b'{"user_id": "ann", "filters": {"\\ud800": ["fish"]}}', "filters.\\ud800"),
        (b'{"user_id": "ann", "\\ud800": 1}', "body"),
    ],
)
def test_half_a_surrogate_pair_as_an_unknown_name_is_shown_escaped(client, content, field):
    answer = client.post("/v1/recommend", content=content, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_a_body_of_another_content_type_is_refused(client):
    answer = client.post(
        "/v1/recommend", content=b'{"user_id": "ann"}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"user_id": "ann", "k": ' + b"9" * 5000 + b"}"])
def test_a_body_that_the_parser_gives_up_is_400(client, content):
    answer = client.post("/v1/recommend", content=content, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "body"
    assert "cannot be read as JSON" in answer.json()["error"]["message"]


def test_numbers_that_json_does_not_have_are_refused(client):
    content = b'{"history": [{"item": "ant", "value": NaN}]}'
    answer = client.post("/v1/recommend", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "history.0.value"
    assert answer.json()["error"]["value"] == "nan"
