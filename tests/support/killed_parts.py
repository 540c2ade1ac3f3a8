"""Commands of recsys in processes that are killed with SIGKILL at chosen moments; run as a program.

The program imports the packages once and forks a process for each command, so that a killed command costs its
own work alone. It reads a list of `Killed` as JSON from its input, and prints a list of `Ended`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RANDOM = re.compile(r"[0-9a-f]{32,}|-[a-z0-9_]{8}(?=/|$)")  # parts of names that differ in each run


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A command, and the moment at which its process is killed; without a moment it ends by itself.

    `name` is the name of a file or folder: the process is killed at its first renaming to that name, before
    or after it; or to one of the names `or_at`, where an earlier process has come further. `seconds` are
    seconds after the start.
    """

    command: Sequence[str]
    name: str | None = None
    or_at: Sequence[str] = ()
    after: bool = False
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Exit code (-9: killed), seconds, and the names of renamed files and folders in their order."""

    code: int
    seconds: float
    names: Sequence[str]


def run_killed(kills: Sequence[Killed], errors: Path) -> list[Ended]:
    """The commands one after the other, in a fresh program; their output is written to `errors`."""
    with errors.open("w") as file:
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps([asdict(each) for each in kills]),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            check=False,
        )
    assert done.returncode == 0, errors.read_text()[-4000:]
    return [Ended(**each) for each in json.loads(done.stdout)]


def named(path: object) -> str:
    """The last two parts of `path`, without the random parts of names."""
    return RANDOM.sub("#", "/".join(Path(os.fsdecode(path)).parts[-2:]))  # type: ignore[call-overload]


def _run(kill: Killed, log: Path) -> Ended:
    log.write_text("", "utf-8")
    start = time.monotonic()
    child = os.fork()
    if not child:
        _command(kill, log)
    timer = threading.Timer(kill.seconds or 0, os.kill, (child, signal.SIGKILL))
    if kill.seconds is not None:
        timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    seconds = time.monotonic() - start
    return Ended(
        code=os.waitstatus_to_exitcode(status), seconds=seconds, names=log.read_text("utf-8").splitlines()
    )


def _command(kill: Killed, log: Path) -> None:
    """The command in this process, which ends with it."""
    from recsys import cli

    fatal = {kill.name, *kill.or_at}

    def watched(real: Any) -> Any:
        def rename(source: Any, target: Any, **options: Any) -> None:
            name = named(target)
            if name in fatal and not kill.after:
                os.kill(os.getpid(), signal.SIGKILL)
            real(source, target, **options)
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")
            if name in fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        return rename

    os.replace, os.rename = watched(os.replace), watched(os.rename)
    os.dup2(2, 1)  # the output of the program is the list of results
    sys.argv = ["recsys", *kill.command]
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    import tempfile

    import training.pipeline  # noqa: F401

    kills = [Killed(**each) for each in json.load(sys.stdin)]
    with tempfile.TemporaryDirectory() as folder:
        ended = [_run(each, Path(folder) / "names") for each in kills]
    print(json.dumps([asdict(each) for each in ended]))  # noqa: T201


if __name__ == "__main__":
    main()
