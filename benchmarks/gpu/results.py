"""What a run of the pieces found, as JSON and as a table in Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recsys.files import replacing

PASSED, FAILED, COULD_NOT_RUN = "PASSED", "FAILED", "COULD NOT RUN"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One piece: its state, its figures, and the reason where it did not pass."""

    name: str
    about: str
    state: str
    seconds: float
    figures: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""


def write_results(out: Path, machine: Mapping[str, object], outcomes: Sequence[Outcome]) -> None:
    """Write gpu.json and gpu.md in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"machine": dict(machine), "pieces": [asdict(each) for each in outcomes]}
    for name, text in (("gpu.json", json.dumps(content, indent=2)), ("gpu.md", table(machine, outcomes))):
        with replacing(out / name) as temporary:
            temporary.write_text(text + "\n", "utf-8")


def table(machine: Mapping[str, object], outcomes: Sequence[Outcome]) -> str:
    """The machine, the state of each piece, and every figure."""
    lines = ["| machine | |", "|---|---|"]
    lines += [f"| {name} | {shown(value)} |" for name, value in machine.items()]
    lines += ["", "| piece | result | seconds | |", "|---|---|---|---|"]
    lines += [f"| {each.name} | {each.state} | {each.seconds:.0f} | {one_line(each)} |" for each in outcomes]
    for each in outcomes:
        if each.figures:
            lines += ["", f"| {each.name} | |", "|---|---|"]
            lines += [f"| {name} | {shown(value)} |" for name, value in each.figures.items()]
    return "\n".join(lines)


def one_line(outcome: Outcome) -> str:
    """The piece's purpose, and after it the reason where it did not pass."""
    reason = " ".join(outcome.reason.split())[-300:].replace("|", "/")
    return f"{outcome.about}{': ' if reason else ''}{reason}"


def shown(value: object) -> str:
    """A number with four significant digits, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "/")
