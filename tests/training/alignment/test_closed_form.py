"""Canonical correlations against scipy's generalised eigenvalues of whole covariances."""

import numpy as np
import pytest
from alignment_parts import linear_catalogue
from scipy.linalg import eigh

from recsys.arrays import unit
from training.alignment.closed_form import CanonicalCorrelation, _Components, _principal, ridge_into
from training.alignment.views import Views


def whole_eigenproblem(views, ridge):
    """Eigenvalues and vectors of C a = s D a, written with loops over pairs of items."""
    kinds = views.aligned_kinds
    means = {kind: views.stacked(kind).astype(float).mean(0) for kind in kinds}
    sizes = {kind: views.width(kind) for kind in kinds}
    start = dict(zip(kinds, np.cumsum([0, *sizes.values()][:-1]), strict=True))
    total = sum(sizes.values())
    within, between = np.zeros((total, total)), np.zeros((total, total))
    for kind in kinds:
        centred = views.stacked(kind) - means[kind]
        covariance = centred.T @ centred / len(centred)
        place = slice(start[kind], start[kind] + sizes[kind])
        within[place, place] = covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(
            len(covariance)
        )
    sums, counts = {}, {}
    for (one, other), rows in views.pairs().items():
        for row in rows:
            outer = np.outer(
                views.vectors[one][row] - means[views.kind_of[one]],
                views.vectors[other][row] - means[views.kind_of[other]],
            )
            key = views.kind_of[one], views.kind_of[other]
            if kinds.index(key[0]) > kinds.index(key[1]):
                key, outer = key[::-1], outer.T
            sums[key] = sums.get(key, 0) + outer
            counts[key] = counts.get(key, 0) + 1
    for (one, other), value in sums.items():
        block = value / counts[one, other] * np.sqrt(counts[one, other] / max(counts.values()))
        rows, columns = (slice(start[kind], start[kind] + sizes[kind]) for kind in (one, other))
        between[rows, columns], between[columns, rows] = block, block.T
    values, axes = eigh(between, within)
    return values[::-1], axes[:, ::-1], means, start, sizes


@pytest.mark.parametrize("names", [("text", "image"), ("image", "title", "review_audio", "text")])
def test_heads_equal_the_generalised_eigenproblem(names):
    catalogue = linear_catalogue(names, num_items=200, noise=0.5, present=dict.fromkeys(names, 0.8))
    views = Views.of(catalogue)
    values, axes, means, start, sizes = whole_eigenproblem(views, ridge=0.3)
    signs = []
    for kind, head in CanonicalCorrelation(views, 5).heads(ridge=0.3, power=1.0).items():
        vectors = views.stacked(kind)[:30]
        rows = axes[start[kind] : start[kind] + sizes[kind], :5] * values[:5]
        expected, found = (vectors - means[kind]) @ rows, head(vectors)
        signs.append(np.sign((found * expected).sum(0)))  # an axis has either sign
        np.testing.assert_allclose(found * signs[-1], expected, atol=1e-4)
    assert all((each == signs[0]).all() for each in signs), "all kinds have one sign"


def test_a_linear_relation_is_found():
    views = Views.of(linear_catalogue(num_items=300))
    heads = CanonicalCorrelation(views.only(np.arange(200)), 8).heads(ridge=0.01, power=0.0)
    text, image = (unit(heads[kind](views.vectors[kind][200:])) for kind in ("text", "image"))
    assert ((text @ image.T).argmax(1) == np.arange(100)).mean() > 0.95


def test_a_kind_that_shares_no_item_has_no_head():
    catalogue = linear_catalogue(("text", "image", "review_audio"), num_items=100)
    catalogue["review_audio"][1][:50], catalogue["text"][1][50:], catalogue["image"][1][50:] = (
        False,
        False,
        False,
    )
    assert set(CanonicalCorrelation(Views.of(catalogue), 4).heads(ridge=1.0, power=1.0)) == {"text", "image"}


def test_ridge_into_a_common_space_equals_the_normal_equations():
    views = Views.of(linear_catalogue(("title", "text", "image"), num_items=60, present={"text": 0.5}))
    head = ridge_into(views, "image", {"text": 24}, 0.2)
    rows = [(name, row) for name in ("title", "text") for row in views.rows(name)]
    source = np.stack([views.vectors["image"][row] for _, row in rows]).astype(float)
    target = unit(np.stack([views.vectors[name][row] for name, row in rows]))
    centred = source - source.mean(0)
    gram = centred.T @ centred
    weight = np.linalg.solve(gram + 0.2 * np.trace(gram) / 40 * np.eye(40), centred.T @ target)
    np.testing.assert_allclose(head(source.astype(np.float32)), centred @ weight, atol=1e-5)


def test_there_is_no_ridge_without_a_pair():
    assert ridge_into(Views.of(linear_catalogue(("text", "image"))), "image", {"audio": 24}, 0.2) is None


def test_few_vectors_have_the_components_of_their_covariance():
    """12 vectors of 30 numbers: from their products, against the eigenvectors of the covariance."""
    centred = np.random.default_rng(0).standard_normal((12, 30)) * np.geomspace(1.0, 3.0, 30)
    centred -= centred.mean(0)
    variance, axes = _principal(centred)
    expected, vectors = eigh(centred.T @ centred / 12)
    np.testing.assert_allclose(variance[-11:], expected[-11:], rtol=1e-9)
    assert abs(variance[0]) < 1e-9, "centred vectors have one dimension fewer"
    np.testing.assert_allclose(np.abs(axes[:, -11:].T @ vectors[:, -11:]), np.eye(11), atol=1e-7)
    kept = _Components.of(centred.astype(np.float32))
    assert kept.axes_DC.shape == (30, 11)
    assert kept.mean_variance == pytest.approx(expected.mean())
