"""The folder for a GPU machine, and every piece on the CPU; no piece has been seen on a GPU here."""

import json
import os
import subprocess
import sys
import textwrap
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_parts import tiny_features
from step_parts import tiny_model
from walk_parts import Walk, every_ranker_helps

from benchmarks.gpu import model_pieces, run
from benchmarks.gpu.folder import read
from benchmarks.gpu.measure import CouldNotRun, FlopCounter, peak_of
from benchmarks.gpu.prepare import prepare
from benchmarks.gpu.results import COULD_NOT_RUN, FAILED, PASSED, Outcome, table
from training.pipeline import Run

pytestmark = pytest.mark.long  # the walk's models are fitted again, and every piece runs
ROOT = Path(__file__).parents[3]
ON_A_CPU = [name for name in run.PIECES if name not in ("no wait", "endpoint", "cold start")]
# Of a machine with torch, numpy and onnxruntime alone.
BLOCKED = (
    "av", "faiss", "fastapi", "fbgemm_gpu", "implicit", "mlflow", "onnx", "onnxscript", "PIL", "polars",
    "pydantic", "scipy", "starlette", "threadpoolctl", "tokenizers", "tomli_w", "torchrec", "torchvision",
    "transformers", "typer", "uvicorn",
)  # fmt: skip


@pytest.fixture(scope="module")
def run_of_the_walk(walk: Walk) -> Run:
    """A run object of this file's own, with the ranker of the walk's bundle."""
    opened = Run.open(walk.run)
    with every_ranker_helps():
        _ = opened.fitted
    return opened


@pytest.fixture(scope="module")
def folder(run_of_the_walk: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu") / "prepared"
    prepare(run_of_the_walk, out)
    return out


def asked(folder: Path, **changes: Any) -> Namespace:
    values = {"folder": folder, "device": "cpu", "quick": True, "known": {}, "out": None}
    return Namespace(**(values | changes))


def test_the_folder_gives_back_what_the_run_trains_on(folder: Path, run_of_the_walk: Run) -> None:
    prepared, fitted = read(folder), run_of_the_walk.fitted
    assert prepared.config == run_of_the_walk.config
    assert prepared.schema == fitted.schema
    assert prepared.features.item_ids.external == fitted.features.item_ids.external
    for name, vectors in fitted.features.dense.items():
        assert (prepared.features.dense[name] == vectors).all()
    assert len(prepared.sequences) == prepared.facts["num_users"] > 0
    assert prepared.facts["bytes"].keys() >= {"arrays.npz", "bundle", "encoder", "towers.pt"}


def test_products_are_counted_forward_and_backward() -> None:
    weight_DE = torch.randn(3, 4, requires_grad=True)
    with FlopCounter() as counter:
        torch.autograd.grad((torch.randn(5, 3) @ weight_DE).sum(), weight_DE)
    assert counter.total == 2 * (2 * 5 * 3 * 4), "one product forward, one for the gradient of the weight"


@pytest.mark.parametrize("name", ON_A_CPU)
def test_every_piece_runs_on_a_cpu(folder: Path, name: str) -> None:
    figures = run.piece_of(name)(asked(folder))
    assert figures
    gaps = [value for label, value in figures.items() if "gap" in label]
    assert all(gap == 0 for gap in gaps), "the device is the CPU itself"


def test_the_cold_start_head_is_compared_where_there_is_content(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CouldNotRun, match="too little content"):
        run.piece_of("cold start")(asked(folder))
    monkeypatch.setattr(
        model_pieces, "read_towers", lambda _: tiny_model(features=tiny_features(num_items=400)).eval()
    )
    assert run.piece_of("cold start")(asked(folder)) == {"largest gap of an item vector": 0.0}


def test_the_wait_of_the_host_is_looked_for_on_a_gpu_alone(folder: Path) -> None:
    with pytest.raises(CouldNotRun, match="CUDA device alone"):
        run.piece_of("no wait")(asked(folder))


def test_a_graph_that_differs_fails_its_piece(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu import graph_pieces

    real = graph_pieces.OnnxSession.run
    sessions = iter([real, lambda self, inputs: {k: 1.5 * v for k, v in real(self, inputs).items()}])
    monkeypatch.setattr(graph_pieces.OnnxSession, "run", lambda self, inputs: next(sessions)(self, inputs))
    with pytest.raises(AssertionError, match="the providers differ"):
        graph_pieces.graphs(read(folder), "cpu", quick=True)


def test_a_machine_without_a_gpu_is_told_so(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "outcome.json"
    run.run_piece(asked(folder, device="cuda", piece="card", out=out))
    found = json.loads(out.read_text())
    assert found["state"] == COULD_NOT_RUN
    assert "finds no GPU" in found["reason"]


def test_an_error_is_a_failure_and_a_missing_package_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state_after(error: Exception) -> str:
        def fails(_: Namespace) -> dict[str, object]:
            raise error

        monkeypatch.setattr(run, "piece_of", lambda _: fails)
        run.run_piece(asked(folder, piece="card", out=tmp_path / "outcome.json"))
        found: str = json.loads((tmp_path / "outcome.json").read_text())["state"]
        return found

    assert state_after(ValueError("no")) == FAILED
    assert state_after(ModuleNotFoundError("No module named 'polars'", name="polars")) == COULD_NOT_RUN
    assert state_after(ModuleNotFoundError("No module named 'recsys.gone'", name="recsys.gone")) == FAILED


def test_a_piece_that_takes_too_long_is_ended(folder: Path) -> None:
    outcome = run.started("card", asked(folder), 0.2, {})
    assert (outcome.state, outcome.reason) == (FAILED, "not done within 0 s")


def test_the_table_has_the_card_each_piece_and_each_figure() -> None:
    outcomes = [
        Outcome(name="a", about="first", state=PASSED, seconds=2.0, figures={"rate": 12345.6, "gap": 1e-7}),
        Outcome(name="b", about="second", state=FAILED, seconds=1.0, reason="x\ny | z"),
    ]
    text = table({"device": "Card 9"}, outcomes)
    assert "| device | Card 9 |" in text
    assert "| a | PASSED | 2 | first |" in text
    assert "| b | FAILED | 1 | second: x y / z |" in text
    assert "| rate | 12,346 |" in text
    assert "| gap | 1e-07 |" in text


@pytest.mark.parametrize(
    ("card", "peak"), [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA L40S", 362e12), ("a CPU", None)]
)
def test_the_peak_is_that_of_the_card(card: str, peak: float | None) -> None:
    assert peak_of(card) == peak


def test_pieces_run_where_there_is_torch_numpy_and_onnxruntime_alone(folder: Path, tmp_path: Path) -> None:
    """All other packages are hidden from the interpreter: what needs them says so, all else runs."""
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import sys

            class Hidden:
                def __init__(self, finder):
                    self.finder = finder

                def __getattr__(self, name):
                    return getattr(self.finder, name)

                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] in {BLOCKED!r}:
                        return None
                    return self.finder.find_spec(name, path, target)

            sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
            """
        )
    )
    command = [sys.executable, "-m", "benchmarks.gpu.run", str(folder), "--out", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [*command, "--device", "cpu", "--quick"], env=environment, capture_output=True, text=True, check=False
    )
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    states = {each["name"]: each["state"] for each in found["pieces"]}
    cannot = ("no wait", "endpoint", "cold start")  # no GPU, no web framework, too little content
    assert states == {name: COULD_NOT_RUN if name in cannot else PASSED for name in run.PIECES}, done.stdout
    assert "torchrec: stand-in" in found["machine"]["instead of a package"]
    reasons = {each["name"]: each["reason"] for each in found["pieces"]}
    assert reasons["endpoint"].startswith("not installed: fastapi")
