"""Checks and measures, on a machine with one GPU and its own PyTorch, what this project does there.

    PYTHONPATH=. python -m benchmarks.gpu.run FOLDER --out RESULTS [--device cuda] [--seconds 340]

FOLDER is what `benchmarks.gpu.prepare` wrote. Needed are Python 3.11 or newer, torch and numpy. Every piece
runs in a process of its own, so that an error of CUDA ends that piece alone. It is PASSED with its figures,
FAILED with the error, or COULD NOT RUN with the reason. RESULTS gets gpu.json and gpu.md. `--device cpu` runs
every piece as far as it goes without a GPU; `--quick` makes all of them short. The exit code is 1 if a piece
failed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.gpu.stand_ins import provide

INSTEAD: Final = provide()  # before anything of this project is imported

import torch  # noqa: E402

from benchmarks.gpu.measure import CouldNotRun  # noqa: E402
from benchmarks.gpu.results import COULD_NOT_RUN, FAILED, PASSED, Outcome, write_results  # noqa: E402

PIECE_SECONDS = 100  # at most for one piece
START_SECONDS = 15  # with less time left no piece is started
ROOT = Path(__file__).parents[2]
# Name of a piece -> what it looks at. Their order is that of importance: time may run out.
PIECES: Mapping[str, str] = {
    "card": "rates of the device itself",
    "same step": "loss and gradients of a training step as on the CPU",
    "no wait": "steps in which the host never waits for the device",
    "training speed": "sequences a second, MFU and memory",
    "evaluation": "towers in torch, as on the CPU",
    "graphs": "exported graphs by IO binding against the CPU provider",
    "extraction": "the image encoder",
    "engine": "lists as the endpoint composes them",
    "ranker": "the ranker in torch, as on the CPU",
    "fit": "a training from its first to its last step",
    "cold start": "the cold-start head fitted on the device",
    "endpoint": "recsys serve in a process of its own",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=340.0)
    parser.add_argument("--pieces", nargs="+", choices=tuple(PIECES), default=list(PIECES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--piece", choices=tuple(PIECES), help=argparse.SUPPRESS)
    parser.add_argument("--known", type=json.loads, default={}, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.piece:
        sys.exit(run_piece(args))
    if args.out is None:
        parser.error("--out names the folder of the results")
    machine, outcomes = run_pieces(args)
    write_results(args.out, machine, outcomes)
    sys.exit(any(each.state == FAILED for each in outcomes))


def run_pieces(args: argparse.Namespace) -> tuple[dict[str, object], list[Outcome]]:
    """Every piece in its own process, until the time is up."""
    end, outcomes, known = time.monotonic() + args.seconds, [], {}
    for name in args.pieces:
        left = end - time.monotonic()
        if left < START_SECONDS:
            outcome = Outcome(
                name=name, about=PIECES[name], state=COULD_NOT_RUN, seconds=0.0, reason="no time is left"
            )
        else:
            outcome = started(name, args, min(left, PIECE_SECONDS), known)
        outcomes.append(outcome)
        if name == "card":
            known = dict(outcome.figures)
        print(f"{outcome.state:13}  {name}  ({outcome.seconds:.0f} s)  {outcome.reason[-300:]}", flush=True)
        if args.out is not None:
            write_results(args.out, machine_of(args.device), outcomes)
    return machine_of(args.device), outcomes


def started(name: str, args: argparse.Namespace, limit: float, known: dict[str, Any]) -> Outcome:
    """The outcome of one piece, whatever became of its process."""
    begin = time.monotonic()
    with TemporaryDirectory() as folder:
        out = Path(folder) / "outcome.json"
        command = [sys.executable, "-m", "benchmarks.gpu.run", str(args.folder.resolve())]
        command += ["--piece", name, "--out", str(out), "--device", args.device]
        command += ["--known", json.dumps(known, default=str)]
        command += ["--quick"] if args.quick else []
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        try:
            done = subprocess.run(
                command, env=environment, timeout=limit, capture_output=True, text=True, check=False
            )
            found = json.loads(out.read_text("utf-8")) if out.exists() else None
            reason = f"the process ended with code {done.returncode}: {done.stderr[-1500:]}"
        except subprocess.TimeoutExpired:
            found, reason = None, f"not done within {limit:.0f} s"
    if found is None:
        found = {"state": FAILED, "reason": reason, "figures": {}}
    return Outcome(name=name, about=PIECES[name], seconds=time.monotonic() - begin, **found)


def run_piece(args: argparse.Namespace) -> int:
    """Run one piece in this process and write its outcome to --out."""
    try:
        if args.device == "cuda" and not torch.cuda.is_available():
            raise CouldNotRun(f"torch {torch.__version__} finds no GPU")
        found = {"state": PASSED, "figures": piece_of(args.piece)(args), "reason": ""}
    except CouldNotRun as error:
        found = {"state": COULD_NOT_RUN, "figures": {}, "reason": str(error)}
    except ImportError as error:
        lacks = error.name if isinstance(error, ModuleNotFoundError) and error.name else str(error)
        is_ours = lacks.partition(".")[0] in ("benchmarks", "recsys", "features", "training", "serving")
        state = FAILED if is_ours else COULD_NOT_RUN
        found = {"state": state, "figures": {}, "reason": f"not installed, and needed: {lacks}"}
    except Exception as error:
        where = "".join(traceback.format_tb(error.__traceback__)[-3:])
        reason = f"{where}{type(error).__name__}: {error}".replace(str(ROOT), ".")
        found = {"state": FAILED, "figures": {}, "reason": reason}
    args.out.write_text(json.dumps(found, default=str), "utf-8")
    return 0


def piece_of(name: str) -> Callable[[argparse.Namespace], dict[str, object]]:
    """The function of a piece; what it needs is imported now, in the piece's own process."""

    def prepared(args: argparse.Namespace) -> Any:
        from benchmarks.gpu.folder import read

        return read(args.folder)

    def run(args: argparse.Namespace) -> dict[str, object]:
        device, quick = args.device, args.quick
        if name == "card":
            from benchmarks.gpu.card import rates

            return rates(torch.device(device), quick=quick)
        if name in ("same step", "no wait", "training speed", "fit"):
            from benchmarks.gpu import training_pieces as pieces

            if name == "same step":
                return pieces.same_step(prepared(args), device)
            if name == "no wait":
                return pieces.no_synchronisation(prepared(args), device)
            if name == "fit":
                return pieces.fit(prepared(args), device, quick=quick)
            return pieces.speed(prepared(args), device, quick=quick, card=args.known)
        return _of_models(name)(prepared(args), device, quick=quick)

    return run


def _of_models(name: str) -> Callable[..., dict[str, object]]:
    if name in ("graphs", "extraction"):
        from benchmarks.gpu import graph_pieces

        return graph_pieces.graphs if name == "graphs" else graph_pieces.extraction
    if name in ("engine", "endpoint"):
        from benchmarks.gpu import serving_pieces

        return serving_pieces.engine if name == "engine" else serving_pieces.endpoint
    from benchmarks.gpu import model_pieces

    of = {
        "evaluation": model_pieces.evaluation,
        "ranker": model_pieces.ranker,
        "cold start": model_pieces.cold_start,
    }
    return of[name]


def machine_of(device: str) -> dict[str, object]:
    """Names and versions, as far as this process can tell them."""
    from benchmarks.gpu.card import describe

    try:
        return describe(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        return {"device": f"{device}: {error}", "instead of a package": INSTEAD}


if __name__ == "__main__":
    main()
