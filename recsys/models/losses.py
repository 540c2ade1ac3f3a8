"""Losses: full and sampled softmax over a catalogue, listwise, and contrastive over pairs of vectors.

Legend: P predictions, c predictions of one chunk, N items of the catalogue, or pairs of the contrastive
    losses, D width, J negatives, B lists, K candidates of a list.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Gradients are computed in the forward pass, so that only one chunk of logits is in memory at a time."""

    @staticmethod
    def forward(
        ctx: Any, state_PD: Tensor, item_ND: Tensor, target_P: Tensor, temperature: float, chunk: int
    ) -> Tensor:
        # Products in the items' precision (bfloat16 under autocast), sums over the catalogue in float32.
        scaled_PD = (state_PD / temperature).to(item_ND.dtype)
        grad_state_PD = torch.empty_like(scaled_PD)
        grad_item_ND = torch.zeros(item_ND.shape, dtype=torch.float32, device=item_ND.device)
        loss = torch.zeros((), device=state_PD.device)
        for start in range(0, len(state_PD), chunk):
            state_cD, target_c1 = scaled_PD[start : start + chunk], target_P[start : start + chunk, None]
            logit_cN = state_cD @ item_ND.T
            highest_c1 = logit_cN.amax(1, keepdim=True)
            logit_cN.sub_(highest_c1)
            target_logit_c1 = logit_cN.gather(1, target_c1)
            weight_cN = logit_cN.exp_()  # one pass over the chunk serves the loss and the gradient
            total_c1 = weight_cN.sum(1, keepdim=True, dtype=torch.float32)
            loss += (total_c1.log() - target_logit_c1.float()).sum()
            gradient_cN = weight_cN.mul_(total_c1.reciprocal().to(weight_cN.dtype))
            gradient_cN.scatter_add_(1, target_c1, gradient_cN.new_full(target_c1.shape, -1.0))
            torch.mm(gradient_cN, item_ND, out=grad_state_PD[start : start + chunk])
            grad_item_ND += gradient_cN.T @ state_cD
        mean = 1.0 / max(len(state_PD), 1)
        grad_state_PD = grad_state_PD.to(state_PD.dtype).mul_(mean / temperature)
        ctx.save_for_backward(grad_state_PD, grad_item_ND.mul_(mean).to(item_ND.dtype))
        return loss / max(len(state_PD), 1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_state_PD, grad_item_ND = ctx.saved_tensors
        return grad_outputs[0] * grad_state_PD, grad_outputs[0] * grad_item_ND, None, None, None


def chunked_cross_entropy(
    state_PD: Tensor, item_ND: Tensor, target_P: Tensor, *, temperature: float, chunk: int
) -> Tensor:
    """Mean of -log softmax(state . items / temperature)[target]; `target_P` are rows of `item_ND`."""
    loss: Tensor = _ChunkedCrossEntropy.apply(state_PD, item_ND, target_P, temperature, chunk)
    return loss


class _ChunkedSampledCrossEntropy(torch.autograd.Function):
    """Gradients are computed in the forward pass, as in `_ChunkedCrossEntropy`."""

    @staticmethod
    def forward(
        ctx: Any,
        state_PD: Tensor,
        target_PD: Tensor,
        negative_JD: Tensor,
        ids: tuple[Tensor, Tensor],
        log_q: tuple[Tensor, Tensor],
        temperature: float,
        chunk: int,
    ) -> Tensor:
        (target_id_P, negative_id_J), (target_log_q_P, negative_log_q_J) = ids, log_q
        # The products with the negatives in their precision (bfloat16 under autocast), all else in float32.
        scaled_PD = (state_PD / temperature).to(negative_JD.dtype)
        positive_P1 = (state_PD.float() * target_PD.float()).sum(1, keepdim=True) / temperature
        positive_P1 -= target_log_q_P[:, None]
        grad_state_PD = torch.empty_like(scaled_PD)
        grad_positive_P1 = torch.empty_like(positive_P1)
        grad_negative_JD = torch.zeros(negative_JD.shape, dtype=torch.float32, device=negative_JD.device)
        loss = torch.zeros((), device=state_PD.device)
        for start in range(0, len(state_PD), chunk):
            part = slice(start, start + chunk)
            state_cD, positive_c1 = scaled_PD[part], positive_P1[part]
            logit_cJ = (state_cD @ negative_JD.T).float().sub_(negative_log_q_J)
            logit_cJ.masked_fill_(target_id_P[part, None] == negative_id_J, float("-inf"))
            highest_c1 = torch.maximum(logit_cJ.amax(1, keepdim=True), positive_c1)
            weight_cJ = logit_cJ.sub_(highest_c1).exp_()
            positive_c1 = positive_c1 - highest_c1
            total_c1 = weight_cJ.sum(1, keepdim=True) + positive_c1.exp()
            loss += (total_c1.log() - positive_c1).sum()
            gradient_cJ = weight_cJ.mul_(total_c1.reciprocal()).to(negative_JD.dtype)
            grad_positive_P1[part] = positive_c1.exp() / total_c1 - 1.0
            torch.mm(gradient_cJ, negative_JD, out=grad_state_PD[part])
            grad_negative_JD += gradient_cJ.T @ state_cD
        mean = 1.0 / max(len(state_PD), 1)
        grad_positive_P1 *= mean / temperature
        grad_state_PD = grad_state_PD.float() * (mean / temperature) + grad_positive_P1 * target_PD.float()
        ctx.save_for_backward(
            grad_state_PD.to(state_PD.dtype),
            (grad_positive_P1 * state_PD.float()).to(target_PD.dtype),
            grad_negative_JD.mul_(mean).to(negative_JD.dtype),
        )
        return loss * mean

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad_outputs[0] * gradient for gradient in ctx.saved_tensors), None, None, None, None


def sampled_cross_entropy(
    state_PD: Tensor,
    target_PD: Tensor,
    negative_JD: Tensor,
    *,
    target_id_P: Tensor,
    negative_id_J: Tensor,
    target_log_q_P: Tensor,
    negative_log_q_J: Tensor,
    temperature: float,
    chunk: int,
) -> Tensor:
    """Softmax over the target and shared negatives, with the logQ correction, `chunk` predictions at a time.

    logit = state . item / temperature - log q(item), where q is the sampling probability of the item. The
    correction makes the sampled softmax consistent with the full one (Bengio and Senécal 2008; Yi et al.
    2019, "Sampling-Bias-Corrected Neural Modeling"). Negatives that equal the target are left out.
    """
    loss: Tensor = _ChunkedSampledCrossEntropy.apply(
        state_PD,
        target_PD,
        negative_JD,
        (target_id_P, negative_id_J),
        (target_log_q_P, negative_log_q_J),
        temperature,
        chunk,
    )
    return loss


def listwise_cross_entropy(score_BK: Tensor, label_BK: Tensor, mask_BK: Tensor) -> Tensor:
    """Mean over lists of the cross entropy of softmax(score) and the uniform distribution over positives.

    ListNet's top-one loss (Cao et al. 2007). Every list must hold at least one positive. `mask_BK` is false
    for padding.
    """
    log_probability_BK = torch.log_softmax(score_BK.masked_fill(~mask_BK, float("-inf")), dim=1)
    weight_BK = label_BK / label_BK.sum(1, keepdim=True)
    picked_BK = torch.where(label_BK > 0, log_probability_BK, torch.zeros_like(log_probability_BK))
    return -(picked_BK * weight_BK).sum(1).mean()


def contrastive_loss(
    one_ND: Tensor, other_ND: Tensor, *, temperature: float, keep_N: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE over cosines; the negatives of a pair are the vectors of the other pairs.

    Half the mean of -log softmax(cos(one_i, other) / temperature)[i], plus half the mean with both sides
    exchanged (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
    figure 3). Pairs with a false `keep_N` are left out.
    """
    logit_NN = _cosines(one_ND, other_ND) / temperature
    own_N = torch.arange(len(logit_NN), device=logit_NN.device)
    if keep_N is None:
        return (F.cross_entropy(logit_NN, own_N) + F.cross_entropy(logit_NN.T, own_N)) / 2
    logit_NN = logit_NN.masked_fill(~(keep_N[:, None] & keep_N), float("-inf"))
    # A pair that is left out has logits of 0: finite, and without a gradient.
    sums = [
        F.cross_entropy(each_NN.masked_fill(~keep_N[:, None], 0.0), own_N, reduction="none")
        .masked_fill(~keep_N, 0.0)
        .sum()
        for each_NN in (logit_NN, logit_NN.T)
    ]
    return (sums[0] + sums[1]) / (2 * keep_N.sum().clamp(min=1))


def hardest_triplet_loss(one_ND: Tensor, other_ND: Tensor, *, margin: float) -> Tensor:
    """Triplet loss with the hardest negative among the other pairs; at least two pairs are needed.

    Mean over i of max_j [margin + cos(one_i, other_j) - cos(one_i, other_i)]+, plus the same mean with both
    sides exchanged (Faghri et al. 2018, "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives",
    equation 6).
    """
    cosine_NN = _cosines(one_ND, other_ND)
    own_N = cosine_NN.diagonal()
    itself_NN = torch.eye(len(own_N), dtype=torch.bool, device=own_N.device)
    negative_NN = cosine_NN.masked_fill(itself_NN, float("-inf"))
    hinges = [torch.relu(margin + negative_NN.amax(dim) - own_N) for dim in (1, 0)]
    return (hinges[0] + hinges[1]).mean()


def _cosines(one_ND: Tensor, other_ND: Tensor) -> Tensor:
    """Cosine of each of `one_ND` with each of `other_ND`, in float32. Shape [N, N].

    A division by the temperature would enlarge the rounding errors of bfloat16.
    """
    with torch.autocast(one_ND.device.type, enabled=False):
        return F.normalize(one_ND.float(), dim=1) @ F.normalize(other_ND.float(), dim=1).T
