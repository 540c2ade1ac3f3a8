"""The evidence of pseudo-cold lists is that of the cold ranker; weights and forms are chosen on it."""

from dataclasses import replace

import numpy as np
import pytest
from model_parts import tiny_history

from recsys.config import ModelConfig
from recsys.ids import IdMap
from recsys.item_features import ItemFeatures
from recsys.retrieval import NEAREST_POPULARITY, TOWERS, ColdRanker, ItemNeighborSource
from training.cold_ranker import choose_cold_ranker, make_cold_ranker
from training.cold_ranker.evidence import Form, make_folds, nearest_popularity, standardised
from training.cold_ranker.fit import ColdRankerChoice, _lists
from training.cold_start import PastInteractions, ValidationUsers

NUM, NUM_COLD, NUM_USERS, DIM = 302, 60, 90, 6
CONFIG = ModelConfig().cold_start


def features(seed=0):
    """Items of 30 kinds, which the text shows; a tenth of the items have no text."""
    rng = np.random.default_rng(seed)
    kind = np.arange(NUM) % 30
    text = (rng.normal(size=(30, 8))[kind] + 0.3 * rng.normal(size=(NUM, 8))).astype(np.float32)
    present = rng.random(NUM) < 0.9
    present[:2] = False
    text[~present] = 0
    trained = (np.arange(NUM) >= 2) & (np.arange(NUM) < NUM - NUM_COLD)
    return ItemFeatures(
        item_ids=IdMap([f"i{at}" for at in range(NUM - 2)]),
        dense={"text": text},
        present={"text": present},
        categories={},
        category_ids={},
        trained=trained,
        popularity=(rng.integers(1, 30, NUM) * trained).astype(np.float32),
    )


def users_of(items, seed=1):
    """Users who choose items of three kinds; their vectors know nothing of it."""
    rng = np.random.default_rng(seed)
    warm = np.flatnonzero(items.trained)
    histories, chosen, ground_truth = [], [], []
    for _ in range(NUM_USERS):
        liked = warm[np.isin(warm % 30, rng.permutation(30)[:3])]
        own = rng.permutation(liked)
        histories.append(tiny_history(own[:12], review_text={}, profile={}, seen=own[:12]))
        chosen.append(own[:12])
        ground_truth.append(own[12:15])

    def embed(given):
        return np.random.default_rng(2).normal(size=(len(given), DIM)).astype(np.float32)

    return ValidationUsers(
        user_UD=embed(histories),
        ground_truth=ground_truth,
        seen=[history.seen for history in histories],
        past=PastInteractions(histories=histories, chosen=chosen, embed=embed),
    )


def vectors(items):
    vector = np.random.default_rng(3).normal(size=(NUM, DIM)).astype(np.float32)
    return vector * items.trained[:, None]


def folds_of(items, users, num_items=60):
    return list(
        make_folds(
            items, users, vectors(items), modalities=["text"], num_folds=3, num_items=num_items,
            num_neighbors=20, seed=0,
        )
    )  # fmt: skip


def test_a_fold_is_as_if_its_items_had_never_been_seen():
    items = features()
    users = users_of(items)
    folds = folds_of(items, users)
    every = np.concatenate([fold.items for fold in folds])
    assert len(set(every.tolist())) == len(every) == 180
    for fold in folds:
        for row, user in enumerate(fold.user):
            assert not np.isin(fold.histories[row].item, fold.items).any()
            assert not np.isin(fold.seen[row], fold.items).any()
            chosen = np.concatenate([users.past.chosen[user], users.ground_truth[user]])
            assert set(fold.ground_truth[row]) == set(chosen[np.isin(chosen, fold.items)].tolist())


@pytest.mark.parametrize("form", [Form(power=4.0, exponent=1.0), Form(power=2.0, exponent=0.5)])
def test_the_evidence_is_that_of_the_cold_ranker(form):
    items = features()
    fold = folds_of(items, users_of(items))[0]
    lists = _lists(fold, {"text": form})
    near = fold.neighbors["text"]
    ranker = ColdRanker(
        weights={TOWERS: 0.0, "content_text": 1.0},
        sources=(
            ItemNeighborSource(
                name="content_text", neighbor=near.item, weight=near.sharpened(form.power), decay=1.0
            ),
        ),
        exponents={"content_text": form.exponent},
        known=np.isin(np.arange(NUM), fold.items[fold.has_P["text"]])[None],
        popularity=np.zeros(NUM, np.float32),
    )
    candidates = np.tile(fold.items, (len(fold.user), 1))
    found = ranker.read(fold.histories).scores(np.zeros(candidates.shape, np.float32), candidates)
    np.testing.assert_allclose(lists.evidence_LPF[..., lists.names.index("content_text")], found, atol=1e-4)
    assert not lists.evidence_LPF[:, ~fold.has_P["text"], lists.names.index("content_text")].any()


def test_popularity_is_that_of_the_nearest_warm_items():
    items = features()
    fold = folds_of(items, users_of(items))[0]
    warm = items.trained & ~np.isin(np.arange(NUM), fold.items)
    found = nearest_popularity(items, fold.neighbors, fold.items, warm)
    near = fold.neighbors["text"]
    for place, item in enumerate(fold.items):
        rows = [
            (-near.cosine[row][near.item[row] == item][0], row)
            for row in np.flatnonzero(warm)
            if item in near.item[row]
        ]
        if not rows:
            assert np.isnan(found[place])
            continue
        best = [row for _, row in sorted(rows)[:10]]
        np.testing.assert_allclose(found[place], np.log1p(items.popularity[best]).mean(), rtol=1e-5)


def test_standardised_over_known_items_alone():
    scaled = standardised(np.array([[1.0, 3.0, 100.0]], np.float32), np.array([True, True, False]))
    np.testing.assert_allclose(scaled, [[-1.0, 1.0, 0.0]])
    assert not standardised(np.ones((2, 3), np.float32), np.ones(3, np.bool_)).any()


def test_content_is_chosen_where_users_follow_it_and_is_kept_for_a_refit():
    items = features()
    choice = choose_cold_ranker(items, users_of(items), vectors(items), CONFIG, seed=0)
    assert choice.weights["content_text"] > choice.weights[TOWERS]
    first, *_, last = choice.ndcg.values()
    assert last > 2 * first
    ranker = make_cold_ranker(items, choice, CONFIG)
    assert ranker is not None
    cold = np.arange(NUM - NUM_COLD, NUM)
    assert set(np.unique(ranker.sources[0].neighbor)) <= {0, *cold.tolist()}
    history = tiny_history([5, 35, 65])  # all of the kind 5
    scores = ranker.read([history]).scores(np.zeros((1, NUM_COLD), np.float32), cold[None])[0]
    of_kind = (cold % 30 == 5) & items.present["text"][cold]
    assert scores[of_kind].min() > scores[~of_kind].max()


def test_without_cold_items_lists_or_a_gain_there_is_no_cold_ranker():
    items = features()
    users = users_of(items)
    everything = replace(items, trained=np.arange(NUM) >= 2)
    assert choose_cold_ranker(everything, users, vectors(everything), CONFIG, seed=0) == ColdRankerChoice()
    few = users.only(np.arange(5))
    assert choose_cold_ranker(items, few, vectors(items), CONFIG, seed=0) == ColdRankerChoice()
    assert make_cold_ranker(items, ColdRankerChoice(weights={TOWERS: 1.0}), CONFIG) is None
    assert make_cold_ranker(items, ColdRankerChoice(), CONFIG) is None


def test_popularity_is_read_from_every_modality():
    items = features()
    choice = ColdRankerChoice(
        weights={TOWERS: 1.0, NEAREST_POPULARITY: 0.5}, powers={"text": 4.0}, exponents={"text": 1.0}
    )
    ranker = make_cold_ranker(items, choice, CONFIG)
    assert ranker is not None
    assert ranker.sources == ()
    assert ranker.popularity[: NUM - NUM_COLD].any() == np.False_
    assert abs(ranker.popularity[ranker.popularity != 0].std() - 1.0) < 0.05
