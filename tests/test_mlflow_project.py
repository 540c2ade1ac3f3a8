"""Every entry point of MLproject by `mlflow run`, against an MLflow server, with no environment activated.

The page of a run in MLflow's own interface goes to the folder that RECSYS_ARTIFACTS names, where it is set.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from browser_parts import CHROMIUM, artifacts, browse
from PIL import Image
from tracking_parts import VARIABLES, TrackedRun, mlflow_server
from walk_parts import write_settings

from training.tracking import connect

ROOT = Path(__file__).resolve().parents[1]
ENTRY_POINTS: dict[str, Any] = yaml.safe_load((ROOT / "MLproject").read_text("utf-8"))["entry_points"]
SECONDS = 300
PATH = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin"))  # no environment is active
SHOP = "picture_size=32 events_per_user=9"
REVIEW = '{"user_id": "%s", "parent_asin": "B1", "rating": 5, "timestamp": 1588687728923, "text": "Good"}\n'

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Project:
    """`mlflow run` on this checkout; everything that it makes lies in `folder`."""

    folder: Path
    uri: str

    def run(self, entry: str, **parameters: object) -> subprocess.CompletedProcess[str]:
        """As from a terminal in which no environment is active."""
        command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", "-e", entry]
        for name, value in parameters.items():
            command += ["-P", f"{name}={value}"]
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in (*VARIABLES, "PYTHONPATH", "VIRTUAL_ENV")
        }
        environment |= {
            "PATH": PATH,
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_EXPERIMENT_NAME": "by variable",
        }
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def must_run(self, entry: str, **parameters: object) -> str:
        done = self.run(entry, **parameters)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    @property
    def shop(self) -> Path:
        return self.folder / "shop"

    @property
    def settings(self) -> dict[str, str]:
        return {"config": str(self.folder / "settings.toml"), "cache": str(self.folder / "cache")}

    @property
    def tracked(self) -> TrackedRun:
        return TrackedRun(self.folder / "run")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A shop that was sampled and walked, each by its entry point."""
    folder = tmp_path_factory.mktemp("project")
    write_settings(folder / "settings.toml", folder / "encoders", "")
    text = (folder / "settings.toml").read_text("utf-8")
    (folder / "settings.toml").write_text(text.replace('uri = ""\n', ""), "utf-8")
    with mlflow_server(folder / "server") as uri:
        made = Project(folder, uri)
        made.must_run("sample", dataset=made.shop, items=60, users=60, set=SHOP)
        setting = 'train.epochs=2 evaluate.baselines=["popularity"]'
        made.must_run("run", dataset="shop", out=folder / "run", preset="fast", set=setting, **made.settings)
        yield made


def test_the_run_of_mlflow_run_is_the_run(project: Project) -> None:
    held = project.tracked.held()
    client = connect(project.uri)
    assert held.data.tags["mlflow.project.entryPoint"] == "run"
    assert held.info.status == "FINISHED"
    assert held.data.params["set"] == shlex.quote('train.epochs=2 evaluate.baselines=["popularity"]')
    assert held.data.params["train.epochs"] == "2"
    assert client.get_experiment(held.info.experiment_id).name == "by variable"
    steps = {"features", "train", "evaluate", "knockouts", "export", "report"}
    assert set(project.tracked.place().run_ids) == {"", *steps}
    for step in steps:
        child = project.tracked.held(step)
        assert child.data.tags["mlflow.parentRunId"] == held.info.run_id
        assert child.info.status == "FINISHED"


def test_artifacts_go_through_the_server(project: Project, tmp_path: Path) -> None:
    held = project.tracked.held()
    assert held.info.artifact_uri.startswith("mlflow-artifacts:")
    client = connect(project.uri)
    kept = client.download_artifacts(held.info.run_id, "report.html", str(tmp_path))
    assert Path(kept).read_bytes() == (project.folder / "run" / "report.html").read_bytes()
    names = {entry.path for entry in client.list_artifacts(held.info.run_id)}
    assert names >= {"bundle", "plots", "split", "config.toml", "metrics.json", "report.html"}


def test_the_same_again_goes_on(project: Project) -> None:
    setting = 'train.epochs=2 evaluate.baselines=["popularity"]'
    before = project.tracked.place().run_ids.copy()
    said = project.must_run(
        "train",
        dataset=project.shop,
        out=project.folder / "run",
        preset="fast",
        set=setting,
        **project.settings,
    )
    assert "has this run already; it is continued. For a new run, name another --out" in said
    assert project.tracked.place().run_ids == before
    inside = f"tags.`mlflow.parentRunId` = '{before['']}' AND tags.`mlflow.project.entryPoint` = 'train'"
    found = connect(project.uri).search_runs([project.tracked.held().info.experiment_id], inside)
    assert [each.info.run_name for each in found] == ["mlflow run"], "the run of the second `mlflow run`"
    other = project.run("train", dataset=project.shop, out=project.folder / "run", **project.settings)
    assert other.returncode == 1
    assert "name another --out" in other.stdout + other.stderr


def import_source(folder: Path) -> Path:
    folder.mkdir()
    (folder / "Books.jsonl").write_text(REVIEW % "U1" + REVIEW % "U2")
    (folder / "meta_Books.jsonl").write_text('{"parent_asin": "B1", "title": "A book"}\n')
    return folder


STEPS: dict[str, dict[str, object]] = {
    "check": {"dataset": "shop", "rejected": "{folder}/rejected.csv"},
    "prepare": {"dataset": "shop", "out": "{folder}/log"},
    "features": {"dataset": "shop", "config": "{folder}/settings.toml", "cache": "{folder}/cache"},
    "train": {
        "dataset": "shop", "out": "{folder}/trained", "config": "{folder}/settings.toml",
        "cache": "{folder}/cache", "set": "train.epochs=1 model.ranker.enabled=false",
    },
    "baselines": {
        "dataset": "shop", "out": "{folder}/baselines", "config": "{folder}/settings.toml",
        "cache": "{folder}/cache",
    },
    "ablate": {
        "dataset": "shop", "out": "{folder}/ablation", "config": "{folder}/settings.toml",
        "cache": "{folder}/cache", "options": "mean-fusion", "seeds": 1, "set": "train.epochs=1",
    },
    "backtest": {
        "dataset": "shop", "out": "{folder}/backtest", "config": "{folder}/settings.toml",
        "cache": "{folder}/cache", "windows": 1, "set": "train.epochs=1 train.refit=false",
    },
    "evaluate": {"run": "run", "metrics": "recall@20", "cache": "{folder}/cache"},
    "knockouts": {"run": "run", "users": 10, "cache": "{folder}/cache"},
    "export": {"run": "run", "cache": "{folder}/cache", "set": "track.enabled=true"},
    "report": {"run": "run", "cache": "{folder}/cache"},
    "recommend": {"bundle": "run/bundle", "out": "{folder}/lists.parquet", "k": 5},
    "index": {
        "dataset": "shop", "out": "{folder}/index", "config": "{folder}/settings.toml",
        "cache": "{folder}/cache",
    },
    "search": {
        "bundle": "run/bundle", "queries": "queries.parquet", "out": "{folder}/found.parquet", "k": 3,
    },
    "publish": {"run": "run", "store": "{folder}/store", "registry": "none"},
    "track": {"run": "run"},
}  # fmt: skip


def run_here(
    project: Project, monkeypatch: pytest.MonkeyPatch, entry: str, values: Mapping[str, object]
) -> None:
    """`mlflow run` in this process, which saves MLflow's start of several seconds; the step has its own."""
    from mlflow import projects

    for name in (*VARIABLES, "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    monkeypatch.chdir(project.folder)
    parameters = {key: str(value).format(folder=project.folder) for key, value in values.items()}
    projects.run(str(ROOT), entry, parameters=parameters, env_manager="local", experiment_name="steps")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_by_its_entry_point(project: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = pl.DataFrame({"query_id": ["one"], "query": ["a vase of clay"]})
    queries.write_parquet(project.folder / "queries.parquet")
    run_here(project, monkeypatch, name, STEPS[name])
    made = {
        "train": "trained/checkpoints/main.pt", "baselines": "baselines/metrics.json",
        "ablate": "ablation/ablation.json", "backtest": "backtest/backtest.json",
        "recommend": "lists.parquet", "prepare": "log",
        "check": "rejected.csv", "publish": "store",
        "index": "index/manifest.json", "search": "found.parquet",
    }.get(name)  # fmt: skip
    assert made is None or (project.folder / made).exists()
    if name == "recommend":
        assert pl.read_parquet(project.folder / "lists.parquet").height > 5


def test_import_by_its_entry_point(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    source = import_source(project.folder / "download")
    values = {"layout": "amazon-2023", "source": source, "dataset": "{folder}/books"}
    run_here(project, monkeypatch, "import", values)
    assert (project.folder / "books" / "dataset.toml").exists()


def test_main_on_a_dataset(project: Project) -> None:
    setting = "train.epochs=1 model.ranker.enabled=false evaluate.knockouts=false"
    project.must_run("main", dataset="shop", out=project.folder / "main", set=setting, **project.settings)
    assert (project.folder / "main" / "report.html").exists()


def test_every_entry_point_is_run_here() -> None:
    assert {*STEPS, "sample", "run", "import", "main"} == set(ENTRY_POINTS)


def test_a_mistake_is_one_message_and_a_failed_run(project: Project) -> None:
    done = project.run("train", dataset=project.shop, out=project.folder / "never", set="train.epoch=3")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "did you mean 'train.epochs'?" in said
    assert "Traceback" not in said


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_mlflow_s_own_page_shows_the_run(project: Project, tmp_path: Path) -> None:
    held = project.tracked.held()
    folder = artifacts(tmp_path)
    page = f"{project.uri}/#/experiments/{held.info.experiment_id}"
    pages = {"experiment": f"{page}/runs", "run": f"{page}/runs/{held.info.run_id}"}
    for name, address in pages.items():
        target = folder / f"mlflow-{name}.png"
        options = ("--window-size=1600,1400", "--virtual-time-budget=60000", f"--screenshot={target}")
        browse(tmp_path / name, *options, address)
        with Image.open(target) as image:
            colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
        assert colours is not None
        assert len(colours) > 50, f"{target} is blank"
    dom = browse(tmp_path / "dom", "--virtual-time-budget=60000", "--dump-dom", pages["run"])
    assert held.info.run_name in dom
