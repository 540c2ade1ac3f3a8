"""Embedded encoders that are missing in the cache, converted at the same time in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from features.conversion.registry import EMBEDDED, default_cache_dir, is_converted
from features.encoders import Kind

# `-P` and PYTHONPATH: the packages of this process, and no folder of the working directory in their place.
_PROGRAM = """
import sys
from pathlib import Path
from features.conversion.registry import ensure_encoder
ensure_encoder(sys.argv[1], Path(sys.argv[2]))
"""


def convert_missing(
    names: Mapping[Kind, str],
    cache_dir: Path | None = None,
    *,
    num_processes: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """Convert those of `names` that are embedded and missing, `num_processes` at a time.

    A conversion is one thread of Python code for most of its time, so several in one process take turns.
    Fewer than two missing encoders, or one process, are left to `ensure_encoder`. So is an encoder whose
    process failed: `ensure_encoder` converts it again and raises the error.
    """
    cache_dir = cache_dir or default_cache_dir()
    embedded = [name for kind, name in names.items() if name in EMBEDDED and EMBEDDED[name].kind == kind]
    missing = [name for name in embedded if not is_converted(name, cache_dir)]
    if min(len(missing), num_processes) < 2:
        return
    step = f"converting {', '.join(missing)}"
    progress(step, 0, len(missing))
    with ThreadPoolExecutor(num_processes) as pool:
        running = [pool.submit(_run, [name, str(cache_dir)]) for name in missing]
        for done, _ in enumerate(as_completed(running), 1):
            progress(step, done, len(missing))


def _run(arguments: Sequence[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
