"""A history as bytes: a line of JSON that names the arrays, then the arrays as they lie in memory."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats
from recsys.history import History

_FIELDS = ("item", "timestamp", "event", "value", "seen")
_REVIEWS = ("review_text", "review_audio")


def encode(history: History) -> bytes:
    """Bytes that `decode` turns back into `history`; little-endian, without pickles."""
    arrays = list(_arrays(history))
    header = [(name, array.dtype.str, array.shape) for name, array in arrays]
    return json.dumps(header).encode() + b"\n" + b"".join(array.tobytes() for _, array in arrays)


def decode(content: bytes) -> History:
    """The history behind `content`; its arrays are read-only."""
    header, _, _ = content.partition(b"\n")
    offset = len(header) + 1
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, dtype, shape in json.loads(header):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(content, np.dtype(dtype), count, offset).reshape(shape)
        offset += arrays[name].nbytes
    return History(
        item=arrays["item"],
        timestamp=arrays["timestamp"],
        event=arrays["event"],
        value=arrays["value"],
        seen=arrays["seen"],
        review_text=_by_position(arrays, "review_text"),
        review_audio=_by_position(arrays, "review_audio"),
        profile={
            name.removeprefix("profile:"): ids for name, ids in arrays.items() if name.startswith("profile:")
        },
    )


def _arrays(history: History) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    for name in _FIELDS:
        yield name, getattr(history, name)
    for name in _REVIEWS:
        reviews: Mapping[int, Floats] = getattr(history, name)
        if reviews:
            yield f"{name}:position", np.array(list(reviews), np.int64)
            yield f"{name}:vector", np.stack(list(reviews.values()))
    for name, ids in history.profile.items():
        yield f"profile:{name}", ids


def _by_position(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> dict[int, Floats]:
    if f"{name}:position" not in arrays:
        return {}
    positions, vectors = arrays[f"{name}:position"], arrays[f"{name}:vector"]
    return dict(zip(positions.tolist(), vectors.astype(np.float32, copy=False), strict=True))
