"""Troubles with MLflow: a step is taken all the same, and its values are sent later."""

import socket
import sys
import time
from pathlib import Path

import pytest
from tracking_parts import TrackedRun, take_steps

from training.tracking import connect, deliver_now


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name.startswith("training")]


class TestNeverACondition:
    """Each trouble costs one warning; the step is taken, and the journal has its figures."""

    def test_an_address_that_mlflow_refuses(self, run: TrackedRun, caplog: pytest.LogCaptureFixture) -> None:
        take_steps(run, "not://an-address")
        (warning,) = warnings_in(caplog)
        assert "not://an-address" in warning
        assert f"recsys track {run.path}" in warning
        assert run.entries[-1].kind == "end"

    def test_a_server_that_is_down_costs_seconds(
        self, run: TrackedRun, caplog: pytest.LogCaptureFixture
    ) -> None:
        start = time.monotonic()
        take_steps(run, "http://me:secret@127.0.0.1:9")
        assert time.monotonic() - start < 10
        assert warnings_in(caplog) == [
            "MLflow does not have the latest values of the run (http://127.0.0.1:9: connection refused); "
            f"the next step sends them, or: recsys track {run.path}"
        ]

    def test_a_server_that_does_not_answer_costs_ten_seconds(
        self, run: TrackedRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # what the user sets wins
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            start = time.monotonic()
            take_steps(run, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 8
        (warning,) = warnings_in(caplog)
        assert ": no answer in time)" in warning

    def test_without_mlflow(
        self, run: TrackedRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "mlflow", None)
        monkeypatch.setitem(sys.modules, "mlflow.entities", None)
        take_steps(run, None)
        (warning,) = warnings_in(caplog)
        assert "mlflow" in warning
        assert run.entries[-1].kind == "end"
        assert not (run.path.parent / "mlflow.db").exists()

    def test_a_run_that_was_deleted(
        self, run: TrackedRun, uri: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        take_steps(run, uri)
        deleted = run.held(uri=uri).info.run_id
        connect(uri).delete_run(deleted)
        take_steps(run, uri)
        (warning,) = warnings_in(caplog)
        assert "deleted" in warning
        assert "recsys track" in warning
        sent = deliver_now(run.path, run.folder, uri=uri, experiment=None)
        assert sent.run_id != deleted
        assert sent.num_entries == len(run.entries)
        assert run.held("evaluate", uri).data.metrics["warm/als/ndcg_at_10"] == 0.25

    def test_a_step_that_was_deleted_gets_a_new_run(
        self, run: TrackedRun, uri: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        take_steps(run, uri)
        deleted = run.held("evaluate", uri).info.run_id
        connect(uri).delete_run(deleted)
        take_steps(run, uri)
        (warning,) = warnings_in(caplog)
        assert "step 'evaluate' was deleted" in warning
        assert run.held("evaluate", uri).info.run_id != deleted
        assert run.held("evaluate", uri).info.status == "FINISHED"

    def test_an_experiment_that_was_deleted(
        self, run: TrackedRun, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = connect(uri)
        client.delete_experiment(client.create_experiment(f"gone {tmp_path}"))
        take_steps(run, uri, experiment=f"gone {tmp_path}")
        (warning,) = warnings_in(caplog)
        assert "was deleted; restore it or name another: track.experiment" in warning
        sent = deliver_now(run.path, run.folder, uri=uri, experiment="another")
        assert sent.num_entries == len(run.entries)

    def test_a_run_of_mlflow_run_that_is_not_there(
        self, run: TrackedRun, uri: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        take_steps(run, uri)
        (warning,) = warnings_in(caplog)
        assert "0" * 32 in warning

    def test_what_mlflow_refuses_is_left_out_and_the_rest_arrives(
        self, run: TrackedRun, uri: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with run.tracker(uri).step("train") as tracker:
            tracker.log_metrics({"x" * 300: 1.0})
            tracker.log_artifact(run.path / "never-written.txt")
            tracker.log_params({"a": 1})
        messages = warnings_in(caplog)
        assert len(messages) == 2
        assert "MLflow rejects metrics" in messages[0]
        assert "never-written.txt" in messages[1]
        assert run.held(uri=uri).data.params == {"a": "1"}

    def test_a_journal_that_cannot_be_written(
        self, run: TrackedRun, caplog: pytest.LogCaptureFixture
    ) -> None:
        run.path.mkdir(parents=True)
        run.folder.write_text("a file where a folder should be")
        with run.tracker("not://an-address").step("train") as tracker:
            tracker.log_metrics({"loss": 1.0})
        assert "cannot be written" in " ".join(warnings_in(caplog))

    def test_a_damaged_journal(self, run: TrackedRun, uri: str, caplog: pytest.LogCaptureFixture) -> None:
        run.folder.mkdir(parents=True)
        run.journal.path.write_text("not JSON\n")
        take_steps(run, uri, system_metrics=True)
        (warning,) = warnings_in(caplog)
        assert str(run.journal.path) in warning
        assert (run.path / "config.toml").exists()

    def test_figures_that_were_not_delivered_come_with_the_next_step(
        self, run: TrackedRun, uri: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        take_steps(run, "http://127.0.0.1:9")
        assert len(warnings_in(caplog)) == 1
        with run.tracker(uri).step("export"):
            pass
        assert run.held("train", uri).data.metrics["main/loss"] == 1.0
        assert len(warnings_in(caplog)) == 1
