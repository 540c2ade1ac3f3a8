"""Types of numpy arrays, and vectors at unit length.

Legend of shape suffixes, here and in recsys/models:
    B batch, L sequence length, N items, K candidates, T tokens of an item, M modalities,
    D model width, C values of a category field, R width of a review vector, S sources
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def unit(vectors: Floats) -> Floats:
    """The vectors [..., D] scaled to length 1; zeros stay zeros. Cold items may have other lengths."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    return scaled
