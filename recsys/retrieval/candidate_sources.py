"""Candidate sources beside the towers: what was met together, what followed what, factors, popularity.

Fitted on training events alone (training/candidates/fit.py); they read the items of a history and nothing
else. An item without training events has no score, 0, in any of them.

Legend: B users, N items, M neighbours of an item, F factors, K candidates, S sources.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats, Ints
from recsys.errors import BundleError
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD

FORGOTTEN = 1e-3  # an event that counts less than this is not read
DENSE_SCORES = 8_000_000  # scores of so many users and items stand in memory at once


class Source(Protocol):
    """Scores for the whole catalogue from what a user met."""

    @property
    def name(self) -> str: ...
    def scores(self, histories: Sequence[History]) -> Floats:
        """At least 0, higher is better, 0 where the source knows nothing. Shape [B, N]."""
        ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]: ...
    def settings(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Items near those of the history; an event that is d events old counts `decay` to the power of d.

    A score is the weighed mean over the events of the weights in the table.
    """

    name: str
    neighbour: npt.NDArray[np.int32]  # [N, M], 0 where there are fewer
    weight: Floats  # [N, M]
    decay: float

    def scores(self, histories: Sequence[History]) -> Floats:
        num_items = len(self.neighbour)
        score_BN = np.zeros((len(histories), num_items), np.float32)
        for row, history in enumerate(histories):
            items = self._read(history.item)
            if len(items):
                age = np.arange(len(items))[::-1]
                counts = self.decay**age / (self.decay**age).sum()
                weight = self.weight[items] * counts[:, None]
                near = self.neighbour[items].ravel()
                score_BN[row] = np.bincount(near, weight.ravel(), minlength=num_items)
        score_BN[:, :NUM_RESERVED] = 0.0
        return score_BN

    def _read(self, items: Ints) -> Ints:
        if self.decay == 1.0:
            return items
        return items[-int(np.log(FORGOTTEN) / np.log(self.decay)) - 1 :]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"neighbour": self.neighbour, "weight": self.weight}

    def settings(self) -> dict[str, Any]:
        return {"decay": self.decay}


@dataclass(frozen=True, kw_only=True)
class Factors:
    """Implicit ALS (Hu, Koren and Volinsky 2008): a user's factors are solved from the history.

    Of c = `alpha` times the events of an item, the user's factors are
    (Y'Y + regularization I + sum of (c - 1) y y')^-1 times the sum of c y.
    """

    name: str
    factor: Floats  # [N, F], zeros of an item without training events
    regularization: float
    alpha: float

    def scores(self, histories: Sequence[History]) -> Floats:
        gram_FF = self.factor.T @ self.factor + self.regularization * np.eye(self.factor.shape[1])
        user_BF = np.zeros((len(histories), self.factor.shape[1]), np.float32)
        for row, history in enumerate(histories):
            items, counts = np.unique(history.item, return_counts=True)
            known = self.factor[items].any(1)
            if known.any():
                factor_HF, confidence_H = self.factor[items[known]], self.alpha * counts[known]
                left_FF = gram_FF + (factor_HF * (confidence_H - 1.0)[:, None]).T @ factor_HF
                user_BF[row] = np.linalg.solve(left_FF, confidence_H @ factor_HF)
        score_BN: Floats = np.maximum(user_BF @ self.factor.T, 0.0)
        return score_BN

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"factor": self.factor}

    def settings(self) -> dict[str, Any]:
        return {"regularization": self.regularization, "alpha": self.alpha}


@dataclass(frozen=True, kw_only=True)
class Popular:
    """The same scores for everybody, whatever they met."""

    name: str
    score: Floats  # [N], at most 1

    def scores(self, histories: Sequence[History]) -> Floats:
        return np.tile(self.score, (len(histories), 1))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"score": self.score}

    def settings(self) -> dict[str, Any]:
        return {}


KINDS: dict[str, type[Neighbours] | type[Factors] | type[Popular]] = {
    "neighbours": Neighbours,
    "factors": Factors,
    "popular": Popular,
}


def save_sources(sources: Sequence[Source], directory: Path) -> None:
    """Write `sources.json` and an array file for each array."""
    directory.mkdir(parents=True)
    described = []
    for source in sources:
        kind = next(name for name, cls in KINDS.items() if isinstance(source, cls))
        for name, array in source.arrays().items():
            np.save(directory / f"{source.name}.{name}.npy", array)
        described.append(
            {"name": source.name, "kind": kind, "arrays": list(source.arrays()), **source.settings()}
        )
    (directory / "sources.json").write_text(json.dumps(described, indent=2) + "\n", "utf-8")


def load_sources(directory: Path) -> tuple[Source, ...]:
    """Read what `save_sources` wrote; raises `BundleError` where it is something else."""
    try:
        return tuple(
            _load(directory, entry) for entry in json.loads((directory / "sources.json").read_text("utf-8"))
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{directory}: the candidate sources cannot be read: {error}") from None


def _load(directory: Path, entry: dict[str, Any]) -> Source:
    name, kind, arrays = entry.pop("name"), entry.pop("kind"), entry.pop("arrays")
    loaded = {array: np.load(directory / f"{name}.{array}.npy", mmap_mode="r") for array in arrays}
    source: Source = KINDS[kind](name=name, **loaded, **entry)
    return source


def merge(first_BK: Ints, others: Sequence[Ints]) -> Ints:
    """`first_BK`, then what the other lists add, in their order and each item once, 0 in the places left.

    Shape [B, K + the others' widths].
    """
    merged = np.concatenate([first_BK, *others], axis=1)
    for row in merged:
        _, at = np.unique(row, return_index=True)
        twice = np.ones(len(row), np.bool_)
        twice[at] = False
        row[twice] = PAD
    # What is left moves up, so that padding stands last; the first list keeps its places.
    width = first_BK.shape[1]
    tail = merged[:, width:]
    order = np.argsort(tail == PAD, axis=1, kind="stable")
    merged[:, width:] = np.take_along_axis(tail, order, 1)
    return merged
