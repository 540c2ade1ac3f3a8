"""EASE: the linear model of items whose weights have a closed form (Steck 2019).

    minimise |X - X B|^2 + regularization |B|^2  with a zero diagonal of B
    P = (X'X + regularization I)^-1,  B = -P / diag(P) column by column,  0 on the diagonal

where X[u, i] is 1 if user u has a positive training event on item i. "Embarrassingly shallow autoencoders for
sparse data", WWW 2019.

Legend: U users, N items, K items with a weight.
"""

from typing import Final

import numpy as np
from scipy.linalg import inv
from scipy.sparse import csr_matrix

from recsys.arrays import Floats, Ints
from recsys.config import EASEConfig
from recsys.retrieval import ItemNeighborSource
from training.candidates.interactions import FitOptions, Interactions
from training.candidates.neighbor_table import neighbor_table

_BLOCK_ROWS: Final = 1024


def fit(interactions: Interactions, settings: EASEConfig, options: FitOptions) -> ItemNeighborSource:
    """The items of the largest positive weights of each item; every event of a history counts alike."""
    weight_KK, item_K = ease_weights(interactions, settings)
    whole_NN = _largest_weights(weight_KK, item_K, interactions.num_items, settings.neighbors)
    neighbor, weight = neighbor_table(whole_NN, settings.neighbors)
    return ItemNeighborSource(name="ease", neighbor=neighbor, weight=weight, decay=1.0)


def ease_weights(interactions: Interactions, settings: EASEConfig) -> tuple[Floats, Ints]:
    """B as float32 [K, K], row: item of the history, column: recommended item; and the ids of the items [K].

    The items are those with an event; of more than `settings.max_items` the ones with the most events, ties
    by lowest id. Time grows with K^3, memory is 8 bytes times K^2.
    """
    item_K = _most_frequent(interactions, settings.max_items)
    ones_UK = interactions.counts_UN[:, item_K].sign()
    gram_KK = (ones_UK.T @ ones_UK).toarray().astype(np.float64)
    gram_KK[np.diag_indices_from(gram_KK)] += settings.regularization
    inverse_KK = inv(gram_KK, overwrite_a=True, assume_a="pos")
    weight_KK = np.empty(inverse_KK.shape, np.float32)
    diagonal_K = np.diag(inverse_KK).copy()
    for start in range(0, len(item_K), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        weight_KK[rows] = -inverse_KK[rows] / diagonal_K
    np.fill_diagonal(weight_KK, 0.0)
    return weight_KK, item_K


def _most_frequent(interactions: Interactions, num: int) -> Ints:
    count_N = interactions.events_N
    order = np.lexsort((np.arange(len(count_N)), -count_N))[:num]
    return np.sort(order[count_N[order] > 0])


def _largest_weights(weight_KK: Floats, item_K: Ints, num_items: int, num: int) -> csr_matrix:
    """The `num` largest weights above 0 of each row. Shape [N, N]."""
    num = min(num, len(item_K))
    if not num:
        return csr_matrix((num_items, num_items), dtype=np.float32)
    row, column, value = [], [], []
    for start in range(0, len(item_K), _BLOCK_ROWS):
        part = weight_KK[start : start + _BLOCK_ROWS]
        place = np.argpartition(-part, num - 1, axis=1)[:, :num]
        at, weight = np.repeat(np.arange(len(part)), num), np.take_along_axis(part, place, 1).ravel()
        kept = weight > 0
        row.append(item_K[start + at[kept]])
        column.append(item_K[place.ravel()[kept]])
        value.append(weight[kept])
    places = (np.concatenate(row), np.concatenate(column))
    return csr_matrix((np.concatenate(value), places), shape=(num_items, num_items))
