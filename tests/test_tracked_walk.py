"""The MLflow run of a whole walk, and the commands that go on with it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tracking_parts import TrackedRun
from walk_parts import Walk, recsys, refused

from training.tracking import connect


class TestTracking:
    """One MLflow run for all steps, with what was asked for, the curve, the figures and the files."""

    @pytest.fixture
    def run(self, walk: Walk) -> Any:
        return TrackedRun(walk.run).held(uri=walk.uri)

    def test_one_run_that_ended_well(self, walk: Walk, run: Any) -> None:
        assert run.info.status == "FINISHED"
        assert run.data.params["model.dim"] == "16"
        assert run.data.params["dataset"] == "sample-shop"
        assert not [name for name in run.data.params if name.startswith("track.")]

    def test_a_run_for_each_step(self, walk: Walk, run: Any) -> None:
        of_this_run = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        found = connect(walk.uri).search_runs([run.info.experiment_id], of_this_run)
        children = {each.info.run_name: each for each in found}
        assert len(children) == len(found)
        assert set(children) == {"features", "train", "evaluate", "knockouts", "export", "report"}
        for name, child in children.items():
            assert child.info.status == "FINISHED"
            assert child.data.metrics[f"seconds/{name}"] > 0
            assert child.data.metrics["system/process_memory_megabytes"] > 0
        assert children["evaluate"].data.metrics["warm/recsys/ndcg_at_10"] >= 0
        # A later command on the run reads the vectors from the cache, and tracks that it encoded none.
        encoded = connect(walk.uri).get_metric_history(children["features"].info.run_id, "encoded/title")
        assert encoded[0].value > 0

    def test_the_dataset_and_the_code(self, walk: Walk, run: Any) -> None:
        (given,) = run.inputs.dataset_inputs
        fingerprint = json.loads((walk.run / "dataset.json").read_text())["fingerprint"]
        assert given.dataset.name == "sample-shop"
        assert fingerprint.startswith(given.dataset.digest)
        assert run.data.tags["recsys.version"]

    def test_metrics_by_step(self, walk: Walk, run: Any) -> None:
        losses = connect(walk.uri).get_metric_history(run.info.run_id, "main/loss")
        assert [entry.step for entry in losses] == [1, 2, 3]
        metrics = json.loads((walk.run / "metrics.json").read_text())
        expected = metrics["views"]["warm"]["models"]["recsys"]["ndcg@10"]["value"]
        assert run.data.metrics["warm/recsys/ndcg_at_10"] == pytest.approx(expected)
        assert run.data.metrics["parity/top10_agreement"] == 1.0

    def test_artifacts(self, walk: Walk, run: Any) -> None:
        kept = Path(run.info.artifact_uri.removeprefix("file://"))
        assert kept.is_relative_to(walk.root.parent / "mlartifacts")
        for name in (
            "config.toml",
            "metrics.json",
            "split/ground_truth.parquet",
            "bundle/manifest.json",
            "knockouts.json",
            "report.html",
            "plots/training-loss.svg",
        ):
            original = walk.run / name
            assert (kept / name).read_bytes() == original.read_bytes(), name

    def test_track_sends_what_is_missing(self, walk: Walk) -> None:
        answer = recsys("track", walk.run)
        assert answer.code == 0, answer.err
        assert f"0 entries sent to {walk.uri}: MLflow run " in answer.out

    def test_a_step_from_another_folder_with_tracking_off(
        self, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(walk.run, tmp_path / "run")
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        journal = TrackedRun(tmp_path / "run").journal.size()
        options = ("--dataset", walk.shop, "--cache", walk.cache)
        answer = recsys("report", "../run", *options, "--set", "track.enabled=false")
        assert answer.code == 0, answer.err
        assert list((tmp_path / "here").iterdir()) == []
        assert TrackedRun(tmp_path / "run").journal.size() == journal
        message = refused("report", "../run", *options, "--set", "train.epochs=9")
        assert "train.epochs = 9 cannot be set for ../run: the run was made with another value" in message
