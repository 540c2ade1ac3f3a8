"""`GrowingArray`: an array whose rows are appended or replaced, while readers keep what they have."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Ints

Array = npt.NDArray[Any]
_HEADROOM: Final = 1024  # rows that are made at least when the array grows
_HEADROOM_SHARE: Final = 8  # or the eighth part of the rows


class GrowingArray:
    """Rows of one width. Every array that was given out keeps its values."""

    def __init__(self, rows: Array) -> None:
        self._buffer, self._used = rows, len(rows)

    @property
    def rows(self) -> Array:
        """All rows; a view."""
        return self._buffer[: self._used]

    def put(self, rows: Ints, values: Array) -> Array:
        """All rows, with `values` at the numbers `rows`; new numbers follow the last one without a gap."""
        size = max(self._used, int(rows.max(initial=-1)) + 1)
        if (rows < self._used).any() or size > len(self._buffer):
            capacity = size + max(_HEADROOM, size // _HEADROOM_SHARE)
            copied = np.zeros((capacity, *self._buffer.shape[1:]), self._buffer.dtype)
            copied[: self._used] = self._buffer[: self._used]
            self._buffer = copied
        self._buffer[rows] = values
        self._used = size
        return self.rows
