"""A training by several processes is the training by one, and survives the loss of a process."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rank_parts import CASES, NUM_EPOCHS

SUPPORT = Path(__file__).resolve().parents[2] / "support"
RELATIVE = 1e-3  # sums of float32 in another order, over a few steps of Adam
CHECKED = "full, exact;sampled, exact"  # in the tests of checkpoints
ONE = "sampled, by rows"
Results = Mapping[str, Mapping[str, Any]]  # by case
pytestmark = pytest.mark.long


def start(
    num_ranks: int,
    *arguments: object,
    threads: int = 1,
    restarts: int = 0,
    extra: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(num_ranks)]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--max-restarts", str(restarts)]
    program = [str(SUPPORT / "rank_parts.py"), *map(str, arguments)]
    path = os.pathsep.join([str(SUPPORT), str(SUPPORT.parents[1])])
    return subprocess.Popen(
        [sys.executable, *(launcher if num_ranks > 1 else []), *program],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path, **(extra or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(num_ranks: int, *arguments: object, **options: int) -> Results:
    """The results by case, which rank 0 wrote."""
    process = start(num_ranks, *arguments, **options)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-4000:]
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {each["case"]: each for each in found}


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Any], relative: float = RELATIVE) -> None:
    for one, other in zip(found["curve"], expected["curve"], strict=True):
        assert one == pytest.approx(other, rel=relative)
    assert found["sums"] == pytest.approx(expected["sums"], rel=relative, abs=1e-3)


@pytest.fixture(scope="module")
def two_ranks() -> Results:
    """All cases by two ranks."""
    return results(2, ";".join(CASES))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of two ranks that were stopped in the last epoch."""
    path = tmp_path_factory.mktemp("ranks") / "towers.pt"
    assert results(2, CHECKED, path, "stop") == {}
    return path


@pytest.fixture(scope="module")
def one_process() -> Results:
    """All cases by one process with two threads."""
    return results(1, ";".join(CASES), threads=2)


@pytest.mark.parametrize("case", [case for case in CASES if case != "hard negatives"])
def test_two_ranks_are_one_process_with_two_threads(
    case: str, two_ranks: Results, one_process: Results
) -> None:
    """Losses, scores and parameters, with dropout: two ranks draw what two threads draw."""
    assert_same(two_ranks[case], one_process[case])


def test_hard_negatives_of_two_ranks_lower_the_loss(two_ranks: Results) -> None:
    """Each rank mines for its own users, so these are not the negatives of one process."""
    losses = [entry["loss"] for entry in two_ranks["hard negatives"]["curve"]]
    assert losses[-1] < losses[0] - 0.5


def test_the_plan_says_which_rank_holds_which_rows(two_ranks: Results) -> None:
    for case, kind in {ONE: "row_wise", "sampled, whole": "table_wise"}.items():
        plan = two_ranks[case]["plan"]
        assert plan.startswith("2 ranks")
        cells = [[cell.strip() for cell in line.split("|")] for line in plan.splitlines()]
        assert {line[1] for line in cells if line[0] in ("item_id", "genres") and len(line) == 4} >= {kind}
        assert ("rank:1/cpu" in plan) or kind == "table_wise"


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_any_number_goes_on_with_a_checkpoint_of_two_ranks(
    num_ranks: int, two_ranks: Results, stopped: Path, tmp_path: Path
) -> None:
    """To the end that two ranks reach: tables, moments of Adagrad and averages are divided anew."""
    for checkpoint in stopped.parent.iterdir():
        shutil.copy(checkpoint, tmp_path)
    found = results(num_ranks, CHECKED, tmp_path / stopped.name)
    for case in CHECKED.split(";"):
        one, other = found[case], two_ranks[case]
        for entry, expected in zip(one["curve"], other["curve"], strict=True):
            assert entry == pytest.approx(expected, rel=RELATIVE)
        # Adam divides a gradient by its own size, so where the gradient is 0 but for rounding (the bias of
        # keys), the parameters depend on the order of sums, that is on the number of shards.
        for name, total in other["sums"].items():
            if name.startswith(("item_id.", "category.", "item_tower.project")):
                assert one["sums"][name] == pytest.approx(total, rel=RELATIVE), name


def test_a_lost_rank_ends_the_training_with_a_message(tmp_path: Path) -> None:
    process = start(2, ONE, tmp_path / "towers.pt", "kill")
    _, err = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "rank 0 of 2 has lost the others" in err
    assert "torchrun --max-restarts" in err


def test_a_rank_that_does_not_answer_in_time_ends_the_training_with_a_message(tmp_path: Path) -> None:
    """Both processes are started by hand: torchrun would wait half a minute for the frozen one."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    arguments = (ONE, tmp_path / "towers.pt", "freeze")
    first, frozen = (start(1, *arguments, extra={**world, "RANK": str(rank)}) for rank in range(2))
    try:
        _, err = first.communicate(timeout=120)
    finally:
        frozen.kill()
        frozen.communicate()
    assert first.returncode != 0
    assert "rank 0 of 2 has lost the others" in err
    assert "train.processes.timeout_seconds = 5" in err


def test_a_restart_goes_on_from_the_checkpoint_to_the_same_end(tmp_path: Path, two_ranks: Results) -> None:
    found = results(2, ONE, tmp_path / "towers.pt", "kill", restarts=1)[ONE]
    assert (tmp_path / "towers.pt.killed").exists()
    assert len(found["curve"]) == NUM_EPOCHS
    assert_same(found, two_ranks[ONE], relative=1e-6)
