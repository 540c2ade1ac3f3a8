"""External ids at the edges, integers inside: 0 is padding, 1 is unknown, 2 is the first real id."""

from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.errors import DataError, did_you_mean

PAD = 0
UNKNOWN = 1
NUM_RESERVED = 2


class IdMap:
    """An immutable map between external ids (strings) and integers from 2 on."""

    def __init__(self, external: Sequence[str]) -> None:
        self.external: tuple[str, ...] = tuple(external)
        if len(self._internal) != len(self.external):
            seen: set[str] = set()
            twice = next(name for name in self.external if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise DataError(f"id {twice!r} occurs twice; ids must be unique")
        # numpy's fixed-width strings drop a trailing NUL, so that `load` would give another id.
        nul = next((name for name in self.external if "\0" in name), None)
        if nul is not None:
            raise DataError(f"id {nul!r} has a NUL character; remove it")

    def extended(self, names: Sequence[str]) -> "IdMap":
        """With `names` after the last id. Raises `DataError` as the constructor."""
        if "\0" in "".join(names) or len({*names}) < len(names) or any(name in self for name in names):
            return IdMap((*self.external, *names))  # raises
        other = copy(self)
        other.external = (*self.external, *names)
        internal = dict(zip(names, range(self.size, self.size + len(names)), strict=True))
        other.__dict__["_internal"] = self._internal | internal  # in place of the cached property's
        return other

    @cached_property
    def _internal(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.external, NUM_RESERVED)}

    @property
    def size(self) -> int:
        """Number of rows of a table indexed by these ids; the two reserved ids are included."""
        return len(self.external) + NUM_RESERVED

    def __len__(self) -> int:
        return len(self.external)

    def __contains__(self, name: str) -> bool:
        return name in self._internal

    def get(self, name: str) -> int:
        """The integer of `name`, `UNKNOWN` where `name` is not in the map."""
        return self._internal.get(name, UNKNOWN)

    def strict(self, name: str) -> int:
        """The integer of `name`. Raises `DataError` with the nearest known id where it is not in the map."""
        try:
            return self._internal[name]
        except KeyError:
            raise DataError(f"unknown id {name!r}; {did_you_mean(name, self.external[:10_000])}") from None

    def encode(self, names: Iterable[str]) -> npt.NDArray[np.int64]:
        """Integers of `names`, `UNKNOWN` for names that are not in the map. Shape [len(names)]."""
        return np.fromiter((self._internal.get(name, UNKNOWN) for name in names), dtype=np.int64)

    def decode(self, ids: npt.NDArray[np.integer] | Sequence[int]) -> list[str]:
        """External ids of `ids`; none of them may be padding or unknown."""
        rows = np.asarray(ids, dtype=np.int64)
        assert (rows >= NUM_RESERVED).all(), "padding and unknown have no external id"
        return [self.external[row - NUM_RESERVED] for row in rows]

    def save(self, path: Path) -> None:
        """Write the ids as a unicode .npy file without pickles."""
        np.save(path, np.asarray(self.external, dtype=np.str_), allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "IdMap":
        return cls(np.load(path, allow_pickle=False).tolist())
