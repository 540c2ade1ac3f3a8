"""Item-item similarity by the users in common, weighted by BM25, by `implicit`.

Legend: U users, N items, K items with a training event.
"""

import numpy as np
from scipy.sparse import csr_matrix

from recsys.arrays import Ints
from recsys.config import ItemItemConfig
from recsys.retrieval import ItemNeighborSource
from training.candidates.interactions import FitOptions, Interactions
from training.candidates.neighbor_table import neighbor_table


def fit(interactions: Interactions, settings: ItemItemConfig, options: FitOptions) -> ItemNeighborSource:
    """The most similar other items of each item; every event of a history counts alike."""
    similarity, item_K = bm25_similarity(interactions, settings, num_threads=options.num_threads)
    pairs = similarity.tocoo()
    other = pairs.row != pairs.col
    places = (item_K[pairs.row[other]], item_K[pairs.col[other]])
    num_items = interactions.num_items
    whole_NN = csr_matrix((pairs.data[other], places), shape=(num_items, num_items))
    neighbor, weight = neighbor_table(whole_NN, settings.neighbors)
    return ItemNeighborSource(name="item_item", neighbor=neighbor, weight=weight, decay=1.0)


def bm25_similarity(
    interactions: Interactions, settings: ItemItemConfig, *, num_threads: int = 0
) -> tuple[csr_matrix, Ints]:
    """Inner products of the items' BM25-weighted columns of `Interactions.counts_UN`, a user as the term.

    The `settings.neighbors` largest of each item are kept, the item itself among them. Returns the float32
    matrix [K, K] and the item ids [K] of its rows: the items without an event would count as empty
    documents.
    """
    from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight

    item_K = np.flatnonzero(interactions.known_N)
    counts_UK = interactions.counts_UN[:, item_K]
    weighted_UK = bm25_weight(counts_UK.T, settings.k1, settings.b).T.tocsr()
    model = ItemItemRecommender(K=settings.neighbors, num_threads=num_threads)
    model.fit(weighted_UK, show_progress=False)
    similarity: csr_matrix = model.similarity.astype(np.float32)
    return similarity, item_K
