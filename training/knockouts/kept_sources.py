"""A candidate source whose candidates are kept in memory."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.retrieval import CandidateSource


class KeptCandidates:
    """`source`, which is asked once for the candidates of the same items of the same histories.

    A source reads the items of a history and its `asked_at` alone (`CandidateSource`), so histories that
    differ in other fields, such as the vectors of reviews, have the same candidates. Kept arrays are
    read-only.
    """

    kind: ClassVar[str] = "kept"

    def __init__(self, source: CandidateSource) -> None:
        self._source = source
        self._kept: dict[bytes, tuple[Ints, Floats]] = {}

    @property
    def name(self) -> str:
        return self._source.name

    def candidates(
        self,
        histories: Sequence[History],
        k: int,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ints, Floats]:
        """As `CandidateSource.candidates`."""
        key = _digest(histories, k, excluded, allowed)
        if key not in self._kept:
            found = self._source.candidates(histories, k, excluded=excluded, allowed=allowed)
            for array in found:
                array.setflags(write=False)
            self._kept[key] = found
        return self._kept[key]

    def scores(self, histories: Sequence[History], item_BK: Ints) -> Floats:
        """As `CandidateSource.scores`; not kept, since the items differ from call to call."""
        return self._source.scores(histories, item_BK)

    def save(self, directory: Path) -> dict[str, Any]:
        """As `CandidateSource.save`; raises `TypeError`: the source itself is saved."""
        raise TypeError("kept candidates are in memory alone; save the source itself")

    @classmethod
    def load(cls, directory: Path, *, name: str, **settings: Any) -> Self:
        """As `CandidateSource.load`; raises `TypeError`: nothing is saved."""
        raise TypeError("kept candidates are in memory alone; load the source itself")


def _digest(
    histories: Sequence[History], k: int, excluded: Sequence[Ints] | None, allowed: Bools | None
) -> bytes:
    """SHA-256 of the arguments of one call of `candidates`, the length of every array included."""
    items, times = [history.item for history in histories], [history.asked_at for history in histories]
    digest = hashlib.sha256(repr((k, times, excluded is None, allowed is None)).encode())
    for array in [*items, *(excluded or ()), *([] if allowed is None else [allowed])]:
        digest.update(repr((array.dtype.str, len(array))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
