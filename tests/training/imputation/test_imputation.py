"""Imputation: what the other modalities tell is imputed; what is present is never changed."""

import numpy as np
import pytest
import torch

from features.dataset import MediaVectors, MediumVectors
from recsys.arrays import Bools, Floats, Ints, unit
from recsys.config import ImputationMethod
from recsys.ridge import solve_ridge
from training.imputation import MIN_ITEMS, fit_imputer, impute_media
from training.imputation.methods import RIDGES
from training.imputation.observed import Observed
from training.imputation.variational import Components, ProductOfExperts, product

WIDTHS = {"title": 12, "text": 16, "image": 20}
LEARNED: tuple[ImputationMethod, ...] = ("ridge", "variational")


def correlated(num_items: int = 240, seed: int = 0, noise: float = 0.3) -> dict[str, tuple[Floats, Bools]]:
    """Every modality is another linear image of four hidden numbers, with noise; some items lack some."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(num_items, 4))
    found = {}
    for name, width in WIDTHS.items():
        vectors = hidden @ rng.normal(size=(4, width)) + noise * rng.normal(size=(num_items, width)) + 0.5
        found[name] = (vectors.astype(np.float32), rng.random(num_items) < 0.9)
    return found


def hide(vectors: dict[str, tuple[Floats, Bools]], name: str, rows: Ints) -> dict[str, tuple[Floats, Bools]]:
    array, has = vectors[name]
    left, zeroed = has.copy(), array.copy()
    left[rows], zeroed[rows] = False, 0
    return vectors | {name: (zeroed, left)}


def cosine(found: Floats, true: Floats) -> float:
    return float((unit(found) * unit(true)).sum(1).mean())


@pytest.mark.parametrize("method", ["ridge", pytest.param("variational", marks=pytest.mark.long)])
def test_what_the_other_modalities_tell_is_imputed(method: ImputationMethod) -> None:
    vectors, rows = correlated(), np.arange(40)
    hidden = hide(vectors, "image", rows)
    rows = rows[Observed.of(hidden).has_other("image")[rows]]
    true = vectors["image"][0][rows]
    found, mean = (fit_imputer(each, hidden, seed=0) for each in (method, "mean"))
    assert found is not None
    assert mean is not None
    predicted = found.predict("image", rows)
    assert np.allclose(np.linalg.norm(predicted, axis=1), 1, atol=1e-5)
    assert cosine(mean.predict("image", rows), true) < 0.4
    assert cosine(predicted, true) > 0.8
    again = fit_imputer(method, hidden, seed=0)
    assert again is not None
    assert np.array_equal(again.predict("image", rows), predicted)


def test_the_ridge_regression_is_the_one_of_its_formula() -> None:
    """One modality predicts the other: the coefficients for some penalty of the grid, by a plain solve."""
    both = correlated(60)
    vectors = {name: (unit(both[name][0]), np.ones(60, np.bool_)) for name in ("title", "text")}
    vectors = hide(vectors, "text", np.array([0, 1]))
    imputer = fit_imputer("ridge", vectors, seed=3)
    assert imputer is not None
    title, text = (vectors[name][0].astype(np.float64) for name in ("title", "text"))
    inputs = np.concatenate([title - title.mean(0), np.ones((60, 1))], axis=1)
    gram, moment = inputs[2:].T @ inputs[2:], inputs[2:].T @ text[2:]
    expected = [unit(inputs[:2] @ solve_ridge(gram, moment, alpha)) for alpha in RIDGES]
    found = imputer.predict("text", np.array([0, 1]))
    assert min(np.abs(found - each).max() for each in expected) < 1e-4


def test_the_posterior_is_the_product_of_the_experts() -> None:
    """Hand-computed: experts (1, variance 1/2) and (-2, variance 1/3), and the prior."""
    experts = {
        "a": (torch.full((3, 1), 1.0), torch.full((3, 1), 2.0)),
        "b": (torch.full((3, 1), -2.0), torch.full((3, 1), 3.0)),
    }
    has = {"a": torch.tensor([1.0, 1.0, 0.0]), "b": torch.tensor([1.0, 0.0, 0.0])}
    mean, variance = product(experts, has)
    assert mean[:, 0].tolist() == pytest.approx([(2 - 6) / 6, 2 / 3, 0])
    assert variance[:, 0].tolist() == pytest.approx([1 / 6, 1 / 3, 1])


def test_the_elbo_is_the_one_of_its_formula() -> None:
    torch.manual_seed(0)
    model = ProductOfExperts({"a": 3, "b": 2}).eval()
    inputs = {
        "a": (torch.randn(4, 3), torch.tensor([1.0, 1.0, 0.0, 1.0])),
        "b": (torch.randn(4, 2), torch.tensor([1.0, 0.0, 1.0, 1.0])),
    }
    has = {"a": torch.tensor([1.0, 1.0, 0.0, 0.0]), "b": torch.tensor([1.0, 0.0, 1.0, 1.0])}
    torch.manual_seed(7)
    found = model.negative_elbo(inputs, [has])
    torch.manual_seed(7)
    mean, variance = product(model.experts(inputs), has)
    posterior = torch.distributions.Normal(mean, variance.sqrt())
    latent = mean + variance.sqrt() * torch.randn(1, *mean.shape)[0]
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    loss = torch.distributions.kl_divergence(posterior, prior).sum(1)
    for name, (component, present) in inputs.items():
        loss = loss + 0.5 * ((model.decoders[name](latent) - component) ** 2).sum(1) * present
    assert found.item() == pytest.approx(loss.mean().item(), rel=1e-5)


def test_principal_components_restore_vectors_of_their_span() -> None:
    rng = np.random.default_rng(0)
    vectors = unit((rng.normal(size=(50, 3)) @ rng.normal(size=(3, 10)) + 1.0).astype(np.float32))
    components = Components.of(vectors)
    projected = components.project(vectors)
    assert np.allclose(components.vectors(projected), vectors, atol=1e-4)
    assert projected.var(0).mean() == pytest.approx(1.0, rel=0.05)


def media(vectors: dict[str, tuple[Floats, Bools]]) -> MediaVectors:
    return MediaVectors(
        items={
            name: MediumVectors(owner=np.flatnonzero(has), vectors=3 * unit(array[has]))
            for name, (array, has) in vectors.items()
        },
        reviews={},
    )


@pytest.mark.parametrize("method", ["mean", *LEARNED])
def test_exactly_the_missing_media_of_items_with_another_one_are_imputed(method: ImputationMethod) -> None:
    vectors = correlated()
    for name in WIDTHS:
        vectors = hide(vectors, name, np.array([7]))  # an item with nothing
    before = media(vectors)
    after = impute_media(before, 240, method, seed=0)
    assert after.items is before.items
    assert set(after.imputed) == set(WIDTHS)
    for name, (_, has) in vectors.items():
        has_any = np.logical_or.reduce([each for _, each in vectors.values()])
        assert after.imputed[name].owner.tolist() == np.flatnonzero(~has & has_any).tolist()
        assert 7 not in after.imputed[name].owner
        assert np.allclose(np.linalg.norm(after.imputed[name].vectors, axis=1), 3, atol=1e-4)


def test_too_few_items_and_none_impute_nothing() -> None:
    vectors = correlated(MIN_ITEMS - 1)
    assert impute_media(media(vectors), MIN_ITEMS - 1, "variational", seed=0).imputed == {}
    whole = media(correlated())
    assert impute_media(whole, 240, "none", seed=0) is whole
    one = media({"title": correlated()["title"]})
    assert impute_media(one, 240, "ridge", seed=0).imputed == {}
