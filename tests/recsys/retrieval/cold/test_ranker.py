"""The cold ranker equals a slow reference over the whole catalogue."""

import numpy as np
import pytest
from model_parts import tiny_history

from recsys.errors import BundleError
from recsys.retrieval.candidate_sources import ItemNeighborSource
from recsys.retrieval.cold import NEAREST_POPULARITY, TOWERS, ColdRanker, load_cold_ranker, save_cold_ranker

NUM, NUM_COLD = 60, 25
COLD = np.arange(NUM - NUM_COLD, NUM)


def cold_ranker(num=NUM, cold=COLD, neighbors=6, seed=0):
    """Random neighbors among the cold items, by two modalities that a third of the items lack."""
    rng = np.random.default_rng(seed)
    sources, known = [], np.zeros((2, num), np.bool_)
    for row, name in enumerate(("content_title", "content_image")):
        has = rng.permutation(cold)[: 2 * len(cold) // 3]
        known[row, has] = True
        neighbor = np.stack([rng.permutation(has)[:neighbors] for _ in range(num)]).astype(np.int32)
        neighbor[:2] = 0
        weight = (rng.random(neighbor.shape) * (neighbor > 0)).astype(np.float32)
        sources.append(ItemNeighborSource(name=name, neighbor=neighbor, weight=weight, decay=1.0))
    popularity = np.where(np.isin(np.arange(num), cold), rng.standard_normal(num), 0).astype(np.float32)
    weights = {TOWERS: 0.7, "content_title": 0.4, "content_image": 0.2, NEAREST_POPULARITY: 0.1}
    exponents = {"content_title": 0.25, "content_image": 1.0}
    return ColdRanker(
        weights=weights, sources=tuple(sources), exponents=exponents, known=known, popularity=popularity
    )


def slow_scores(ranker, history, towers_N):
    """The formula of the module, item by item, with arrays over the whole catalogue."""
    total_N = ranker.weights[TOWERS] * towers_N + ranker.weights[NEAREST_POPULARITY] * ranker.popularity
    for known_N, source in zip(ranker.known, ranker.sources, strict=True):
        score_N = np.zeros(len(towers_N))
        for item in history.item:
            for neighbor, weight in zip(source.neighbor[item], source.weight[item], strict=True):
                score_N[neighbor] += weight / len(history.item)
        score_N **= ranker.exponents[source.name]
        mean, deviation = score_N[known_N].mean(), score_N[known_N].std()
        z_N = np.where(known_N, (score_N - mean) / deviation, 0.0)
        total_N = total_N + ranker.weights[source.name] * z_N
    return total_N


HISTORIES = [tiny_history([3, 4, 5, 5]), tiny_history([9, 40, 20], seed=1)]


def test_scores_are_those_of_the_slow_reference():
    ranker, rng = cold_ranker(), np.random.default_rng(3)
    towers = rng.standard_normal((2, NUM)).astype(np.float32)
    item = np.stack([rng.permutation(COLD), rng.permutation(COLD)])
    found = ranker.read(HISTORIES).scores(np.take_along_axis(towers, item, 1), item)
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(
            found[row], slow_scores(ranker, history, towers[row])[item[row]], atol=1e-5
        )


def test_an_item_without_a_modality_and_a_user_without_any_have_a_neutral_value():
    ranker = cold_ranker()
    missing = COLD[~ranker.known[0, COLD]]
    parts = ranker.read(HISTORIES).parts(np.zeros((2, len(missing)), np.float32), np.stack([missing] * 2))
    assert not parts["content_title"].any()
    assert parts["content_image"].any()
    nothing = ranker.read([tiny_history([0, 1])]).parts(np.zeros((1, NUM_COLD), np.float32), COLD[None])
    assert not nothing["content_title"].any()


def test_candidates_are_the_best_of_each_source_that_are_allowed():
    ranker = cold_ranker()
    evidence = ranker.read(HISTORIES)
    allowed = np.arange(NUM) % 2 == 0
    for number, lists in enumerate(evidence.candidates(4, excluded=[COLD[:5], COLD[:0]], allowed=allowed)):
        for row, history in enumerate(HISTORIES):
            source = ranker.sources[number]
            expected, _ = source.candidates(
                [history], 4, excluded=[COLD[:5] if row == 0 else COLD[:0]], allowed=allowed
            )
            np.testing.assert_array_equal(lists[row], expected[0])


def test_saved_and_loaded(tmp_path):
    ranker = cold_ranker()
    save_cold_ranker(ranker, tmp_path / "cold")
    loaded = load_cold_ranker(tmp_path / "cold")
    towers = np.random.default_rng(0).standard_normal((2, NUM_COLD)).astype(np.float32)
    items = np.stack([COLD] * 2)
    np.testing.assert_array_equal(
        loaded.read(HISTORIES).scores(towers, items), ranker.read(HISTORIES).scores(towers, items)
    )


def test_weights_of_unknown_evidence_are_refused(tmp_path):
    save_cold_ranker(cold_ranker(), tmp_path / "cold")
    settings = tmp_path / "cold" / "cold_ranker.json"
    settings.write_text(settings.read_text().replace("content_title", "content_smell"))
    with pytest.raises(BundleError, match="content_smell"):
        load_cold_ranker(tmp_path / "cold")
