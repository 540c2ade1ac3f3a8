"""Live rows and histories of training as one state: over bundles, openings and erasures."""

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from features.dataset.values.id_encoding import IdMaps
from features.inputs.history_file import save_histories
from recsys.bundle.load import Bundle
from recsys.bundle.write import write_bundle
from recsys.ids import IdMap
from serving.engine import Engine
from serving.http.app import create_app
from serving.state import LiveEvent

MAPS = IdMaps(kinds=IdMap(["view", "buy"]), profiles={"job": IdMap(["cook", "baker"])})


@pytest.fixture
def run(shop, tmp_path):
    """The folder of a run with a bundle and the histories of two users."""
    write_bundle(tmp_path / "run" / "bundle", shop.fill_bundle)
    users = {"ann": shop.history("ant"), "somebody-by-name": shop.history("fox", "dog")}
    save_histories(
        users,
        tmp_path / "run" / "histories.parquet",
        Bundle.open(tmp_path / "run" / "bundle").item_ids,
        MAPS,
    )
    return tmp_path / "run"


def opened(run, **options):
    return Engine.open(run / "bundle", **options)


def event(number, user, item, at=10**15):
    return LiveEvent(event_id=f"e{number}", user=user, item=item, timestamp=at, kind="view")


def items(engine, user):
    (history,) = engine.state.histories([user])
    return None if history is None else engine.bundle.item_ids.decode(history.item)


def test_events_outlive_the_process_and_are_seen_by_others(run):
    with opened(run) as one, opened(run) as other:
        one.state.live.append_events([event(1, "ann", "bee"), event(2, "eve", "cat")])
        assert items(other, "ann") == ["ant", "bee"]
        assert list(other.state.user_ids()) == ["ann", "eve", "somebody-by-name"]
        assert other.state.num_users() == 3
    with opened(run) as engine:
        assert (items(engine, "ann"), items(engine, "eve")) == (["ant", "bee"], ["cat"])


def test_a_new_bundle_reads_the_events_in_its_own_ids(shop, run, tmp_path):
    def fill(directory):
        values = shop.fill_bundle(directory)
        names = ["fox", "eel", "dog", "cat", "bee", "ant"]
        IdMap(names).save(directory / "item_ids.npy")
        catalogue = pl.read_parquet(directory / "catalogue.parquet")
        catalogue.with_columns(item_id=pl.Series(names)).write_parquet(directory / "catalogue.parquet")
        return values

    with opened(run) as engine:
        engine.state.live.append_events([event(1, "ann", "bee"), event(2, "eve", "cat")])
        before = engine.state.histories(["eve"])[0].item.tolist()
    write_bundle(tmp_path / "new" / "bundle", fill)
    with Engine.open(tmp_path / "new" / "bundle", state=run / "state.sqlite") as engine:
        (history,) = engine.state.histories(["eve"])
        assert (before, history.item.tolist()) == ([4], [5])
        assert items(engine, "ann") == ["bee"]  # the new bundle has no histories of training beside it


def test_an_event_that_was_ingested_and_trained_on_counts_once(shop, run):
    with opened(run) as engine:
        engine.state.live.append_events([event(1, "ann", "bee", at=60_400_000), event(2, "ann", "cat")])
    bundle = Bundle.open(run / "bundle")
    users = {"ann": shop.history("ant", "bee")}  # bee at 60 s
    save_histories(users, run / "histories.parquet", bundle.item_ids, MAPS)
    with opened(run) as engine:
        assert items(engine, "ann") == ["ant", "bee", "cat"]


def test_an_erased_user_leaves_no_bytes_in_any_file_of_the_state(run, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    with opened(run, state=state / "state.sqlite") as engine, TestClient(create_app(engine)) as client:
        body = {"user_id": "somebody-by-name", "item_id": "bee", "review": "my words"}
        assert client.post("/v1/events", json={"events": [body]}).json()["accepted"] == 1
        client.put("/v1/users/somebody-by-name", json={"fields": {"job": ["cook"]}})
        client.post("/v1/recommend", json={"user_id": "somebody-by-name"})
        assert found(state, b"somebody-by-name")
        assert found(state, b"my words")
        assert client.delete("/v1/users/somebody-by-name").json()["was_known"] is True
        for name in (b"somebody-by-name", b"my words"):
            assert not found(state, name)
    assert not found(state, b"somebody-by-name")


def found(folder, name):
    return [path.name for path in folder.iterdir() if name in path.read_bytes()]


def test_a_later_import_leaves_an_erased_user_out_who_may_come_back(shop, run):
    with opened(run) as engine:
        engine.state.live.append_events([event(1, "ann", "bee")])
        engine.state.delete_user("ann")
        engine.state.live.append_events([event(2, "ann", "cat")])
    bundle = Bundle.open(run / "bundle")
    users = {"ann": shop.history("ant", profile={"job": np.array([3])})}
    save_histories(users, run / "histories.parquet", bundle.item_ids, MAPS)
    with opened(run) as engine:
        assert items(engine, "ann") == ["cat"]
        assert engine.state.num_users() == 1


def test_impressions_are_written_at_the_latest_when_the_engine_closes(run):
    with opened(run) as engine, TestClient(create_app(engine)) as client:
        name = client.post("/v1/recommend", json={"user_id": "ann"}).json()["request_id"]
    with opened(run) as engine:
        assert [each.request_id for each in engine.state.live.impressions()] == [name]
