"""A tracked run against a real MLflow on SQLite: what arrives, and that nothing MLflow does ends a step."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tracking_parts import TrackedRun, artifacts_of, take_steps

from recsys.errors import ConfigError, TrackingError
from training.tracking import connect, deliver_now


class TestWhatArrives:
    def test_one_run_with_a_run_for_each_step(self, run: TrackedRun, uri: str) -> None:
        take_steps(run, uri)
        parent = run.held(uri=uri)
        assert parent.info.run_name == "shop/run"
        assert parent.info.status == "FINISHED"
        for step in ("train", "evaluate"):
            child = run.held(step, uri)
            assert child.info.run_name == step
            assert child.info.status == "FINISHED"
            assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert child.info.start_time >= parent.info.start_time
            assert parent.info.end_time >= child.info.end_time

    def test_parameters_metrics_and_files(self, run: TrackedRun, uri: str) -> None:
        take_steps(run, uri)
        parent, train, evaluate = run.held(uri=uri), run.held("train", uri), run.held("evaluate", uri)
        assert parent.data.params["train.epochs"] == "3"
        assert parent.data.params["k"] == "(10, 20)"
        assert parent.data.params["p119"] == "119"
        seconds = {name for name in parent.data.metrics if name.startswith("seconds/")}
        assert seconds == {"seconds/train", "seconds/evaluate"}
        assert (
            parent.data.metrics["warm/als/ndcg_at_10"] == evaluate.data.metrics["warm/als/ndcg_at_10"] == 0.25
        )
        assert evaluate.data.metrics["a_b"] == 1
        assert "main/loss" not in evaluate.data.metrics
        for each in (parent, train):
            history = connect(uri).get_metric_history(each.info.run_id, "main/loss")
            assert [(entry.step, entry.value) for entry in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
        assert artifacts_of(parent) == {
            "config.toml": "a = 1",
            "bundle/manifest.json": "{}",
            "notes/b.txt": "B",
        }
        beside = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
        assert Path(parent.info.artifact_uri.removeprefix("file://")).is_relative_to(beside)

    def test_the_dataset_with_its_fingerprint(self, run: TrackedRun, uri: str) -> None:
        take_steps(run, uri)
        (given,) = run.held(uri=uri).inputs.dataset_inputs
        assert given.dataset.name == "shop"
        assert given.dataset.digest == ("f00d" * 16)[:36]
        assert json.loads(given.dataset.source) == {"uri": "shop"}
        assert json.loads(given.dataset.profile) == {"num_items": 4}
        assert {tag.key: tag.value for tag in given.tags}["fingerprint"] == "f00d" * 16

    def test_the_code_version(self, run: TrackedRun, uri: str) -> None:
        take_steps(run, uri)
        tags = run.held(uri=uri).data.tags
        assert tags["recsys.version"]
        assert tags["mlflow.source.name"] == "recsys"

    def test_system_metrics_at_the_end_of_a_short_step(self, run: TrackedRun, uri: str) -> None:
        take_steps(run, uri, system_metrics=True)
        take_steps(run, uri, system_metrics=True)
        for step in ("", "train", "evaluate"):
            held = run.held(step, uri)
            assert held.data.metrics["system/system_memory_usage_percentage"] > 0
        parent = run.held(uri=uri).info.run_id
        history = connect(uri).get_metric_history(parent, "system/disk_usage_percentage")
        assert [entry.step for entry in history] == [0, 1, 2, 3], "a run that is continued counts on"

    @pytest.mark.parametrize(("value", "is_there"), [("false", False), ("true", True)])
    def test_mlflow_s_own_variable_switches_system_metrics(
        self, run: TrackedRun, monkeypatch: pytest.MonkeyPatch, value: str, is_there: bool
    ) -> None:
        monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", value)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "not://an-address")
        tracker = run.tracker(None, system_metrics=not is_there)
        with tracker.step("train"):
            pass
        found = any("system/" in name for each in run.entries for name in each.values.get("metrics", {}))
        assert found == is_there

    @pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
    def test_a_step_that_breaks_off_says_so(
        self, run: TrackedRun, uri: str, error: type[BaseException], status: str
    ) -> None:
        with pytest.raises(error), run.tracker(uri).step("train"):
            raise error
        assert run.held(uri=uri).info.status == run.held("train", uri).info.status == status

    def test_a_step_of_later_joins_the_run(self, run: TrackedRun, uri: str) -> None:
        take_steps(run, uri)
        before = run.held(uri=uri).info.run_id, run.held("evaluate", uri).info.run_id
        with run.tracker(uri).step("evaluate") as tracker:
            tracker.log_metrics({"warm/als/ndcg@10": 0.5})
        with run.tracker(uri).step("export"):
            pass
        assert (run.held(uri=uri).info.run_id, run.held("evaluate", uri).info.run_id) == before
        assert run.held("evaluate", uri).data.metrics["warm/als/ndcg_at_10"] == 0.5
        assert run.held("export", uri).data.tags["mlflow.parentRunId"] == before[0]

    def test_switched_off_it_leaves_nothing_and_does_not_import_mlflow(self, run: TrackedRun) -> None:
        code = (
            "import sys; from pathlib import Path; from recsys.config import TrackConfig\n"
            "from training.tracking import RunTracker\n"
            "tracker = RunTracker(TrackConfig(enabled=False), 'x', Path('run'), Path('run/tracking'))\n"
            "with tracker.open(), tracker.step('train') as step: step.log_metrics({'a': 1})\n"
            "assert 'mlflow' not in sys.modules"
        )
        run.path.mkdir(parents=True)
        path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=run.path, env=environment)
        assert list(run.path.iterdir()) == []


class TestVariables:
    def test_mlflow_run_s_run_is_the_run_as_a_whole_and_stays_open(
        self, run: TrackedRun, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mlflow.entities import Param

        client = connect(uri)
        outer = client.create_run(client.create_experiment(f"outer of {run.path}"))
        client.log_batch(outer.info.run_id, params=[Param("dataset", "demo/shop"), Param("preset", "fast")])
        monkeypatch.setenv("MLFLOW_RUN_ID", outer.info.run_id)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with run.tracker(None).step("train") as tracker:
            tracker.log_params({"dataset": "shop", "preset": "fast"})
            tracker.log_params({"dataset": "shop", "preset": "fast"})
        held = run.held()
        assert held.info.run_id == outer.info.run_id
        assert held.info.status == "RUNNING", "mlflow run ends it"
        # The first value stays, another one is kept beside it, the same one is no second.
        assert held.data.params == {"dataset": "demo/shop", "preset": "fast", "recsys.dataset": "shop"}
        assert run.held("train").info.experiment_id == outer.info.experiment_id

        second = client.create_run(outer.info.experiment_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", second.info.run_id)
        with run.tracker(None).step("evaluate"):
            pass
        assert run.held().info.run_id == outer.info.run_id, "the run goes on"
        later = client.get_run(second.info.run_id)
        assert later.data.tags["mlflow.parentRunId"] == outer.info.run_id

    def test_the_experiment_by_name_or_by_id(
        self, run: TrackedRun, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = connect(uri)

        def experiment_of(name: str, **settings: Any) -> str:
            made = TrackedRun(tmp_path / name)
            take_steps(made, uri, **settings)
            found: str = client.get_experiment(made.held(uri=uri).info.experiment_id).name
            return found

        assert experiment_of("default") == "recsys"
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.create_experiment(f"by id {tmp_path}"))
        assert experiment_of("id") == f"by id {tmp_path}"
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"by name {tmp_path}")
        assert experiment_of("name") == f"by name {tmp_path}"
        assert experiment_of("configured", experiment="mine") == "mine"


class TestPlaces:
    def test_by_default_the_file_lies_beside_the_run_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the folder's name means something in an address."""
        run = TrackedRun(tmp_path / "a ? % [1]" / "run")
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        take_steps(run, None)
        monkeypatch.chdir(tmp_path)
        with run.tracker(None).step("export"):
            pass
        assert run.held("export").data.tags["mlflow.parentRunId"] == run.held().info.run_id
        found = sorted(path.name for path in run.path.parent.iterdir())
        assert found == ["mlartifacts", "mlflow.db", "run"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a ? % [1]", "here"]
        assert list((tmp_path / "here").iterdir()) == []

    def test_another_server_gets_all_of_it(self, run: TrackedRun, uri: str, tmp_path: Path) -> None:
        take_steps(run, "not://an-address")
        first = deliver_now(run.path, run.folder, uri=uri, experiment="first")
        assert first.num_entries == len(run.entries)
        again = deliver_now(run.path, run.folder, uri=uri, experiment="first")
        assert (again.num_entries, again.run_id) == (0, first.run_id)

    def test_where_mlflow_does_not_answer_the_command_fails(self, run: TrackedRun) -> None:
        take_steps(run, "not://an-address")
        with pytest.raises(TrackingError, match="not://an-address"):
            deliver_now(run.path, run.folder, uri="not://an-address", experiment=None)

    def test_without_a_journal_there_is_nothing_to_send(self, run: TrackedRun) -> None:
        run.path.mkdir(parents=True)
        with pytest.raises(ConfigError, match=r"nothing to track; with track\.enabled = true"):
            deliver_now(run.path, run.folder, uri=None, experiment=None)


STEP = """
import sys
from pathlib import Path
from recsys.config import TrackConfig
from training.tracking import RunTracker
run = Path(sys.argv[1])
run.mkdir(parents=True)
tracker = RunTracker(TrackConfig(experiment="both"), run.name, run, run / "tracking")
with tracker.open():
    for step in ("train", "evaluate"):
        with tracker.step(step) as opened:
            for number in range(200):
                opened.log_metrics({"loss": float(number)}, number)
"""


@pytest.mark.long
def test_two_processes_do_not_lock_each_other_out(tmp_path: Path) -> None:
    """Both start with no SQLite file, so that they make its tables at the same time, too."""
    paths = [tmp_path / "one", tmp_path / "two"]
    processes = [
        subprocess.Popen([sys.executable, "-c", STEP, str(path)], stderr=subprocess.PIPE, text=True)
        for path in paths
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    for path in paths:
        run = TrackedRun(path)
        client = connect(run.place().uri)
        for step in ("train", "evaluate"):
            history = client.get_metric_history(run.held(step).info.run_id, "loss")
            assert [entry.step for entry in history] == list(range(200))


def test_logging_is_given_back(run: TrackedRun, uri: str) -> None:
    """Loggers of libraries are silent only while something is sent."""
    level = logging.getLogger("mlflow").level
    take_steps(run, uri)
    assert logging.getLogger("mlflow").level == level
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
