"""MLflow for tests: a SQLite file, a server in a process of its own, and what a run there holds."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.config import TrackConfig
from training.tracking import RunTracker, connect
from training.tracking.journal import PARENT, Entry, Journal
from training.tracking.places import Place, Places

VARIABLES = (
    "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL",
)  # fmt: skip
SECONDS_TO_START = 90.0


@dataclass(frozen=True)
class TrackedRun:
    """A run directory with nothing but its tracking in it."""

    path: Path

    @property
    def folder(self) -> Path:
        return self.path / "tracking"

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "journal.jsonl")

    @property
    def entries(self) -> list[Entry]:
        return [entry for entry, _ in self.journal.read()]

    def tracker(self, uri: str | None, name: str = "shop/run", **settings: Any) -> RunTracker:
        self.path.mkdir(parents=True, exist_ok=True)
        config = TrackConfig(uri=uri, **{"system_metrics": False, **settings})
        return RunTracker(config, name, self.path, self.folder)

    def place(self, uri: str | None = None) -> Place:
        return Places(self.folder / "delivered.json", self.path).choose(uri)

    def held(self, step: str = PARENT, uri: str | None = None) -> Any:
        """What MLflow has of a step, or of the run as a whole."""
        place = self.place(uri)
        return connect(place.uri).get_run(place.run_ids[step])


def take_steps(run: TrackedRun, uri: str | None, **settings: Any) -> None:
    """Two steps with a little of everything."""
    tracker = run.tracker(uri, **settings)
    (run.path / "bundle").mkdir(exist_ok=True)
    (run.path / "bundle" / "manifest.json").write_text("{}")
    (run.path / "config.toml").write_text("a = 1")
    with tracker.open():
        with tracker.step("train") as train:
            train.log_params({"train.epochs": 3, "k": (10, 20), **{f"p{n}": n for n in range(120)}})
            train.log_dataset("shop", "f00d" * 16, "shop", {"num_items": 4})
            for epoch, loss in enumerate([3.0, 2.0, 1.0], 1):
                train.log_metrics({"main/loss": loss}, epoch)
            train.log_artifact(run.path / "config.toml")
        with tracker.step("evaluate") as evaluate:
            evaluate.log_metrics({"warm/als/ndcg@10": 0.25, "a+b": 1})
            evaluate.log_artifact(run.path / "bundle", "bundle")
            evaluate.log_text("B", "notes/b.txt")


def artifacts_of(run: Any) -> dict[str, str]:
    """Path -> text of the files that lie beside a SQLite file."""
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Address of an MLflow server that keeps everything in `folder` and takes artifacts itself."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--serve-artifacts",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)  # its workers as well
            process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no server at {address}: {log.read_text()[-2000:]}")
