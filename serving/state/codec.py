"""A history as bytes: a line of JSON with name, type and shape of each array, then their bytes in order."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.history import History


def encode(history: History) -> bytes:
    """Bytes that `decode` turns back into `history`; little-endian, without pickles."""
    arrays = history.to_arrays()
    header = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    return json.dumps(header).encode() + b"\n" + b"".join(array.tobytes() for array in arrays.values())


def decode(content: bytes) -> History:
    """The history that `encode` wrote as `content`; its arrays are read-only."""
    header, _, _ = content.partition(b"\n")
    offset = len(header) + 1
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, dtype, shape in json.loads(header):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(content, np.dtype(dtype), count, offset).reshape(shape)
        offset += arrays[name].nbytes
    return History.from_arrays(arrays)
