"""Transitions: how often a user's next items were this item, after that item.

Legend: U users, N items, E events.
"""

import numpy as np
from scipy.sparse import csr_matrix

from recsys.config import TransitionsConfig
from recsys.retrieval import ItemNeighborSource
from training.candidates.interactions import FitOptions, Interactions
from training.candidates.neighbor_table import neighbor_table

BLOCK_EVENTS = 5_000_000  # whose pairs are counted at once: a bound on memory, without effect on the result


def fit(interactions: Interactions, settings: TransitionsConfig, options: FitOptions) -> ItemNeighborSource:
    """The likeliest next items of each item; older events of a history count less."""
    share_NN = transition_shares(interactions, settings)
    neighbor, weight = neighbor_table(share_NN, settings.neighbors)
    return ItemNeighborSource(
        name="transitions", neighbor=neighbor, weight=weight, decay=settings.event_decay
    )


def transition_shares(interactions: Interactions, settings: TransitionsConfig) -> csr_matrix:
    """Of the weight of all items that followed an item, the share of each. Shape [N, N], rows sum to 1.

    A pair of events of one user that are `gap` events apart, at most `settings.reach`, has the weight
    `settings.gap_decay` ** (gap - 1).
    """
    size = (interactions.num_items, interactions.num_items)
    total_NN = csr_matrix(size)
    for gap in range(1, settings.reach + 1):
        # Counts are integers and add up exactly in any order; the weight is applied afterwards.
        total_NN = total_NN + settings.gap_decay ** (gap - 1) * _pairs_apart(interactions, gap)
    followed_N = np.asarray(total_NN.sum(1)).ravel()
    total_NN.data /= np.repeat(followed_N, np.diff(total_NN.indptr))
    return total_NN


def _pairs_apart(interactions: Interactions, gap: int) -> csr_matrix:
    """How often the second item stands `gap` events after the first, by user. Shape [N, N]."""
    item, user = interactions.user_items.item, interactions.user_items.user_of_event
    size = (interactions.num_items, interactions.num_items)
    count_NN = csr_matrix(size)
    for start in range(0, len(item) - gap, BLOCK_EVENTS):
        first = slice(start, min(start + BLOCK_EVENTS, len(item) - gap))
        second = slice(first.start + gap, first.stop + gap)
        same = user[first] == user[second]
        places = (item[first][same], item[second][same])
        count_NN = count_NN + csr_matrix((np.ones(int(same.sum())), places), shape=size)
    return count_NN
