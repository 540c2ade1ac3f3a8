"""Content neighbours equal cosines over the whole catalogue, sorted."""

import numpy as np
import pytest

from features.inputs import UserItems
from recsys.config import SourcesConfig
from recsys.ids import IdMap
from recsys.item_features import ItemFeatures
from training.candidates import (
    FitOptions,
    Interactions,
    content_modalities,
    content_neighbors,
    fit_sources,
    unit_vectors,
)
from training.candidates import content as content_module

NUM = 42


def features():
    rng = np.random.default_rng(0)
    text, present = rng.normal(size=(NUM, 6)).astype(np.float32) + 3.0, rng.random(NUM) < 0.8
    text[:2], present[:2] = 0, False
    text[~present] = 0
    trained = (np.arange(NUM) >= 2) & (np.arange(NUM) < 30)
    kind = np.where(np.arange(NUM)[:, None] < 2, 0, rng.integers(2, 6, (NUM, 2)))
    return ItemFeatures(
        item_ids=IdMap([f"i{at}" for at in range(NUM - 2)]),
        dense={"text": text, "numeric": text[:, :1]},
        present={"text": present, "numeric": present},
        categories={"kind": kind},
        category_ids={"kind": IdMap(["a", "b", "c", "d"])},
        trained=trained,
        popularity=(rng.integers(1, 9, NUM) * trained).astype(np.float32),
        dense_as_cold={"text": text * 0 + rng.normal(size=(NUM, 6)).astype(np.float32)},
        present_as_cold={"text": present & (np.arange(NUM) % 7 > 0)},
    )


def test_the_modalities_are_those_that_any_item_has_without_numbers():
    assert content_modalities(features()) == ["text", "categories"]


@pytest.mark.parametrize("as_cold", [False, True])
@pytest.mark.parametrize("modality", ["text", "categories"])
@pytest.mark.parametrize("at_once", [8, 10_000])
def test_neighbors_are_the_largest_cosines_above_0(modality, as_cold, at_once, monkeypatch):
    monkeypatch.setattr(content_module, "_PRODUCTS_AT_ONCE", at_once)
    items, targets = features(), np.arange(20, NUM)
    near = content_neighbors(items, modality, targets, 5, as_cold=as_cold)
    row, has = unit_vectors(items, modality)
    column, has_column = unit_vectors(items, modality, as_cold=as_cold)
    row, column = (each if isinstance(each, np.ndarray) else each.toarray() for each in (row, column))
    for item in range(NUM):
        cosine = {
            int(target): float(row[item] @ column[target])
            for target in targets
            if has[item] and has_column[target] and target != item
        }
        best = sorted((target for target in cosine if cosine[target] > 1e-6), key=lambda each: -cosine[each])[
            :5
        ]
        np.testing.assert_allclose(
            near.cosine[item][near.item[item] > 0][: len(best)], [cosine[each] for each in best], atol=1e-5
        )
        assert (near.item[item] > 0).sum() >= len(best)


def test_as_a_candidate_source_each_modality_has_one_over_items_with_events():
    items = features()
    users = UserItems(item=np.array([20, 21, 22, 25]), offsets=np.array([0, 2, 4]))
    interactions = Interactions(user_items=users, num_items=NUM)
    settings = SourcesConfig(content={"power": 2.0, "neighbors": 3})
    found = fit_sources(("content",), interactions, settings, FitOptions(items=items))
    assert [source.name for source in found] == ["content_text", "content_categories"]
    near = content_neighbors(items, "text", np.array([20, 21, 22, 25]), 3)
    np.testing.assert_array_equal(found[0].neighbor, near.item)
    largest = (near.cosine**2).max(1)
    np.testing.assert_allclose(found[0].weight, near.cosine**2 / largest[largest > 0].mean(), rtol=1e-5)


def test_the_common_part_of_all_vectors_is_no_similarity():
    vector, has = unit_vectors(features(), "text")
    warm = has & features().trained
    assert abs((vector[warm] @ vector[warm].T).mean()) < 0.1
    plain, _ = unit_vectors(features(), "text", standardised=False)
    assert (plain[warm] @ plain[warm].T).mean() > 0.8


def test_a_power_keeps_the_order_and_lowers_the_far():
    near = content_neighbors(features(), "text", np.arange(20, NUM), 5)
    np.testing.assert_allclose(near.sharpened(4.0), near.cosine**4, rtol=1e-5)
