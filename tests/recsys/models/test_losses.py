import pytest
import torch
from torch.nn import functional as F

from recsys.models.losses import (
    chunked_cross_entropy,
    contrastive_loss,
    hardest_triplet_loss,
    listwise_cross_entropy,
    sampled_cross_entropy,
)


def _inputs(num=7, items=11, dim=5):
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(num, dim, generator=generator, requires_grad=True)
    vectors = torch.randn(items, dim, generator=generator, requires_grad=True)
    target = torch.randint(0, items, (num,), generator=generator)
    return state, vectors, target


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_chunked_equals_plain_in_value_and_gradient(chunk):
    state, vectors, target = _inputs()
    loss = 3.0 * chunked_cross_entropy(state, vectors, target, temperature=0.3, chunk=chunk)
    loss.backward()
    fast = state.grad.clone(), vectors.grad.clone()
    state.grad = vectors.grad = None
    slow = 3.0 * F.cross_entropy(state @ vectors.T / 0.3, target)
    slow.backward()
    torch.testing.assert_close(loss, slow)
    torch.testing.assert_close(fast[0], state.grad)
    torch.testing.assert_close(fast[1], vectors.grad)


def test_sampled_with_every_item_and_even_rates_equals_full():
    state, vectors, target = _inputs()
    rows = torch.arange(len(vectors))
    even = torch.zeros(len(vectors))
    loss = sampled_cross_entropy(
        state,
        vectors[target],
        vectors,
        target_id_P=target,
        negative_id_J=rows,
        target_log_q_P=even[target],
        negative_log_q_J=even,
        temperature=0.5,
        chunk=3,
    )
    torch.testing.assert_close(loss, F.cross_entropy(state @ vectors.T / 0.5, target))


def _plain_sampled(state, target, negative, target_id, negative_id, target_log_q, negative_log_q):
    """The formula with all logits at once."""
    positive = (state * target).sum(1, keepdim=True) / 0.3 - target_log_q[:, None]
    others = state @ negative.T / 0.3 - negative_log_q
    others = others.masked_fill(target_id[:, None] == negative_id, float("-inf"))
    return F.cross_entropy(torch.cat([positive, others], 1), torch.zeros(len(state), dtype=torch.int64))


@pytest.mark.parametrize("num", [0, 7])
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_sampled_equals_plain_in_value_and_gradient(num, chunk):
    """Negatives repeat, some equal a target, and one prediction has only such negatives."""
    state, vectors, target = _inputs(num=num)
    negative = torch.tensor([4, 4, 9, *target[:2].tolist()])
    given = torch.randn(len(vectors), generator=torch.Generator().manual_seed(2))
    leaves = state, vectors
    for drawn in (negative, torch.full((5,), int(target[0]) if num else 3)):
        fast = 3.0 * sampled_cross_entropy(
            state,
            vectors[target],
            vectors[drawn],
            target_id_P=target,
            negative_id_J=drawn,
            target_log_q_P=given[target],
            negative_log_q_J=given[drawn],
            temperature=0.3,
            chunk=chunk,
        )
        if not num:
            assert fast == 0.0
            assert not any(each.any() for each in torch.autograd.grad(fast, leaves))
            continue
        slow = 3.0 * _plain_sampled(
            state, vectors[target], vectors[drawn], target, drawn, given[target], given[drawn]
        )
        _parity(fast, slow, leaves)


def test_sampled_correction_is_consistent_with_the_full_softmax():
    """Negatives drawn by popularity and corrected give, on average, the full softmax's partition function."""
    state, vectors, _ = _inputs(num=1, items=40)
    generator = torch.Generator().manual_seed(1)
    rate = torch.rand(40, generator=generator) + 0.1
    rate = rate / rate.sum()
    num_draws = 200_000
    drawn = torch.multinomial(rate, num_draws, replacement=True, generator=generator)
    log_q = torch.log(rate * num_draws)
    corrected = torch.logsumexp(state @ vectors[drawn].T - log_q[drawn], dim=1)
    torch.testing.assert_close(corrected, torch.logsumexp(state @ vectors.T, dim=1), atol=0.02, rtol=0)


def test_listwise_is_cross_entropy_for_one_positive_and_ignores_padding():
    score = torch.tensor([[2.0, 1.0, 0.0, 9.0]])
    label = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True, False]])
    expected = F.cross_entropy(score[:, :3], torch.tensor([1]))
    torch.testing.assert_close(listwise_cross_entropy(score, label, mask), expected)


def test_listwise_shares_weight_between_positives():
    score = torch.tensor([[0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    label = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    loss = listwise_cross_entropy(score, label, torch.ones(1, 4, dtype=torch.bool))
    loss.backward()
    torch.testing.assert_close(loss, torch.log(torch.tensor(4.0)))
    torch.testing.assert_close(score.grad, torch.tensor([[-0.25, -0.25, 0.25, 0.25]]))


def _pairs(num=6, dim=4):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(num, dim, generator=generator, requires_grad=True) for _ in range(2)]


def _parity(fast, slow, leaves):
    torch.testing.assert_close(fast, slow)
    for found, expected in zip(
        torch.autograd.grad(fast, leaves), torch.autograd.grad(slow, leaves), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_contrastive_equals_the_softmax_written_out():
    one, other = _pairs()
    slow = torch.zeros(())
    for a, b in ((one, other), (other, one)):
        for i in range(len(a)):
            scores = [F.cosine_similarity(a[i], b[j], dim=0) / 0.2 for j in range(len(b))]
            slow = slow - (scores[i] - torch.logsumexp(torch.stack(scores), 0)) / (2 * len(a))
    _parity(contrastive_loss(one, other, temperature=0.2), slow, (one, other))


def test_hardest_triplet_equals_the_hinge_written_out():
    one, other = _pairs()
    slow = torch.zeros(())
    for a, b in ((one, other), (other, one)):
        for i in range(len(a)):
            own = F.cosine_similarity(a[i], b[i], dim=0)
            hinges = [
                torch.relu(0.3 + F.cosine_similarity(a[i], b[j], dim=0) - own)
                for j in range(len(b))
                if j != i
            ]
            slow = slow + torch.stack(hinges).max() / len(a)
    _parity(hardest_triplet_loss(one, other, margin=0.3), slow, (one, other))


def test_losses_of_pairs_by_hand():
    """Two pairs at right angles: own cosine 1, the other's 0."""
    vectors = torch.eye(2)
    expected = -torch.log(torch.tensor(1.0).exp() / (torch.tensor(1.0).exp() + 1.0))
    torch.testing.assert_close(contrastive_loss(vectors, 3 * vectors, temperature=1.0), expected)
    assert hardest_triplet_loss(vectors, vectors, margin=1.0) == 0.0
    # Exchanged: own cosine 0, the other's 1, both ways.
    assert hardest_triplet_loss(vectors, vectors.flip(0), margin=0.5) == 3.0


def test_losses_of_pairs_are_taken_in_float32_under_autocast():
    one, other = _pairs()
    with torch.autocast("cpu", torch.bfloat16):
        found = contrastive_loss(one, other, temperature=0.05)
    assert torch.equal(found, contrastive_loss(one, other, temperature=0.05))
