"""`recsys doctor`: the engines that work on this machine, and a remedy for each that does not."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from rich.console import Console
from rich.markup import escape

from recsys.cli.probes import PROBES, Absent, Broken, Probe

# An extra is installed if one of these packages is: no other extra depends on them.
ANCHORS = {"serve": ("python-multipart",), "train": ("torchrec", "implicit"), "faiss": (), "gpu": ()}


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one probe."""

    name: str
    state: Literal["ok", "failed", "absent"]
    required: bool  # by the extras that are installed
    detail: str
    remedy: str = ""

    @property
    def fatal(self) -> bool:
        return self.required and self.state != "ok"


def run_doctor() -> Iterator[Check]:
    """All checks, required ones first; each is yielded as soon as it is done."""
    chosen = {extra for extra, anchors in ANCHORS.items() if any(_version(name) for name in anchors)}
    for probe in PROBES:
        yield check(probe, chosen)


def print_report(checks: Iterable[Check], console: Console) -> int:
    """Print each check as it is done; returns 1 if a required engine does not work, else 0."""
    code = 0
    for result in checks:
        code |= result.fatal
        console.print(render(result), soft_wrap=True)
    console.print(
        "[red]a required engine does not work[/]" if code else "[green]all required engines work[/]"
    )
    return code


def render(check: Check) -> str:
    """One line in rich's markup, and a second line with the remedy if the check has one."""
    mark = {"ok": "[green]ok    [/]", "failed": "[red]FAILED[/]", "absent": "[yellow]-     [/]"}[check.state]
    option = "" if check.required or check.state == "ok" else " (optional)"
    line = f"{mark} {check.name:<16} {escape(check.detail)}{option}"
    return f"{line}\n{'':<24}{escape(check.remedy)}" if check.remedy else line


def check(probe: Probe, chosen: set[str]) -> Check:
    """The outcome of `probe`; it is required if the base or one of the `chosen` extras has its packages."""
    required = not probe.extras or not chosen.isdisjoint(probe.extras)
    remedy = _install(probe)
    missing = [names for names in probe.packages if not any(_version(name) for name in names.split("|"))]
    if missing:
        detail = f"not installed: {', '.join(names.split('|')[0] for names in missing)}"
        state: Literal["failed", "absent"] = "failed" if required else "absent"
        return Check(name=probe.name, state=state, required=required, detail=detail, remedy=remedy)
    try:
        with _quiet():
            _refuse_conflicts(probe)
            found = probe.try_it()
    except Absent as absent:
        return Check(name=probe.name, state="absent", required=False, detail=str(absent))
    except Exception as error:  # an engine may raise anything; the check reports it
        detail = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {str(error).strip()}"
        return Check(
            name=probe.name, state="failed", required=required, detail=detail, remedy=_remedy(error) or remedy
        )
    detail = ", ".join(filter(None, [*_versions(probe), found]))
    return Check(name=probe.name, state="ok", required=required, detail=detail)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _versions(probe: Probe) -> list[str]:
    names = [name for names in probe.packages for name in names.split("|")]
    return [f"{name} {version}" for name in names if (version := _version(name))]


def _install(probe: Probe) -> str:
    if not probe.extras:
        return "pip install recsys"
    extra = "cpu" if probe.extras[0] == "train" else probe.extras[0]
    return f"pip install 'recsys[{extra}]'"


def _refuse_conflicts(probe: Probe) -> None:
    for names in probe.packages:
        installed = [name for name in names.split("|") if _version(name)]
        if len(installed) > 1:
            again = f"{installed[0]}=={_version(installed[0])}"
            raise Broken(
                f"{' and '.join(installed)} overwrite each other's files",
                f"pip uninstall -y {' '.join(installed)} && pip install --no-deps {again}",
            )


def _remedy(error: Exception) -> str:
    if isinstance(error, Broken):
        return error.remedy
    causes = [error, error.__cause__, error.__context__]  # torch wraps the loader's error
    if any("libnvidia-ml" in str(cause) for cause in causes):
        return (
            "fbgemm-gpu needs an NVIDIA driver; without one: "
            "pip uninstall -y fbgemm-gpu && pip install --no-deps fbgemm-gpu-cpu"
        )
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings, logs and output, which engines produce on import."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
