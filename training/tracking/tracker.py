"""What a step tells a tracker: into the journal of its run, or nowhere."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from training.tracking.journal import PARENT, Entry, Kind


class Tracker(Protocol):
    """One step of a run. Names may hold any character. A call returns at once; it waits for no server."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Settings of the run as a whole."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers of this step, which are those of the run as well."""
        ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep the file or the directory at `path`, which lies in the run directory, in `folder`."""
        ...

    def log_text(self, text: str, name: str) -> None:
        """Keep `text` as a file of that name, which may hold folders."""
        ...

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run as a whole."""
        ...

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, int]) -> None:
        """The dataset that the run reads; `profile` counts its rows."""
        ...


class NullTracker:
    """Keeps nothing."""

    def log_params(self, params: Mapping[str, object]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...

    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...

    def log_text(self, text: str, name: str) -> None: ...

    def log_tags(self, tags: Mapping[str, str]) -> None: ...

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, int]) -> None: ...


class JournalTracker:
    """Writes entries of the step `run` by `write`; paths are kept relative to `root`."""

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
