"""Where a run is tracked: what names it, and that it is found after a move and from another folder."""

import json
import shutil
from pathlib import Path

import pytest

from training.tracking.places import Place, Places, database_of, uri_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "shop").mkdir(parents=True)
    return tmp_path / "runs" / "shop"


def places(run: Path) -> Places:
    return Places(run / "tracking" / "delivered.json", run)


def used(run: Path, asked: str | None) -> Place:
    """A place to which something was sent."""
    opened = places(run)
    place = opened.choose(asked)
    place.num_bytes, place.run_ids[""] = 7, "0" * 32
    if place.database is not None:
        place.database.parent.mkdir(parents=True, exist_ok=True)
        place.database.write_text("")
    opened.save(place)
    return place


def test_by_default_beside_the_run_directory(run: Path) -> None:
    assert places(run).choose(None).uri == f"sqlite:///{run.parent}/mlflow.db"


def test_the_configuration_comes_before_the_variable(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000/")
    assert places(run).choose(None).uri == "http://there:5000"
    assert places(run).choose("http://here").uri == "http://here"


def test_the_place_of_the_last_time_is_taken_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    used(run, None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    again = places(run).choose(None)
    assert (again.uri, again.num_bytes) == ("http://there:5000", 7)


def test_a_relative_file_is_the_same_from_another_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    used(run, "sqlite:///mine.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = places(run).choose("sqlite:///mine.db")
    assert (again.database, again.num_bytes) == (tmp_path / "mine.db", 7)


@pytest.mark.parametrize("asked", [None, "absolute"])
def test_what_moves_together_is_found(run: Path, tmp_path: Path, asked: str | None) -> None:
    used(run, f"sqlite:///{run.parent}/mlflow.db" if asked else None)
    shutil.move(run.parent, tmp_path / "moved")
    again = places(tmp_path / "moved" / "shop").choose(None)
    assert (again.database, again.num_bytes) == (tmp_path / "moved" / "mlflow.db", 7)


def test_a_run_that_moves_alone_goes_on_where_it_was_tracked(run: Path, tmp_path: Path) -> None:
    used(run, None)
    shutil.move(run, tmp_path / "far" / "shop")
    again = places(tmp_path / "far" / "shop").choose(None)
    assert (again.database, again.num_bytes) == (tmp_path / "runs" / "mlflow.db", 7)


def test_a_run_that_lost_its_file_in_a_move_starts_one_beside_it(run: Path, tmp_path: Path) -> None:
    used(run, None)
    shutil.move(run, tmp_path / "far" / "shop")
    shutil.rmtree(tmp_path / "runs")
    again = places(tmp_path / "far" / "shop").choose(None)
    assert (again.database, again.num_bytes, again.run_ids) == (tmp_path / "far" / "mlflow.db", 0, {})


def test_of_a_file_that_is_gone_nothing_is_known(run: Path) -> None:
    database = used(run, None).database
    assert database is not None
    database.unlink()
    again = places(run).choose(None)
    assert (again.database, again.num_bytes, again.run_ids) == (database, 0, {})


def test_a_password_is_used_and_never_written(run: Path) -> None:
    address = "https://me:secret@there/mlflow"
    used(run, address)
    opened = places(run)
    assert opened.address(opened.choose(address)) == address
    assert "secret" not in (run / "tracking" / "delivered.json").read_text()


def test_several_places_keep_their_own_count(run: Path) -> None:
    used(run, "http://one")
    used(run, f"sqlite:///{run.parent}/mlflow.db")
    assert places(run).choose("http://one").num_bytes == 7
    assert places(run).choose("http://two").num_bytes == 0
    assert set(json.loads((run / "tracking" / "delivered.json").read_text())["places"]) == {
        "http://one",
        f"sqlite:///{run.parent}/mlflow.db",
    }


def test_a_question_mark_in_a_path_is_part_of_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a? 100%" / "mlflow.db"
    assert uri_of(path).endswith("/a%3F 100%25/mlflow.db")
    assert database_of(uri_of(path)) == path
    assert database_of("http://there") is None
    assert database_of("sqlite:////data/a.db?timeout=3") == Path("/data/a.db")


def test_a_copy_does_not_move_the_run(run: Path, tmp_path: Path) -> None:
    used(run, None)
    opened = places(run)
    copy = opened.choose(f"sqlite:///{tmp_path}/t2.db", is_copy=True)
    opened.save(copy)
    assert places(run).choose(None).database == run.parent / "mlflow.db"


def test_a_copy_of_a_run_that_was_tracked_nowhere_is_its_place(run: Path) -> None:
    opened = places(run)
    copy = opened.choose("http://there:5000", is_copy=True)
    opened.save(copy)
    opened.save(copy)
    assert places(run).choose(None).uri == "http://there:5000"


def test_a_copy_from_a_moved_run_leaves_it_where_it_is_now(run: Path, tmp_path: Path) -> None:
    used(run, None)
    shutil.move(run.parent, tmp_path / "moved")
    moved = tmp_path / "moved" / run.name
    opened = places(moved)
    opened.save(opened.choose(f"sqlite:///{tmp_path}/moved/mlflow.db", is_copy=True))
    again = places(moved).choose(None)
    assert (again.database, again.num_bytes) == (tmp_path / "moved" / "mlflow.db", 7)
