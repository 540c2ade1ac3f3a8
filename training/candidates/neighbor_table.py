"""A sparse matrix of item weights to the table that `ItemNeighborSource` reads.

Legend: N items, M neighbors of an item.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.arrays import Floats


def neighbor_table(weight_NN: csr_matrix, num_neighbors: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """The `num_neighbors` items of largest weight in each row, ties by lowest id, and their weights.

    Weights are divided by the mean of the rows' largest, so that those of all sources are of one scale.
    Shapes [N, M], 0 where a row has fewer.
    """
    num_items = weight_NN.shape[0]
    width = min(num_neighbors, num_items)
    neighbor = np.zeros((num_items, width), np.int32)
    weight = np.zeros((num_items, width), np.float32)
    for row in range(num_items):
        span = slice(weight_NN.indptr[row], weight_NN.indptr[row + 1])
        ids, values = weight_NN.indices[span], weight_NN.data[span]
        best = np.lexsort((ids, -values))[:width]
        neighbor[row, : len(best)], weight[row, : len(best)] = ids[best], values[best]
    largest = weight[:, 0][weight[:, 0] > 0]
    scale = float(largest.mean()) if len(largest) else 1.0
    return neighbor, (weight / scale).astype(np.float32)
