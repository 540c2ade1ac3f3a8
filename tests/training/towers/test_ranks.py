"""A training by several processes is the training by one, and survives the loss of a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rank_parts import CASES, NUM_EPOCHS

SUPPORT = Path(__file__).resolve().parents[2] / "support"
PROGRAM = SUPPORT / "rank_parts.py"
RELATIVE = 1e-4  # sums of float32 in another order, over a few steps of Adam
pytestmark = pytest.mark.long


def start(num_ranks: int, *arguments: object, threads: int = 1, restarts: int = 0) -> subprocess.Popen[str]:
    ranks = [sys.executable]
    if num_ranks > 1:
        ranks = [*ranks, "-m", "torch.distributed.run", "--nproc-per-node", str(num_ranks)]
        ranks += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--max-restarts", str(restarts)]
    path = os.pathsep.join([str(SUPPORT), str(SUPPORT.parents[1])])
    return subprocess.Popen(
        [*ranks, str(PROGRAM), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(num_ranks: int, *arguments: object, **options: int) -> dict[str, object]:
    """What rank 0 printed."""
    process = start(num_ranks, *arguments, **options)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-4000:]
    lines = [line for line in out.splitlines() if line.startswith("{")]
    assert len(lines) == 1, "rank 0 alone prints"
    return dict(json.loads(lines[0]))


def assert_same(found: dict[str, object], expected: dict[str, object], relative: float = RELATIVE) -> None:
    for one, other in zip(found["curve"], expected["curve"], strict=True):  # type: ignore[call-overload]
        assert one == pytest.approx(other, rel=relative)
    assert found["sums"] == pytest.approx(expected["sums"], rel=relative, abs=1e-4)


@pytest.mark.parametrize("case", [case for case in CASES if case != "hard negatives"])
def test_two_ranks_are_one_process_with_two_threads(case: str) -> None:
    """Losses, scores and parameters, with dropout: two ranks draw what two threads draw."""
    assert_same(results(2, case), results(1, case, threads=2))


def test_hard_negatives_of_two_ranks_lower_the_loss() -> None:
    """Each rank mines for its own users, so these are not the negatives of one process."""
    losses = [entry["loss"] for entry in results(2, "hard negatives")["curve"]]  # type: ignore[index, union-attr]
    assert losses[-1] < losses[0] - 0.5


def test_the_plan_says_which_rank_holds_which_rows() -> None:
    plan = str(results(2, "sampled, by rows")["plan"])
    assert plan.startswith("2 ranks")
    assert [line.split()[2] for line in plan.splitlines() if line.startswith("item_id | row_wise")] == [
        "row_wise"
    ]
    assert "rank:1/cpu" in plan


@pytest.mark.parametrize("case", ["full, adamw", "sampled, by rows"])
def test_a_checkpoint_of_two_ranks_is_read_by_one_and_by_three(case: str, tmp_path: Path) -> None:
    path = tmp_path / "towers.pt"
    whole = results(2, case, path)
    for num_ranks in (1, 3):
        assert_same(results(num_ranks, case, path), whole, relative=1e-6)


def test_a_lost_rank_ends_the_training_with_a_message(tmp_path: Path) -> None:
    process = start(2, "sampled, by rows", tmp_path / "towers.pt", "kill")
    _, err = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "rank 0 of 2 has lost the others" in err
    assert "torchrun --max-restarts" in err


def test_a_restart_goes_on_from_the_checkpoint_to_the_same_end(tmp_path: Path) -> None:
    found = results(2, "sampled, by rows", tmp_path / "towers.pt", "kill", restarts=1)
    assert (tmp_path / "towers.pt.killed").exists()
    assert len(found["curve"]) == NUM_EPOCHS  # type: ignore[arg-type]
    assert_same(found, results(2, "sampled, by rows"))
