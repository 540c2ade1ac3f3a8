"""Trained heads: a relation that a linear map does not hold, hard negatives, one seed one result."""

import numpy as np
import pytest
import torch
from alignment_parts import linear_catalogue

from recsys.arrays import unit
from recsys.config import AlignmentConfig, TrainedHeadsConfig
from training.alignment import cross_modal_recall, fit_alignment
from training.alignment.closed_form import CanonicalCorrelation
from training.alignment.heads import IdentityHead, JointHead, project
from training.alignment.methods import validation_score
from training.alignment.train import _Training, train_heads
from training.alignment.views import Views

SMALL = TrainedHeadsConfig(hidden_dim=32, dropout=0.1, num_seeds=1, epochs=10, batch_size=64, queue_size=64)


def views_of(**options):
    return Views.of(linear_catalogue(**options))


def start_of(views):
    return CanonicalCorrelation(views, 8).heads(ridge=0.1, power=1.0)


def trained(views, config=SMALL, **options):
    return train_heads(
        views, start_of(views), config, **{"seed": 0, "score": None, "num_epochs": 3, **options}
    )


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_a_relation_that_is_not_linear_is_found_better_than_by_the_closed_form(loss):
    """Pictures hold the absolute values of the causes, which no linear map of the texts gives."""
    rng = np.random.default_rng(0)
    cause, has = rng.standard_normal((700, 3)), np.ones(700, bool)
    text = cause @ rng.standard_normal((3, 12))
    image = np.hstack([np.abs(cause), 0.3 * cause]) @ rng.standard_normal((6, 16))
    vectors = {"text": (text.astype(np.float32), has), "image": (image.astype(np.float32), has)}
    settings = {"loss": loss, "epochs": 15, "dropout": 0.0, "learning_rate": 0.01, "hidden_dim": 64}
    config = AlignmentConfig(trained=SMALL.model_copy(update=settings))
    found = fit_alignment(vectors, config, items=np.arange(600))
    assert found.record.method in ("trained", "joint")
    assert found.record.scores["trained"] > found.record.scores["closed_form"] + 0.05
    linear = fit_alignment(vectors, AlignmentConfig(method="closed_form"), items=np.arange(600))
    found_recall, linear_recall = (
        cross_modal_recall(each, vectors, np.arange(600, 700))["Recall@1"].mean() for each in (found, linear)
    )
    assert found_recall > linear_recall + 0.1


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_a_known_linear_relation_is_found_on_held_out_items(loss):
    vectors = linear_catalogue(num_items=400)
    config = AlignmentConfig(method="trained", trained=SMALL.model_copy(update={"loss": loss}))
    fitted = fit_alignment(vectors, config, items=np.arange(320))
    assert fitted.record.method == "trained"
    assert cross_modal_recall(fitted, vectors, np.arange(320, 400))["Recall@1"].min() > 0.9


def test_training_starts_from_the_closed_form():
    views = views_of(num_items=50)
    training = _Training(views, start_of(views), SMALL, seed=0)
    for kind, start in start_of(views).items():
        given = views.vectors[kind]
        np.testing.assert_allclose(project(training.heads[kind], given), unit(start(given)), atol=1e-6)


def test_below_the_least_number_of_items_nothing_is_trained():
    vectors = linear_catalogue(num_items=100)
    config = AlignmentConfig(method="trained", min_items=101, trained=SMALL)
    assert fit_alignment(vectors, config).record.method == "closed_form"
    config = AlignmentConfig(min_items=101, trained=SMALL)
    assert set(fit_alignment(vectors, config).record.scores) == {"closed_form"}


def test_the_best_on_validation_is_chosen_and_fitted_on_all_items():
    vectors = linear_catalogue(num_items=120, noise=0.5)
    config = AlignmentConfig(min_items=50, trained=SMALL.model_copy(update={"num_seeds": 2, "epochs": 4}))
    fitted = fit_alignment(vectors, config)
    assert set(fitted.record.scores) == {"closed_form", "trained", "joint"}
    assert fitted.record.scores[fitted.record.method] == max(fitted.record.scores.values())
    assert (fitted.record.num_items, fitted.record.num_validation_items) == (120, 18)


def test_the_same_seed_gives_the_same_heads():
    views = views_of(num_items=80, noise=0.5)
    weights = []
    for _ in range(2):
        torch.rand(7)  # whatever was drawn before
        weights.append(trained(views).heads["text"].hidden.weight)
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], trained(views, seed=1).heads["text"].hidden.weight)


def test_training_leaves_torchs_random_state_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    trained(views_of(num_items=40))
    assert torch.equal(torch.rand(1), expected)


def test_the_weights_of_the_best_epoch_are_kept():
    scores = iter([0.1, 0.5, 0.4, 0.3])
    seen = []

    def score(heads):
        seen.append(heads["text"].hidden.weight.clone())
        return next(scores)

    result = trained(
        views_of(num_items=80), SMALL.model_copy(update={"patience": 2}), score=score, num_epochs=None
    )
    assert (result.num_epochs, result.score, len(seen)) == (2, 0.5, 4)
    assert torch.equal(result.heads["text"].hidden.weight, seen[1])


def test_hard_negatives_are_the_nearest_wrong_items():
    views = views_of(num_items=40, noise=2.0)
    config = SMALL.model_copy(update={"num_hard_negatives": 3})
    training = _Training(views, start_of(views), config, seed=0)
    training.epoch(1)
    found = training._nearest_wrong_items()
    text, image = (project(training.heads[kind], views.vectors[kind]) for kind in ("text", "image"))
    for item in range(40):
        cosine = text[item] @ image.T
        cosine[item] = -np.inf
        assert set(found[item]) == set(np.argsort(-cosine)[:3])
    training.neighbors = found
    batch = training._with_hard_negatives(np.arange(10))
    assert set(range(10)) < set(batch.tolist())
    assert set(batch.tolist()) <= set(range(10)) | set(found[:10].ravel().tolist())


def test_items_of_one_kind_change_the_heads_only_by_consistency():
    views = views_of(num_items=100, present={"image": 0.5})
    paired = views.only(views.paired_items())
    start = start_of(views)

    def fit(of, weight):
        config = SMALL.model_copy(update={"consistency_weight": weight, "queue_size": 0})
        return train_heads(of, start, config, seed=0, score=None, num_epochs=2).heads["text"].hidden.weight

    assert torch.equal(fit(views, 0.0), fit(paired, 0.0))
    assert not torch.equal(fit(views, 0.5), fit(views, 0.0))
    assert torch.equal(fit(paired, 0.5), fit(paired, 0.0))


def test_a_joint_head_has_the_weighted_mean_of_the_cosines():
    one, other = np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32)

    class Cut(IdentityHead):
        def forward(self, vector_BD):
            return super().forward(vector_BD[:, :3])

    joint = JointHead([IdentityHead(6), Cut(3)], [1.0, 3.0])
    assert joint.dim == 9
    expected = sum(
        weight * project(head, one) @ project(head, other).T
        for weight, head in ((0.25, IdentityHead(6)), (0.75, Cut(3)))
    )
    np.testing.assert_allclose(project(joint, one) @ project(joint, other).T, expected, atol=1e-6)


def test_validation_score_by_hand():
    """Both directions; the own item of query 1 is second."""
    has = np.ones(3, bool)
    vectors = {
        "text": (np.float32([[1, 0], [1, 1], [0, 1]]), has),
        "image": (np.float32([[1, 0], [1, 2], [0, 1]]), has),
    }
    heads = {"text": IdentityHead(2), "image": IdentityHead(2)}
    # Text to image: ranks 1, 1, 1. Image to text: image 1 is nearest to text 1 (3 / sqrt 10) as well.
    assert validation_score(heads, Views.of(vectors)) == pytest.approx(1.0)
    vectors["image"][0][1] = [1, 9]
    # Text 1: cosines .71, .78, .71. Image 1: cosines .11, .78, .99, so its own is second.
    assert validation_score(heads, Views.of(vectors)) == pytest.approx((1 + (2 + 1 / np.log2(3)) / 3) / 2)
    assert validation_score({"text": heads["text"]}, Views.of(vectors)) == 0.0
