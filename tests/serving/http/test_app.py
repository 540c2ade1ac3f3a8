"""The endpoint: the same answers as everywhere, and errors that name the field."""

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from recsys.bundle.write import write_bundle
from serving.batch import BatchRequest, recommend_to_parquet
from serving.http.app import create_app


def ask(client, **body):
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(answer):
    return [item["item_id"] for item in answer["items"]]


def test_a_known_user_gets_a_list_with_its_circumstances(client, engine):
    answer = ask(client, user_id="ann", k=2)
    first, second = answer["items"]
    assert (first["item_id"], first["title"], first["rank"]) == ("bee", "Bee", 1)
    assert (second["item_id"], second["rank"]) == ("cat", 2)
    assert first["score"] > second["score"]
    assert first["reason"] == {
        "text": 'because you chose "Ant"; most telling: its picture',
        "past_item": "ant",
        "modality": "image",
    }
    assert answer["model"]["version"] == engine.bundle.version
    assert answer["model"]["dataset"] == "zoo"
    cpu = ["CPUExecutionProvider"]
    assert answer["providers"] == {"user_tower": cpu, "ranker": cpu}
    assert answer["degraded"] == []


def test_lists_equal_those_of_the_batch(client, engine, tmp_path):
    recommend_to_parquet(engine, BatchRequest(k=4), tmp_path / "out.parquet")
    batch = pl.read_parquet(tmp_path / "out.parquet")
    assert batch["user_id"].n_unique() == 3
    for (user,), group in batch.group_by("user_id"):
        answer = ask(client, user_id=user, k=4)
        assert names(answer) == group.sort("rank")["item_id"].to_list()
        scores = [item["score"] for item in answer["items"]]
        np.testing.assert_allclose(scores, group.sort("rank")["score"], rtol=1e-5)


@pytest.mark.parametrize(
    "history",
    [
        ["ant"],
        [{"item": "ant"}],
        [{"item": "ant", "timestamp": 1700000000, "event": "buy", "value": 4}],
        [{"item": "ant", "timestamp": "2026-03-01T12:00:00+01:00"}],
    ],
)
def test_a_posted_history_is_answered_like_the_users_own(client, history):
    assert names(ask(client, history=history, k=3)) == names(ask(client, user_id="ann", k=3))


def test_times_put_a_history_in_order(client, engine):
    entries = [
        {"item": "fox", "timestamp": "2026-03-02"},
        {"item": "ant", "timestamp": 1},
    ]
    read = engine.request_reader.history
    seen = []
    engine.request_reader.history = lambda events, **_: seen.append(read(events)) or seen[-1]
    ask(client, history=entries)
    assert seen[0][0].item.tolist() == [2, 7]
    assert seen[0][0].timestamp.tolist() == [1_000_000, 1_772_409_600_000_000]


def test_an_unknown_user_gets_what_is_popular_and_is_told(client):
    answer = ask(client, user_id="nobody", k=2)
    assert names(answer) == ["ant", "bee"]
    assert answer["degraded"] == ["unknown_user: popularity"]
    assert [item["reason"] for item in answer["items"]] == [None, None]
    assert ask(client, user_id="new")["degraded"] == ["empty_history: popularity"]


def test_unknown_items_of_a_history_are_ignored_and_named(client):
    answer = ask(client, history=["wolf", "ant", {"item": "bear"}, "wolf"], k=3)
    assert names(answer) == names(ask(client, history=["ant"], k=3))
    assert (answer["ignored"], answer["degraded"]) == (["wolf", "bear"], [])
    assert ask(client, history=["ant"])["ignored"] == []


def test_a_history_of_unknown_items_is_answered_like_an_unknown_user(client):
    answer = ask(client, history=["wolf", "bear"], k=3)
    unknown = ask(client, user_id="nobody", k=3)
    assert answer["items"] == unknown["items"]
    assert answer["degraded"] == [unknown["degraded"][0].replace("unknown_user", "unknown_items")]
    assert answer["ignored"] == ["wolf", "bear"]
    body = {"history": ["wolf"], "candidates": ["fox", "cat"]}
    ranked = client.post("/v1/rank", json=body).json()
    assert (names(ranked), ranked["ignored"]) == (["cat", "fox"], ["wolf"])
    assert ranked["degraded"][0].startswith("unknown_items: ")


def test_an_empty_history_is_answered_like_a_user_without_events(client):
    answer = ask(client, history=[], k=3)
    assert answer["items"] == ask(client, user_id="new", k=3)["items"]
    assert (answer["degraded"], answer["ignored"]) == (["empty_history: popularity"], [])
    ranked = client.post("/v1/rank", json={"history": [], "candidates": ["fox", "cat"]}).json()
    assert (names(ranked), ranked["degraded"]) == (["cat", "fox"], ["empty_history: popularity"])


def test_unknown_candidates_are_ignored_and_named(client):
    answer = ask(client, user_id="ann", candidates=["wolf", "eel", "bear", "dog"], exclude=["elk", "wolf"])
    assert (names(answer), answer["ignored"]) == (["dog", "eel"], ["elk", "wolf", "bear"])
    body = {"user_id": "ann", "candidates": ["fox", "wolf", "cat"]}
    ranked = client.post("/v1/rank", json=body)
    assert ranked.status_code == 200
    assert (names(ranked.json()), ranked.json()["ignored"]) == (["cat", "fox"], ["wolf"])


def test_excluded_items_are_left_out_of_every_list(client):
    answer = ask(client, user_id="ann", k=2, exclude=["bee", "wolf"])
    assert (names(answer), answer["ignored"]) == (["cat", "dog"], ["wolf"])
    assert names(ask(client, user_id="nobody", k=2, exclude=["ant"])) == ["bee", "cat"]
    more = {"filters": {"group": ["mammal"]}, "exclude": ["dog"]}
    assert names(ask(client, user_id="ann", **more)) == ["cat", "fox"]


def test_a_body_that_is_not_utf8(client):
    for path in ("/v1/recommend", "/v1/rank"):
        answer = client.post(
            path, content=b'{"user_id": "\xff"}', headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400
        assert answer.json()["error"]["field"] == "body"
        assert "is not UTF-8" in answer.json()["error"]["message"]
        documented = client.get("/openapi.json").json()["paths"][path]["post"]["responses"]
        assert set(documented) == {"200", "400", "401", "403", "409", "413", "422", "429", "503"}
        assert documented["400"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")


def test_a_state_that_does_not_answer_is_503_and_says_why(client, engine):
    engine.state.close()
    answer = client.post("/v1/recommend", json={"user_id": "ann"})
    assert answer.status_code == 503
    assert "the state cannot be read" in answer.json()["error"]["message"]


def test_filters_candidates_and_repeats(client):
    assert names(ask(client, user_id="ann", filters={"group": ["mammal"]})) == ["cat", "dog", "fox"]
    assert names(ask(client, user_id="ann", candidates=["eel", "ant", "dog"])) == ["dog", "eel"]
    assert names(ask(client, user_id="ann", k=1, exclude_seen=False)) == ["ant"]
    assert names(ask(client, user_id="ann", candidates=["ant"])) == []


def test_more_than_there_is_gives_what_there_is(client):
    answer = ask(client, user_id="ann", k=500)
    assert names(answer) == ["bee", "cat", "dog", "eel", "fox"]
    assert answer["items"][3]["title"] is None


def test_diversity_changes_the_order(client):
    assert names(ask(client, user_id="ann", k=2, diversity=100.0)) != names(ask(client, user_id="ann", k=2))


def test_a_varied_answer_holds_each_item_once_and_no_more_than_there_is(client):
    some = {"user_id": "ann", "k": 10, "diversity": 0.3}
    assert sorted(names(ask(client, **some))) == ["bee", "cat", "dog", "eel", "fox"]
    assert sorted(names(ask(client, **some, filters={"group": ["mammal"]}))) == ["cat", "dog", "fox"]


def test_rank_orders_every_candidate(client):
    body = {"user_id": "bob", "candidates": ["ant", "fox", "cat"]}
    answer = client.post("/v1/rank", json=body).json()
    assert names(answer) == ["cat", "ant", "fox"]  # fox is cold
    assert answer["degraded"] == []
    body = {"history": ["ant"], "candidates": ["fox", "cat"]}
    assert names(client.post("/v1/rank", json=body).json()) == ["cat", "fox"]
    body = {"user_id": "nobody", "candidates": ["fox", "cat"]}
    answer = client.post("/v1/rank", json=body).json()
    assert (names(answer), answer["degraded"]) == (["cat", "fox"], ["unknown_user: popularity"])


def test_similar_items(client):
    answer = client.get("/v1/items/bee/similar", params={"k": 2}).json()
    assert names(answer) == ["ant", "cat"]
    assert answer["item_id"] == "bee"
    assert answer["items"][0]["score"] == pytest.approx(np.cos(0.2), abs=1e-5)


def test_an_unknown_item_is_not_found(client):
    answer = client.get("/v1/items/be/similar")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {"field": "item_id", "message": "unknown item; did you mean 'bee'?", "value": "be"}
    }


def test_an_id_may_hold_a_slash(client):
    error = client.get("/v1/items/a%2Fb/similar").json()["error"]
    assert (error["field"], error["value"]) == ("item_id", "a/b")


ANN = {"user_id": "ann"}


def test_other_errors_have_the_same_body(client, engine):
    assert client.get("/v1/nothing").json()["error"]["message"] == "Not Found: GET /v1/nothing"
    assert client.get("/v1/recommend").status_code == 405

    def breaks(*args, **kwargs):
        raise RuntimeError("a secret")

    engine.recommender.recommend = breaks
    answer = client.post("/v1/recommend", json=ANN)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["field"] is None


def test_health_and_readiness(client, engine):
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["num_items"], ready["num_users"]) == ("ready", 6, 3)
    assert ready["ran_on"] == {"user_tower": None, "ranker": None}
    ask(client, user_id="ann")
    assert client.get("/readyz").json()["ran_on"] == {"user_tower": "cpu", "ranker": "cpu"}
    assert ready["model"]["version"] == engine.bundle.version
    engine.state.close()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "error" in answer.json()


def test_documentation_names_every_path_and_error(client):
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/recommend",
        "/v1/rank",
        "/v1/events",
        "/v1/users/{user_id}",
        "/v1/about",
        "/v1/facets",
        "/v1/items/{item_id}",
        "/v1/items/{item_id}/image",
        "/v1/items/{item_id}/similar",
        "/v1/items:batch",
        "/v1/search",
        "/v1/suggest",
        "/v1/admin/bundle",
        "/v1/admin/rollback",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert {"401", "403", "413", "429"} <= paths["/v1/recommend"]["post"]["responses"].keys()
    assert "security" not in paths["/healthz"]["get"]
    refused = paths["/v1/recommend"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused["$ref"].endswith("/ErrorBody")


def test_the_documented_examples_are_answered_or_refused_by_unknown_names_only(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name, path in (("RecommendRequest", "/v1/recommend"), ("RankRequest", "/v1/rank")):
        assert schemas[name]["examples"]
        for example in schemas[name]["examples"]:
            answer = client.post(path, json=example)
            if answer.status_code != 200:  # this shop has none of the example's candidates and fields
                error = answer.json()["error"]
                assert error["message"].startswith(("unknown field", "none of these is in"))


def test_many_at_once_answer_as_one_by_one(client):
    from concurrent.futures import ThreadPoolExecutor

    alone = {user: ask(client, user_id=user) for user in ("ann", "bob", "nobody")}
    with ThreadPoolExecutor(8) as pool:
        users = [*alone] * 10
        answers = list(pool.map(lambda user: ask(client, user_id=user), users))
    assert len({answer.pop("request_id") for answer in [*answers, *alone.values()]}) == len(users) + 3
    assert answers == [alone[user] for user in users]


def test_without_a_ranker_there_is_no_reason(shop, tmp_path):
    write_bundle(tmp_path / "bundle", lambda at: shop.fill_bundle(at, ranker=False))
    client = TestClient(create_app(shop.open_engine(tmp_path / "bundle")))
    answer = ask(client, user_id="ann", k=1)
    assert (names(answer), answer["items"][0]["reason"]) == (["bee"], None)


def test_reasons_by_leave_one_out_by_attention_and_none(client):
    def reasons(**asked):
        items = ask(client, history=["ant", "fox"], k=4, **asked)["items"]
        return {item["item_id"]: item["reason"] and item["reason"]["past_item"] for item in items}

    by_default = reasons()
    assert by_default == reasons(reasons="leave_one_out")
    assert (by_default["bee"], by_default["eel"]) == ("ant", "fox"), "they are next to each other"
    assert set(reasons(reasons="attention").values()) <= {"ant", "fox"}
    assert set(reasons(reasons="none").values()) == {None}
    refused = client.post("/v1/recommend", json={"history": ["ant"], "reasons": "all"}).json()["error"]
    assert refused["field"] == "reasons"
    assert "'attention'" in refused["message"]
