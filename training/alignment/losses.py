"""Losses on pairs of vectors with a memory of earlier batches, and that memory.

Legend: B pairs of a batch, Q vectors in memory, S width of the shared space.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

# Candidates of one direction: cosines [B, B + Q] with the own candidate of row i in column i.
EXCLUDED: Final = -1e4  # in the place of a cosine; finite, so that the temperature has a gradient
PairLoss = Callable[[Tensor, Tensor], Tensor]  # candidates, temperature -> scalar


class VectorQueue:
    """The latest vectors of one modality with their items, first in, first out; they carry no gradient.

    A cross-batch memory (Wang et al. 2020, "Cross-Batch Memory for Embedding Learning"): the heads change
    slowly, so that vectors of earlier batches are almost those of now.
    """

    def __init__(self, size: int, dim: int) -> None:
        self.size = size
        self.vector_QS = torch.empty(0, dim)
        self.item_Q = torch.empty(0, dtype=torch.int64)

    def push(self, vector_BS: Tensor, item_B: Tensor) -> None:
        """Append a batch, and drop the oldest vectors beyond `size`."""
        keep = slice(max(len(self.item_Q) + len(item_B) - self.size, 0), None)
        self.vector_QS = torch.cat([self.vector_QS, vector_BS.detach()])[keep]
        self.item_Q = torch.cat([self.item_Q, item_B])[keep]


def candidate_cosines(query_BS: Tensor, own_BS: Tensor, item_B: Tensor, queue: VectorQueue) -> Tensor:
    """Cosines of each query with the batch and the queue, of unit vectors. Shape [B, B + Q].

    Other vectors of the query's own item are no negatives and have `EXCLUDED`.
    """
    cosine = query_BS @ torch.cat([own_BS, queue.vector_QS]).T
    same = item_B[:, None] == torch.cat([item_B, queue.item_Q])
    same.diagonal().fill_(False)
    return cosine.masked_fill(same, EXCLUDED)


def contrastive(label_smoothing: float = 0.0) -> PairLoss:
    """InfoNCE: mean over i of -log softmax(cosines_i / temperature)[i] (van den Oord et al. 2018).

    With label smoothing e the target has 1 - e, and all candidates share e.
    """

    def loss(cosine: Tensor, temperature: Tensor) -> Tensor:
        logit = cosine / temperature
        own_B = torch.arange(len(logit), device=logit.device)
        nll = F.cross_entropy(logit, own_B)
        if not label_smoothing:
            return nll
        log_probability = torch.log_softmax(logit, 1)
        is_candidate = cosine > EXCLUDED
        spread = -(log_probability.masked_fill(~is_candidate, 0.0).sum(1) / is_candidate.sum(1)).mean()
        return (1 - label_smoothing) * nll + label_smoothing * spread

    return loss


def triplet(margin: float) -> PairLoss:
    """Mean over i of the largest [margin + cos(i, j) - cos(i, i)]+ of all candidates j.

    Faghri et al. 2018, "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives".
    """

    def loss(cosine: Tensor, temperature: Tensor) -> Tensor:
        own_B1 = cosine.diagonal()[:, None]
        itself = torch.zeros_like(cosine, dtype=torch.bool)
        itself.diagonal().fill_(True)
        hardest_B = cosine.masked_fill(itself, EXCLUDED).amax(1)
        return torch.relu(margin + hardest_B - own_B1[:, 0]).mean()

    return loss
