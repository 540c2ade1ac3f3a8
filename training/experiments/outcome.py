"""The results of one fit of an option, saved so that it is not fitted again.

`<option>-<seed>.parquet` has one row for each view and user, with every metric. `<option>-<seed>.json` has
all other fields.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.columns import Columns
from recsys.files import replacing
from recsys.metrics import Doubles

_VIEW = "view"


@dataclass(frozen=True, kw_only=True)
class ViewResults:
    """The results in one view by user: metric -> [U] in the order of `users`; empty without users."""

    description: str
    users: tuple[str, ...]
    num_pairs: int
    num_ranked: int
    values: Mapping[str, Doubles]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One option fitted with one seed."""

    fingerprint: str  # of the configuration and the data
    validation_ndcg: float | None  # NDCG@10 of the towers; None without validation events
    best_epoch: int
    cpu_seconds: float | None  # of the fit; None where it was interrupted
    views: Mapping[str, ViewResults]

    def save(self, path: Path) -> None:
        """Write both files beside each other; `path` is their path without an ending."""
        frames = [
            pl.DataFrame({_VIEW: [name] * len(view.users), Columns.USER: list(view.users), **view.values})
            for name, view in self.views.items()
            if view.users
        ]
        table = pl.concat(frames) if frames else pl.DataFrame({_VIEW: [], Columns.USER: []})
        with replacing(_with_ending(path, ".parquet")) as temporary:
            table.write_parquet(temporary)
        values = {name: value for name, value in vars(self).items() if name != "views"}
        values["views"] = {
            name: {"description": v.description, "num_pairs": v.num_pairs, "num_ranked": v.num_ranked}
            for name, v in self.views.items()
        }
        with replacing(_with_ending(path, ".json")) as temporary:
            temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> "Outcome | None":
        """The outcome that `save` wrote with the same `fingerprint`; None without one."""
        described = _with_ending(path, ".json")
        if not described.exists():
            return None
        values = json.loads(described.read_text("utf-8"))
        if values["fingerprint"] != fingerprint:
            return None
        table = pl.read_parquet(_with_ending(path, ".parquet"), glob=False)
        views = {
            name: _view(table.filter(pl.col(_VIEW) == name).drop(_VIEW), view)
            for name, view in values["views"].items()
        }
        return cls(**values | {"views": views})


def path_of(folder: Path, option: str, seed: int) -> Path:
    """Path without ending of an option's outcome; characters that a path cannot have become `_`."""
    name = re.sub(r"[^-=.,\w]+", "_", option)
    return folder / f"{name}-{seed}"


def fingerprint_of(config: str, data: str) -> str:
    """SHA-256 of the configuration and the fingerprint of the data of a fit."""
    return hashlib.sha256(f"{config}\n{data}".encode()).hexdigest()


def _view(table: pl.DataFrame, described: Mapping[str, object]) -> ViewResults:
    values = {name: table[name].to_numpy() for name in table.columns if name != Columns.USER and table.height}
    return ViewResults(**{**described, "users": tuple(table[Columns.USER]), "values": values})  # type: ignore[arg-type]


def _with_ending(path: Path, ending: str) -> Path:
    """`path` + `ending`. `with_suffix` would remove a part of a setting with a dot."""
    return path.with_name(path.name + ending)
