"""One contract for every index, against a slow reference."""

import sys
from pathlib import Path

import numpy as np
import pytest

from recsys.errors import BundleError, ConfigError, DataError, MissingExtraError
from recsys.retrieval.index import exact as exact_module
from recsys.retrieval.index.build import build_index, load_index
from recsys.retrieval.index.exact import ExactIndex
from recsys.retrieval.index.extended import ExtendedIndex
from recsys.retrieval.index.faiss import FaissIndex


def build_exact(vectors, ids=None):
    return ExactIndex.build(vectors, ids)


def build_hnsw(vectors, ids=None):
    pytest.importorskip("faiss")
    return FaissIndex.build(vectors, ids)


def build_flat(vectors, ids=None):
    pytest.importorskip("faiss")
    return FaissIndex.build(vectors, ids, num_links=0)


every_index = pytest.mark.parametrize("build", [build_exact, build_hnsw, build_flat])


def unit(rng, *shape):
    vectors = rng.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def slow_search(vectors, queries, k, *, allowed=None):
    items, scores = [], []
    for query in queries:
        scored = []
        for row in range(2, len(vectors)):
            if allowed is None or allowed[row]:
                score = float(np.dot(vectors[row], query))
                scored.append((-score, row))
        best = sorted(scored)[:k]
        items.append([row for _, row in best] + [0] * (k - len(best)))
        scores.append([-score for score, _ in best] + [-np.inf] * (k - len(best)))
    return np.array(items), np.array(scores, np.float32)


@pytest.fixture
def vectors():
    return unit(np.random.default_rng(0), 120, 8)


@pytest.fixture
def queries():
    return unit(np.random.default_rng(1), 7, 8)


@every_index
@pytest.mark.parametrize("k", [1, 10, 118, 130])
def test_equals_the_slow_reference(build, vectors, queries, k):
    items, scores = build(vectors).search(queries, k)
    expected_items, expected_scores = slow_search(vectors, queries, k)
    np.testing.assert_array_equal(items, expected_items)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    assert (items.dtype, scores.dtype) == (np.int64, np.float32)


@every_index
@pytest.mark.parametrize("share", [0.0, 0.05, 0.7])
def test_only_allowed_items_are_found(build, vectors, queries, share):
    allowed = np.random.default_rng(2).random(len(vectors)) < share
    allowed[:2] = True  # the reserved rows stay out whatever the caller says
    items, scores = build(vectors).search(queries, 20, allowed=allowed)
    expected_items, expected_scores = slow_search(vectors, queries, 20, allowed=allowed)
    np.testing.assert_array_equal(items, expected_items)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


@every_index
def test_own_ids_are_returned_in_place_of_rows(build, vectors, queries):
    rows, _ = build(vectors).search(queries, 5)
    ids = np.arange(len(vectors)) * 10  # row 1 becomes id 10, a real item
    renamed, _ = build(vectors, ids).search(queries, 5, allowed=np.arange(len(vectors)) >= 2)
    np.testing.assert_array_equal(renamed, rows * 10)


@every_index
def test_survives_saving(build, vectors, queries, tmp_path):
    index = build(vectors)
    index.save(tmp_path / "index")
    again = load_index(tmp_path / "index")
    assert type(again) is type(index)
    for before, after in zip(index.search(queries, 9), again.search(queries, 9), strict=True):
        np.testing.assert_array_equal(before, after)


@every_index
def test_no_queries_and_no_items(build, vectors):
    items, scores = build(vectors).search(np.empty((0, 8), np.float32), 3)
    assert items.shape == scores.shape == (0, 3)
    items, scores = build(vectors[:2]).search(vectors[:1], 3)
    assert items.tolist() == [[0, 0, 0]]
    assert np.isneginf(scores).all()


@every_index
def test_rejects_what_does_not_fit(build, vectors, queries):
    index = build(vectors)
    with pytest.raises(DataError, match="k = 0"):
        index.search(queries, 0)
    with pytest.raises(DataError, match=r"\[B, 8\]"):
        index.search(queries[:, :3], 1)
    with pytest.raises(DataError, match="not finite"):
        index.search(queries * np.nan, 1)
    with pytest.raises(DataError, match=r"bool \[120\]"):
        index.search(queries, 1, allowed=np.ones(5, np.bool_))
    with pytest.raises(DataError, match="row 4 is not finite"):
        build(np.where(np.arange(120)[:, None] == 4, np.inf, vectors).astype(np.float32))
    with pytest.raises(DataError, match="ascending"):
        build(vectors, np.zeros(120, np.int64))


def test_ties_stand_in_the_order_of_ids_also_at_the_cut():
    vectors = np.ones((9, 2), np.float32)
    vectors[5] = 2.0
    items, scores = ExactIndex.build(vectors).search(np.ones((2, 2), np.float32), 3)
    assert items.tolist() == [[5, 2, 3], [5, 2, 3]]
    assert scores.tolist() == [[4.0, 2.0, 2.0], [4.0, 2.0, 2.0]]


def test_chunks_change_nothing(vectors, queries, monkeypatch):
    whole = ExactIndex.build(vectors).search(queries, 10)
    monkeypatch.setattr(exact_module, "MAX_SCORES", 250)  # two queries at a time, unevenly
    chunked = ExactIndex.build(vectors).search(queries, 10)
    np.testing.assert_array_equal(whole[0], chunked[0])
    np.testing.assert_allclose(whole[1], chunked[1], atol=1e-6)


def test_missing_extra_names_the_command(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"recsys\[faiss\]"):
        FaissIndex.build(vectors)


def test_index_of_another_kind_is_refused(vectors, tmp_path: Path):
    ExactIndex.build(vectors).save(tmp_path)
    with pytest.raises(BundleError, match="expected faiss"):
        FaissIndex.load(tmp_path)
    with pytest.raises(BundleError, match="is missing"):
        load_index(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="known: exact, faiss"):
        build_index("milvus", vectors)


def test_an_extended_index_equals_an_index_of_the_present_vectors():
    rng = np.random.default_rng(0)
    former, now = rng.normal(size=(40, 4)).astype(np.float32), rng.normal(size=(50, 4)).astype(np.float32)
    changed = np.array([5, 17, 39])
    now[:40] = np.where(np.isin(np.arange(40), changed)[:, None], now[:40], former)
    rows = np.concatenate([changed, np.arange(40, 50)])
    extended = ExtendedIndex(ExactIndex.build(former), 40, rows=rows, vectors=now[rows], num_items=len(now))
    whole, queries = ExactIndex.build(now), rng.normal(size=(6, 4)).astype(np.float32)
    assert extended.is_exact
    for allowed in (None, rng.random(50) < 0.5, np.arange(50) < 40, np.arange(50) >= 45):
        for k in (1, 7, 60):
            found, wanted = (each.search(queries, k, allowed=allowed) for each in (extended, whole))
            np.testing.assert_array_equal(found[0], wanted[0])
            np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6)
    with pytest.raises(DataError, match=r"\[50\] is needed"):
        extended.search(queries, 3, allowed=np.ones(40, np.bool_))
