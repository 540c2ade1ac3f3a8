"""An MLflow server in a process of its own: artifacts through it, and what happens when it goes away."""

import logging
import time
from pathlib import Path

import pytest
from tracking_parts import TrackedRun, free_port, mlflow_server

from training.tracking import connect, deliver_now

pytestmark = pytest.mark.long


def take_step(run: TrackedRun, uri: str, name: str, losses: list[float]) -> None:
    (run.path / "bundle").mkdir(parents=True, exist_ok=True)
    (run.path / "bundle" / "manifest.json").write_text(f'{{"step": "{name}"}}')
    with run.tracker(uri).step(name) as tracker:
        for epoch, loss in enumerate(losses, 1):
            tracker.log_metrics({f"{name}/loss": loss}, epoch)
        tracker.log_artifact(run.path / "bundle", "bundle")
        tracker.log_dataset("shop", "f00d" * 16, "shop", {"num_items": 4})


def losses_at(run: TrackedRun, uri: str, step: str) -> list[float]:
    history = connect(uri).get_metric_history(run.held(uri=uri).info.run_id, f"{step}/loss")
    return [entry.value for entry in sorted(history, key=lambda entry: entry.step)]


def test_a_server_that_goes_away_and_comes_back(
    run: TrackedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, folder = free_port(), tmp_path / "server"
    with mlflow_server(folder, port) as uri:
        take_step(run, uri, "train", [3.0, 2.0])
        held = run.held(uri=uri)
        assert held.info.artifact_uri.startswith("mlflow-artifacts:")
        kept = connect(uri).download_artifacts(held.info.run_id, "bundle/manifest.json", str(tmp_path))
        assert Path(kept).read_text() == '{"step": "train"}'
        assert held.inputs.dataset_inputs[0].dataset.digest == ("f00d" * 16)[:36]
        tracker = run.tracker(uri)
        opened = tracker.open()
        opened.__enter__()
        step = tracker.step("evaluate")
        step.__enter__().log_metrics({"evaluate/loss": 9.0}, 1)
        time.sleep(3)  # it has arrived
    tracker.current.log_metrics({"evaluate/loss": 8.0}, 2)  # in the middle of a step
    start = time.monotonic()
    step.__exit__(None, None, None)
    opened.__exit__(None, None, None)
    assert time.monotonic() - start < 10
    start = time.monotonic()
    take_step(run, uri, "export", [7.0])  # it is down when a step begins
    assert time.monotonic() - start < 10
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 2, "one for each command"
    with mlflow_server(folder, port) as again:
        assert again == uri
        take_step(run, uri, "report", [6.0])
        for name, expected in {"train": [3.0, 2.0], "evaluate": [9.0, 8.0], "export": [7.0]}.items():
            assert losses_at(run, uri, name) == expected
        assert {run.held(name, uri).info.status for name in ("train", "evaluate", "export")} == {"FINISHED"}
        assert len(caplog.records) == len(warnings)
        # The whole run anew, under another experiment and with a user's name in the address.
        with_name = uri.replace("http://", "http://me:secret@")
        monkeypatch.chdir(tmp_path)
        sent = deliver_now(run.path, run.folder, uri=with_name, experiment=None)
        assert sent.num_entries == 0
        assert "secret" not in sent.place
