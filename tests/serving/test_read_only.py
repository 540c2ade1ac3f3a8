"""A bundle in a folder that cannot be written: every command works, and says where the state is."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from walk_parts import recsys, refused

from features.dataset.values.id_encoding import IdMaps
from features.inputs.history_file import save_histories
from recsys.bundle.load import Bundle
from recsys.bundle.write import write_bundle
from recsys.errors import DataError
from recsys.ids import IdMap
from serving.engine import Engine
from serving.http import app
from serving.state import LiveEvent
from serving.swap import Holder

NOBODY = 65534
MAPS = IdMaps(kinds=IdMap(["view", "buy"]), profiles={"job": IdMap(["cook", "baker"])})


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in `folder` can be written; who is root acts as another user meanwhile."""
    paths = [folder, *folder.rglob("*")]
    is_root = os.geteuid() == 0
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can reach, with `out` in it that every user can write."""
    folder = Path(tempfile.mkdtemp(prefix="recsys-"))
    folder.chmod(0o755)
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run(place: Path, shop) -> Path:
    write_bundle(place / "run" / "bundle", shop.fill_bundle)
    users = {"ann": shop.history("ant"), "bob": shop.history("fox", "dog")}
    item_ids = Bundle.open(place / "run" / "bundle").item_ids
    save_histories(users, place / "run" / "histories.parquet", item_ids, MAPS)
    return place / "run"


def test_recommend_and_show_keep_the_state_in_memory(run: Path, place: Path) -> None:
    with read_only(run):
        made = recsys("recommend", run / "bundle", "--out", place / "out" / "recs.parquet", "-k", 5)
        shown = recsys("show", run / "bundle", "--user", "ann")
    assert (made.code, shown.code) == (0, 0), made.err + shown.err
    assert "recommendations for 2 users" in made.out
    assert "Recommended to ann" in shown.out
    assert sorted(path.name for path in run.iterdir()) == ["bundle", "histories.parquet"]


def test_serve_keeps_the_state_in_memory_and_warns(run: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("uvicorn.run", lambda application, **_: served.append(application.state.holder))
    served: list[Holder] = []
    with read_only(run):
        app.serve(run / "bundle")
    assert not served[0].current().engine.state.is_durable
    assert "kept in memory: users who are erased come back" in caplog.text
    assert "--state" in caplog.text
    caplog.clear()
    app.serve(run / "bundle")
    assert served[1].current().engine.state.is_durable
    assert not caplog.records


def test_a_named_state_is_used(run: Path, place: Path) -> None:
    state = place / "out" / "state.sqlite"
    with read_only(run):
        made = recsys("show", run / "bundle", "--user", "ann", "--state", state)
        assert made.code == 0, made.err
    assert state.is_file()


def test_a_named_state_that_cannot_be_written_is_an_error(run: Path) -> None:
    with read_only(run):
        message = refused("show", run / "bundle", "--state", run / "other.sqlite")
    assert f"{run / 'other.sqlite'}: the state's database cannot be written" in message
    assert "name a writable file with --state" in message


def test_erasures_of_the_file_hold_in_memory(run: Path) -> None:
    with Engine.open(run / "bundle") as engine:
        engine.state.delete_user("bob")
    with read_only(run), Engine.open(run / "bundle") as engine:
        assert not engine.state.is_durable
        assert list(engine.state.user_ids()) == ["ann"]


def test_events_of_the_file_are_read_and_new_ones_are_kept_in_memory(run: Path) -> None:
    def event(name: str, item: str) -> LiveEvent:
        return LiveEvent(event_id=name, user="ann", item=item, timestamp=10**15)

    with Engine.open(run / "bundle") as engine:
        engine.state.live.append_events([event("e1", "bee")])
    with read_only(run), Engine.open(run / "bundle") as engine:
        engine.state.live.append_events([event("e2", "cat")])
        (history,) = engine.state.histories(["ann"])
        assert history is not None
        assert history.item.tolist() == [2, 3, 4]
        assert not engine.state.live.is_durable


def test_a_state_that_a_killed_process_left_is_refused_with_the_remedy(run: Path) -> None:
    with Engine.open(run / "bundle"):
        left = (run / "state.sqlite-wal").read_bytes()
    (run / "state.sqlite-wal").write_bytes(left)
    with read_only(run), pytest.raises(DataError, match="open the state once where it can be written"):
        Engine.open(run / "bundle")


def test_a_state_in_memory_may_be_asked_for(run: Path) -> None:
    with Engine.open(run / "bundle", state=Path(":memory:")) as engine:
        assert engine.state.num_users() == 2
    assert not (run / "state.sqlite").exists()


def test_a_run_directory_stands_for_its_bundle(run: Path, place: Path) -> None:
    shown = recsys("show", run, "--user", "ann")
    made = recsys("recommend", run, "--out", place / "out" / "recs.parquet")
    assert (shown.code, made.code) == (0, 0), shown.err + made.err
    assert (run / "state.sqlite").is_file()


def test_the_last_line_tells_every_count(run: Path, place: Path) -> None:
    (place / "users.csv").write_text("user_id\nann\nnobody\nann\n")
    out = place / "out" / "recs.parquet"
    made = recsys("recommend", run, "--out", out, "-k", 5, "--users", place / "users.csv")
    assert made.out.strip().splitlines()[-1] == (
        f"10 recommendations for 2 users in {out}; unknown users: 1; repeated lines left out: 1."
    )
    made = recsys("recommend", run, "--out", out, "-k", 6, "--report", place / "out" / "short.parquet")
    assert f"9 recommendations for 2 users in {out}; users with fewer than 6 items: 2." in made.out
    assert "name a file that ends in .parquet" in refused("recommend", run, "--out", place / "recs.csv")
