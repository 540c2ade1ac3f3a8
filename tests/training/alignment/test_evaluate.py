"""Recall between modalities, against a sort of every query's cosines."""

import numpy as np
import pytest
from alignment_parts import linear_catalogue

from training.alignment.evaluate import cross_modal_recall, ranks_of_own


class _Cut:
    """Heads that keep the first three dimensions."""

    kinds = ("text", "image")
    dim = 3

    def project(self, kind, vectors_BD):
        cut = vectors_BD[:, :3]
        return cut / np.linalg.norm(cut, axis=1, keepdims=True)


def test_ranks_by_hand():
    query = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], np.float32)
    item = np.array([[0.5, 0.9], [0.6, 0.8], [0.7, 0.1]], np.float32)
    # Products: [.5 .6 .7], [.9 .8 .1], [1.4 1.4 .8]
    assert ranks_of_own(query, item).tolist() == [3, 2, 3]


def test_ties_go_to_the_lowest_item():
    assert ranks_of_own(np.ones((4, 1), np.float32), np.ones((4, 1), np.float32)).tolist() == [1, 2, 3, 4]


def test_recall_equals_a_sort_of_all_cosines():
    vectors = linear_catalogue(("title", "image", "text"), num_items=90, present={"image": 0.7, "text": 0.8})
    held_out = np.arange(20, 90)
    found = cross_modal_recall(_Cut(), vectors, held_out)
    assert found.height == 6
    for row in found.iter_rows(named=True):
        (one, has_one), (other, has_other) = vectors[row["query"]], vectors[row["item"]]
        items = [item for item in held_out if has_one[item] and has_other[item]]
        ranks = []
        for item in items:
            query = one[item, :3] / np.linalg.norm(one[item, :3])
            cosines = [query @ other[each, :3] / np.linalg.norm(other[each, :3]) for each in items]
            ranks.append(1 + [items[at] for at in np.argsort(-np.array(cosines), kind="stable")].index(item))
        assert row["n"] == len(items)
        assert row["median rank"] == np.median(ranks)
        assert row["chance"] == pytest.approx(10 / len(items))
        for k in (1, 5, 10):
            assert row[f"Recall@{k}"] == pytest.approx(np.mean(np.array(ranks) <= k))


def test_a_pair_that_no_held_out_item_has_is_left_out():
    vectors = linear_catalogue(("text", "image"), num_items=20)
    vectors["image"][1][10:] = False
    assert cross_modal_recall(_Cut(), vectors, np.arange(10, 20)).height == 0
    assert cross_modal_recall(_Cut(), vectors, np.arange(5, 20))["n"].to_list() == [5, 5]


def test_few_items_have_a_chance_of_one():
    vectors = linear_catalogue(("text", "image"), num_items=4)
    assert cross_modal_recall(_Cut(), vectors, np.arange(4))["chance"].to_list() == [1.0, 1.0]
