"""Events over HTTP: durable, once each, and read by the next request of their user."""

import time

import pytest
from fastapi.testclient import TestClient

from recsys.errors import StateError
from serving.http.app import create_app
from serving.http.parts import AnswerSettings


def post(client, *events, status=200, **body):
    answer = client.post("/v1/events", json={"events": list(events), **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def event(item, user="ann", **more):
    return {"user_id": user, "item_id": item, **more}


def listed(client, user, **body):
    answer = client.post("/v1/recommend", json={"user_id": user, "k": 6, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]], answer.json()["degraded"]


def test_the_next_list_reads_the_event_and_leaves_out_its_item(client):
    before, _ = listed(client, "ann")
    assert before[:2] == ["bee", "cat"]  # ann's only event is on ant
    added = post(client, event("fox", event_id="1"))
    assert added == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [],
        "unknown_items": [],
        "unknown_events": [],
        "durable": False,  # the state of this test is in memory
    }
    after, degraded = listed(client, "ann")
    # The mean of ant (0 rad) and fox (1.5 rad) is at 0.75 rad, where dog is.
    assert (after[0], sorted(after), degraded) == ("dog", ["bee", "cat", "dog", "eel"], [])


def test_a_user_never_seen_in_training_is_answered_from_their_events(client):
    assert listed(client, "eve")[1] == ["unknown_user: popularity"]
    post(client, event("fox", "eve"))
    items, degraded = listed(client, "eve")
    assert (items[0], degraded) == ("eel", [])
    assert "fox" not in items
    assert "fox" in listed(client, "eve", exclude_seen=False)[0]


def test_a_repeated_event_counts_once(client, engine):
    first = [event("fox", event_id="1"), event("eel", event_id="2"), event("fox", event_id="1")]
    assert post(client, *first)["duplicates"] == 1
    again = post(client, *first, event("dog", event_id="3"))
    assert (again["accepted"], again["duplicates"]) == (1, 3)
    dated = event("bee", timestamp="2026-03-01T12:00:00Z")  # without an id of its own
    assert [post(client, dated)["accepted"] for _ in range(2)] == [1, 0]
    assert len(engine.state.histories(["ann"])[0]) == 1 + 4


def test_one_bad_entry_stores_nothing_and_all_are_named(client, engine):
    late = time.time() + 40 * 86_400
    refused = post(
        client,
        event("fox"),
        event("fox", value="much", evnt="view"),
        event("fox", timestamp=late),
        event("fox", timestamp="1969-12-31T23:59:59Z"),
        event(" "),
        "fox",
        status=422,
    )
    assert [(each["index"], each["field"]) for each in refused["rejected"]] == [
        (1, "events.1.value"),
        (1, "events.1.evnt"),
        (2, "events.2.timestamp"),
        (3, "events.3.timestamp"),
        (4, "events.4.item_id"),
        (5, "events.5"),
    ]
    said = [each["message"] for each in refused["rejected"]]
    assert "did you mean 'event'?" in said[1]
    assert said[2] == "is 40 days in the future; give the time at which it happened, in seconds"
    assert said[3].startswith("is before 1970")
    assert refused["error"]["field"] == "events.1.value"
    assert engine.state.live.is_empty()


def test_without_atomic_the_valid_entries_are_stored(client, engine):
    kept = post(client, event("fox"), event("fox", value="much"), event("eel"), atomic=False)
    assert (kept["accepted"], [each["field"] for each in kept["rejected"]]) == (2, ["events.1.value"])
    assert [each.item for each in engine.state.live.events()] == ["fox", "eel"]
    assert post(client, "fox", status=422, atomic=False)["rejected"][0]["index"] == 0


def test_unknown_items_and_kinds_are_stored_named_and_skipped(client, engine):
    added = post(client, event("wolf", event="share"), event("fox", event="share"))
    assert (added["accepted"], added["unknown_items"], added["unknown_events"]) == (2, ["wolf"], ["share"])
    (history,) = engine.state.histories(["ann"])
    assert (history.item.tolist(), history.event.tolist()) == ([2, 7], [2, 1])
    post(client, event("wolf", "eve"))
    assert listed(client, "eve") == (
        ["ant", "bee", "cat", "dog", "eel", "fox"],
        ["unknown_items: popularity"],
    )


def test_fields_of_a_user_are_set(client, engine):
    answer = client.put("/v1/users/eve/x", json={"fields": {"job": ["baker"], "town": ["Rome"]}})
    assert answer.json() == {"user_id": "eve/x", "unknown_fields": ["town"]}
    (history,) = engine.state.histories(["eve/x"])
    assert (len(history), history.profile["job"].tolist()) == (0, [3])


def test_an_erased_user_is_unknown(client, engine):
    post(client, event("fox"))
    assert client.delete("/v1/users/ann").json() == {"user_id": "ann", "was_known": True}
    assert client.delete("/v1/users/ann").json() == {"user_id": "ann", "was_known": False}
    assert listed(client, "ann")[1] == ["unknown_user: popularity"]
    assert "ann" not in list(engine.state.user_ids())


def test_impressions_of_an_erased_user_are_gone_also_those_that_wait(client, engine):
    for user in ("ann", "bob"):
        listed(client, user)
    client.delete("/v1/users/ann")
    engine.state.close = lambda: None
    engine.state._impressions.close()
    assert [each.user for each in engine.state.live.impressions()] == ["bob"]


def test_every_answer_is_logged_under_its_request_id(client, engine):
    first = client.post("/v1/recommend", json={"user_id": "ann", "k": 2}).json()
    second = client.post("/v1/rank", json={"history": ["ant"], "candidates": ["fox", "bee"]}).json()
    client.post("/v1/recommend", json={"user_id": "nobody", "k": 1})
    engine.state._impressions.flush()
    kept = list(engine.state.live.impressions())
    assert [each.request_id for each in kept[:2]] == [first["request_id"], second["request_id"]]
    assert [each.user for each in kept] == ["ann", None, "nobody"]
    assert kept[0].items == ("bee", "cat")
    assert kept[0].scores == tuple(item["score"] for item in first["items"])
    assert (kept[0].sources, kept[0].propensities) == (("history",) * 2, (1.0, 1.0))
    assert kept[0].bundle == engine.bundle.version
    assert kept[2].sources == ("popularity",)
    assert post(client, event("bee", request_id=first["request_id"]))["accepted"] == 1


def test_impressions_can_be_switched_off(engine):
    with TestClient(create_app(engine, answers=AnswerSettings(log_impressions=False))) as client:
        assert client.post("/v1/recommend", json={"user_id": "ann"}).json()["request_id"]
    engine.state._impressions.flush()
    assert list(engine.state.live.impressions()) == []


def test_a_state_that_does_not_answer_is_503_and_may_be_asked_again(client, engine, monkeypatch):
    def fails(events):
        raise StateError("state.sqlite: the state cannot be written: disk I/O error")

    monkeypatch.setattr(engine.state.live, "append_events", fails)
    answer = client.post("/v1/events", json={"events": [event("fox")]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "cannot be written" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [{"events": []}, {"events": "fox"}, {}, {"events": [{}] * 10_001}])
def test_a_body_without_events_is_refused(client, body):
    answer = client.post("/v1/events", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "events")


def test_openapi_names_entries_and_answers(client):
    schema = client.get("/openapi.json").json()
    entry = schema["components"]["schemas"]["EventEntry"]
    assert set(entry["required"]) == {"user_id", "item_id"}
    responses = schema["paths"]["/v1/events"]["post"]["responses"]
    assert set(responses) >= {"200", "400", "422", "503"}
    assert responses["422"]["content"]["application/json"]["schema"]["$ref"].endswith("EventsRefused")
    assert set(schema["paths"]["/v1/users/{user_id}"]) == {"put", "delete"}
