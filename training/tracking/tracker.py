"""Trackers of a step: one writes to the journal of the run, the other stores nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from training.tracking.journal import PARENT, Entry, Kind


class Tracker(Protocol):
    """The tracker of one step. Names may contain any character. No call waits for a server."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Add parameters to the parent run."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the run of the step and to the parent run."""
        ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Store the file or directory `path` of the run directory in `folder` of the parent run."""
        ...

    def log_text(self, text: str, name: str) -> None:
        """Store `text` as the file `name`, which may contain folders."""
        ...

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to the parent run."""
        ...

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, int]) -> None:
        """Add the dataset as an input of the parent run; `profile` has the numbers of its rows."""
        ...


class NullTracker:
    """A tracker that stores nothing."""

    def log_params(self, params: Mapping[str, object]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...

    def log_text(self, text: str, name: str) -> None: ...

    def log_tags(self, tags: Mapping[str, str]) -> None: ...

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, int]) -> None: ...


class JournalTracker:
    """Passes entries of the step `run` to `write`; paths in them are relative to `root`."""

    def __init__(self, write: Callable[[Entry], None], run: str, root: Path) -> None:
        self._write, self._run, self._root = write, run, root

    def log_params(self, params: Mapping[str, object]) -> None:
        self._log("params", {name: str(value) for name, value in params.items()}, PARENT)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        numbers = {name: float(value) for name, value in metrics.items()}
        self._log("metrics", {"step": step or 0, "metrics": numbers}, self._run)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        relative = path.resolve().relative_to(self._root.resolve()).as_posix()
        self._log("artifact", {"path": relative, "folder": folder}, PARENT)

    def log_text(self, text: str, name: str) -> None:
        self._log("text", {"name": name, "text": text}, PARENT)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        self._log("tags", tags, PARENT)

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, int]) -> None:
        values = {"name": name, "fingerprint": fingerprint, "source": source, "profile": dict(profile)}
        self._log("dataset", values, PARENT)

    def _log(self, kind: Kind, values: Mapping[str, object], run: str) -> None:
        self._write(Entry(run=run, kind=kind, values=values))
