"""Values and gradients of the losses with a queue, against loops over single candidates."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from recsys.models import contrastive_loss, hardest_triplet_loss
from training.alignment.losses import EXCLUDED, VectorQueue, candidate_cosines, contrastive, triplet


def batch(num_pairs=5, num_queued=7, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    one, other, queued = (
        normalize(torch.randn(size, dim, generator=generator), dim=1)
        for size in (num_pairs, num_pairs, num_queued)
    )
    queue = VectorQueue(num_queued, dim)
    queue.push(queued, torch.tensor([9, 1, 3, 20, 21, 1, 22]))  # items 1 and 3 are in the batch, too
    return one.requires_grad_(), other.requires_grad_(), torch.tensor([0, 1, 2, 3, 4]), queue


def candidates_of(row, one, other, items, queue):
    """Own cosine, and cosines of all wrong candidates of one query."""
    wrong = [one[row] @ other[at] for at in range(len(other)) if at != row]
    wrong += [
        one[row] @ vector
        for vector, item in zip(queue.vector_QS, queue.item_Q, strict=True)
        if item != items[row]
    ]
    return one[row] @ other[row], wrong


def slow_contrastive(own, wrong, temperature, smoothing):
    logits = [each / temperature for each in [own, *wrong]]
    total = sum(torch.exp(each) for each in logits)
    spread = sum(torch.log(total) - each for each in logits) / len(logits)
    return (1 - smoothing) * (torch.log(total) - logits[0]) + smoothing * spread


def slow_triplet(own, wrong, temperature, margin):
    return max([margin + each - own for each in wrong] + [torch.zeros(())])


@pytest.mark.parametrize(
    ("loss", "slow", "option"),
    [
        (contrastive(), slow_contrastive, 0.0),
        (contrastive(0.2), slow_contrastive, 0.2),
        (triplet(0.3), slow_triplet, 0.3),
    ],
    ids=["contrastive", "smoothed", "triplet"],
)
def test_value_and_gradient(loss, slow, option):
    one, other, items, queue = batch()
    temperature = torch.tensor(0.3, requires_grad=True)
    found = loss(candidate_cosines(one, other, items, queue), temperature)
    expected = sum(
        slow(*candidates_of(row, one, other, items, queue), temperature, option) for row in range(5)
    ) / len(items)
    torch.testing.assert_close(found, expected)
    leaves = [one, other] if loss.__qualname__.startswith("triplet") else [one, other, temperature]
    for fast, reference in zip(
        torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True
    ):
        torch.testing.assert_close(fast, reference)


def test_without_a_queue_both_directions_are_the_losses_of_the_towers():
    one, other, items, _ = batch()
    empty, temperature = VectorQueue(0, 4), torch.tensor(0.1)
    ways = [candidate_cosines(*each, items, empty) for each in ((one, other), (other, one))]
    both = sum(contrastive()(each, temperature) for each in ways) / 2
    torch.testing.assert_close(both, contrastive_loss(one, other, temperature=0.1))
    both = sum(triplet(0.2)(each, temperature) for each in ways)
    torch.testing.assert_close(both, hardest_triplet_loss(one, other, margin=0.2))


def test_other_vectors_of_the_own_item_are_no_negatives():
    one, other, items, queue = batch()
    cosine = candidate_cosines(one, other, items, queue)
    assert cosine.shape == (5, 12)
    masked = (cosine == EXCLUDED).nonzero().tolist()
    assert masked == [[1, 6], [1, 10], [3, 7]]  # items 1 and 3 in the queue


def test_the_queue_drops_the_oldest():
    queue = VectorQueue(3, 1)
    queue.push(torch.tensor([[1.0], [2.0]], requires_grad=True), torch.tensor([1, 2]))
    queue.push(torch.tensor([[3.0], [4.0]]), torch.tensor([3, 4]))
    assert queue.vector_QS[:, 0].tolist() == [2.0, 3.0, 4.0]
    assert queue.item_Q.tolist() == [2, 3, 4]
    assert not queue.vector_QS.requires_grad
    queue.push(torch.arange(5.0)[:, None], torch.arange(5))
    assert queue.item_Q.tolist() == [2, 3, 4]


def test_a_queue_of_size_0_stays_empty():
    queue = VectorQueue(0, 1)
    queue.push(torch.ones(4, 1), torch.arange(4))
    assert len(queue.vector_QS) == 0
    assert math.isclose(
        contrastive()(torch.eye(2), torch.tensor(1.0)).item(), math.log(1 + math.exp(-1)), rel_tol=1e-6
    )
