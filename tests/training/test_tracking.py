"""The tracker with MLflow on SQLite, and the tracker that stores nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.config import TrackConfig
from recsys.errors import ConfigError
from training.tracking import MlflowTracker, NullTracker, Tracker, make_tracker


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for the module, because creating its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'track.db'}"


@pytest.fixture(autouse=True)
def _no_outer_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def held(uri: str, run_id: str | None) -> Any:
    from training.tracking import _connect

    assert run_id is not None
    return _connect(uri).get_run(run_id)


def files(run: Any) -> dict[str, str]:
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(params=["null", "mlflow"])
def tracker(request: pytest.FixtureRequest, uri: str) -> Iterator[Tracker]:
    made: Tracker = NullTracker() if request.param == "null" else MlflowTracker(uri, "contract", "run")
    with made as opened:
        yield opened


def test_contract_every_call_is_taken(tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert tracker.log_params({"train.epochs": 3, "name": None, "k": (10, 20)}) is None  # type: ignore[func-returns-value]
    tracker.log_metrics({"ndcg@10": 0.5}, step=1)
    tracker.log_metrics({})
    tracker.log_artifact(tmp_path / "a.txt")
    tracker.log_artifact(tmp_path, "all")
    tracker.log_text("text", "notes/b.txt")
    assert (tracker.run_id is None) == isinstance(tracker, NullTracker)


def test_what_mlflow_holds_afterwards(uri: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("C")
    with MlflowTracker(uri, "shop", "first") as tracker:
        tracker.log_params({"train.epochs": 3, "k": (10, 20), **{f"p{n}": n for n in range(120)}})
        tracker.log_metrics({"warm/als/ndcg@10": 0.25, "a+b": 1})
        for step, loss in enumerate([3.0, 2.0, 1.0]):
            tracker.log_metrics({"loss": loss}, step)
        tracker.log_artifact(tmp_path / "a.txt", "files")
        tracker.log_artifact(tmp_path / "sub")
        tracker.log_text("B", "notes/b.txt")
        assert held(uri, tracker.run_id).info.status == "RUNNING"
    run = held(uri, tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params["train.epochs"] == "3"
    assert run.data.params["k"] == "(10, 20)"
    assert run.data.params["p119"] == "119"
    assert run.data.metrics == {"warm/als/ndcg_at_10": 0.25, "a_b": 1, "loss": 1.0}
    assert files(run) == {"files/a.txt": "A", "c.txt": "C", "notes/b.txt": "B"}
    beside = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(beside)


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_breaks_off_says_so(uri: str, error: type[BaseException], status: str) -> None:
    tracker = MlflowTracker(uri, "shop", "broken")
    with pytest.raises(error), tracker:
        raise error
    assert held(uri, tracker.run_id).info.status == status


def test_goes_on_with_an_earlier_run(uri: str) -> None:
    with MlflowTracker(uri, "shop", "train") as first:
        first.log_metrics({"loss": 1.0})
    with make_tracker(TrackConfig(uri=uri), "evaluate", run_id=first.run_id) as second:
        second.log_metrics({"ndcg@10": 0.5})
        assert held(uri, first.run_id).info.status == "RUNNING"
    assert second.run_id == first.run_id
    run = held(uri, first.run_id)
    assert run.data.metrics == {"loss": 1.0, "ndcg_at_10": 0.5}
    assert run.info.status == "FINISHED"


def test_joins_the_run_of_mlflow_run_and_leaves_it_open(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = MlflowTracker(uri, "outer", "mlflow run").__enter__()
    outer.log_params({"dataset": "demo/shop", "preset": "fast"})
    assert outer.run_id is not None
    monkeypatch.setenv("MLFLOW_RUN_ID", outer.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with make_tracker(TrackConfig(), "inner") as inner:
        assert inner.run_id == outer.run_id
        inner.log_params({"dataset": "shop", "preset": "fast"})
        inner.log_metrics({"loss": 1.0})
    run = held(uri, outer.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"loss": 1.0}
    # The first value is kept, another value gets its own key, an equal value adds none.
    assert run.data.params == {"dataset": "demo/shop", "preset": "fast", "recsys.dataset": "shop"}


def test_a_run_that_is_not_there_is_an_error_with_a_remedy(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(ConfigError, match=r"(?s)0{32}.*MLFLOW_RUN_ID.*track\.enabled=false"):
        make_tracker(TrackConfig(uri=uri), "x").__enter__()


def test_a_refused_address_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)MLflow cannot open.*track\.uri"):
        MlflowTracker(str(tmp_path / "mlruns"), "x", "y").__enter__()


def test_a_disabled_tracker_stores_nothing() -> None:
    assert isinstance(make_tracker(TrackConfig(enabled=False), "x"), NullTracker)


def test_mlflow_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from training.tracking import make_tracker; from recsys.config import TrackConfig\n"
        "with make_tracker(TrackConfig(enabled=False), 'x') as t: t.log_metrics({'a': 1})\n"
        "make_tracker(TrackConfig(), 'x')\n"
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
