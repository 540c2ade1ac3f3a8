"""The journal of a run: everything that is tracked, one JSON object a line, in order of time.

A line is written before it is sent, so that no step depends on a server. A process that is killed leaves at
most one incomplete line, which the next process removes.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PARENT = ""  # in place of a step: the parent run
Kind = Literal["start", "tags", "params", "metrics", "artifact", "text", "dataset", "end"]


def now_ms() -> int:
    """Milliseconds since 1970, the unit of time in MLflow."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. `values` by kind:

    start (name), tags (name -> text), params (name -> text), metrics (step, metrics: name -> number),
    artifact (path relative to the run directory, folder), text (name, text), dataset (name, digest,
    fingerprint, source, profile), end (status).
    """

    run: str  # the name of a step, or `PARENT`
    kind: Kind
    values: Mapping[str, Any]
    time_ms: int = field(default_factory=now_ms)


class Journal:
    """The file at `path`; threads of one process may write at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._is_repaired = False

    def append(self, entry: Entry) -> None:
        line = json.dumps(
            {"run": entry.run, "kind": entry.kind, "time_ms": entry.time_ms, "values": dict(entry.values)}
        )
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._is_repaired:
                self._remove_incomplete_line()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def read(self, start: int = 0) -> Iterator[tuple[Entry, int]]:
        """Entries from byte `start` on, each with the byte after it."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                yield Entry(**json.loads(line)), start

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def _remove_incomplete_line(self) -> None:
        self._is_repaired = True
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            content = file.read()
            if content and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
