"""Gradients of a step are those of the plain loss, in however many shards, and a seed fixes the dropout."""

import pytest
import torch
from step_parts import assert_same_step, gradients_of, plain_loss, step_gradients, tiny_model, tiny_windows

from recsys.config import TrainConfig
from training.towers.train_step import TrainStep

PLAIN = {"views": {"weight": 0.0}}  # the next item's loss alone
AUXILIARY = {
    "alignment": {"kind": "contrastive", "weight": 0.5},
    "views": {"weight": 0.5},
    "adversarial": {"weight": 0.5},
}


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_shards_sum_to_the_gradient_of_the_plain_loss(num_shards):
    model = tiny_model()
    expected = plain_loss(model, model.embed_items(torch.arange(model.features.size)).vector_ND)
    expected.backward()
    plain = expected.item(), gradients_of(model)
    model.zero_grad()
    step = TrainStep(model, TrainConfig(precision="float32", auxiliary=PLAIN), num_shards=num_shards)
    assert_same_step(step_gradients(model, step), plain)


@pytest.mark.parametrize(
    "config",
    [
        {"auxiliary": PLAIN},
        {"auxiliary": PLAIN, "sampled_above": 5, "num_negatives": 8},
        {"auxiliary": PLAIN, "sampled_above": 5, "num_negatives": 8, "hard_negatives": 0.5},
        {"auxiliary": AUXILIARY},
        {"auxiliary": AUXILIARY, "sampled_above": 5, "num_negatives": 8},
    ],
    ids=["full", "sampled", "hard negatives", "auxiliary", "auxiliary, sampled"],
)
def test_a_seed_and_a_number_of_shards_fix_the_step(config):
    model = tiny_model(dropout=0.4)
    step = TrainStep(model, TrainConfig(precision="float32", **config), num_shards=3)
    step.start_epoch()
    (loss, first), (again, second) = (step_gradients(model, step) for _ in range(2))
    assert loss == again
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(2)
    assert step.backward(tiny_windows()).item() != loss


@pytest.mark.parametrize(
    ("config", "loss", "length"),
    [
        ({}, 6.864549741148949, 37.72365188598633),
        ({"auxiliary": PLAIN}, 6.6150007247924805, 36.01309585571289),
        ({"sampled_above": 5, "num_negatives": 8}, 5.1211032420396805, 40.11899948120117),
        (
            {"sampled_above": 5, "num_negatives": 8, "hard_negatives": 0.5},
            2.9034016132354736,
            44.32805633544922,
        ),
        ({"auxiliary": AUXILIARY}, 14.815707683563232, 57.59547805786133),
        (
            {"auxiliary": AUXILIARY, "sampled_above": 5, "num_negatives": 8},
            11.763962030410767,
            60.9832649230957,
        ),
    ],
    ids=["default", "full", "sampled", "hard negatives", "auxiliary", "auxiliary, sampled"],
)
def test_the_second_step_gives_the_recorded_loss_and_length_of_the_gradient(config, loss, length):
    """Numbers of the code before losses were objects: a change of the order of draws changes all of them."""
    model = tiny_model(dropout=0.4)
    step = TrainStep(model, TrainConfig(precision="float32", **config), num_shards=1)
    torch.manual_seed(1)
    for _ in range(2):
        step.start_epoch()
        found = step.backward(tiny_windows()).item()
    assert found == pytest.approx(loss, rel=1e-5)
    norms = torch.stack([gradient.norm() for gradient in gradients_of(model).values()])
    assert float(norms.norm()) == pytest.approx(length, rel=1e-4)


def test_a_loss_that_is_off_is_not_built():
    def names(**auxiliary):
        settings = TrainConfig(auxiliary={"views": {"weight": 0.0}} | auxiliary)
        return [type(loss).__name__ for loss in TrainStep(tiny_model(), settings).losses]

    assert names() == ["NextItemLoss"]
    assert names(views={"weight": 0.1}) == ["NextItemLoss", "ItemBatchLoss"]
    assert names(adversarial={"weight": 0.1}) == ["AdversarialLoss"]


def test_what_is_off_leaves_every_draw_and_sum_as_it_was():
    off = {
        "num_items": 2,
        "alignment": {"kind": "contrastive", "weight": 0.0},
        "views": {"weight": 0.0, "token_dropout": 0.9},
        "adversarial": {"radius": 9.0},
    }
    found = []
    for auxiliary in (PLAIN, off):
        model = tiny_model(dropout=0.4)
        step = TrainStep(model, TrainConfig(precision="float32", auxiliary=auxiliary), num_shards=2)
        found.append((*step_gradients(model, step), torch.get_rng_state()))
    (loss, first, drawn), (other_loss, second, other_drawn) = found
    assert loss == other_loss
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(drawn, other_drawn)


def test_operations_have_all_threads_again_between_steps():
    before = torch.get_num_threads()
    step = TrainStep(tiny_model(), TrainConfig(), num_shards=2)
    with step.one_thread_per_operation():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
