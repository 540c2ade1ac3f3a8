"""The content regression: equal to ridge regression, cross-fitted, and its conditions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_parts import tiny_history, tiny_schema

from recsys.config import ModelConfig
from recsys.ids import IdMap
from recsys.item_features import ItemFeatures
from recsys.metrics import best_if_clear
from recsys.models.cold_start_head import TOWER_WEIGHT
from recsys.models.retriever import Retriever
from training.cold_start.content_regression import _make_head, _Problem, fit_content_regression
from training.cold_start.validation_users import PastInteractions, ValidationUsers

NUM = 120
SCHEMA = tiny_schema(review_text_dim=0, review_audio_dim=0, profile_sizes={})


def _features(num_new=10):
    rng = np.random.default_rng(0)
    size = NUM + 2
    text = rng.normal(size=(size, 6)).astype(np.float32)
    present = np.ones(size, np.bool_)
    text[:2], present[:2] = 0, False
    trained = np.ones(size, np.bool_)
    trained[:2], trained[size - num_new :] = False, False
    popularity = rng.integers(1, 30, size).astype(np.float32) * trained
    return ItemFeatures(
        item_ids=IdMap([f"i{at}" for at in range(NUM)]),
        dense={"text": text},
        present={"text": present},
        categories={"kind": np.where(np.arange(size)[:, None] < 2, 0, 2 + np.arange(size)[:, None] % 3)},
        category_ids={"kind": IdMap(["a", "b", "c"])},
        trained=trained,
        popularity=popularity,
    )


def _model(features=None, **cold_start):
    torch.manual_seed(0)
    return Retriever(features or _features(), SCHEMA, ModelConfig(dim=8, cold_start=cold_start)).eval()


def _users(model, num=30):
    """Users who like a direction of the text vectors, and whose next item is largest in it."""
    rng = np.random.default_rng(1)
    vectors = model.item_arrays().vectors
    known = np.flatnonzero(model.features.trained)
    ground_truth = [rng.choice(known, 3, replace=False) for _ in range(num)]
    user = np.stack([vectors[items].mean(0) for items in ground_truth])
    user /= np.linalg.norm(user, axis=1, keepdims=True)
    return ValidationUsers(
        user_UD=user.astype(np.float32), ground_truth=ground_truth, seen=[np.empty(0, np.int64)] * num
    )


def test_the_map_is_the_weighted_ridge_regression_of_scikit_learn():
    from sklearn.linear_model import Ridge

    model = _model()
    features = model.features
    rows = np.flatnonzero(features.trained)
    problem = _Problem.of(model, _make_head(model, rows, 0), rows)
    count = features.popularity[rows].astype(np.float64)
    vectors = model.item_arrays().vectors[rows] * np.log1p(count)[:, None]
    targets = np.concatenate([vectors, np.log1p(count)[:, None]], axis=1)
    ridge = Ridge(alpha=3.0).fit(problem.input_NW[:, :-1], targets, sample_weight=np.sqrt(count))
    np.testing.assert_allclose(problem.solve(3.0)[:-1].T, ridge.coef_, atol=1e-5)
    np.testing.assert_allclose(problem.solve(3.0)[-1], ridge.intercept_, atol=1e-5)


def test_a_fold_left_out_is_as_if_it_had_never_been():
    model = _model()
    rows = np.flatnonzero(model.features.trained)
    problem = _Problem.of(model, _make_head(model, rows, 0), rows)
    out = np.random.default_rng(2).random(len(rows)) < 0.3
    fresh = _Problem.from_rows(problem.input_NW[~out], problem.target_NE[~out], problem.weight_N[~out], {})
    left = problem.without(out)
    np.testing.assert_allclose(left.solve(1.0), fresh.solve(1.0), atol=1e-8)
    np.testing.assert_allclose(
        left.with_pull(left.solve(1.0), 2.0), fresh.with_pull(fresh.solve(1.0), 2.0), atol=1e-8
    )


def test_users_with_a_past_are_asked_as_they_were_before_the_items_of_a_fold_came():
    model = _model()
    rows = np.flatnonzero(model.features.trained)
    fold = np.random.default_rng(0).integers(ModelConfig().cold_start.num_folds, size=len(rows))
    rng = np.random.default_rng(3)
    histories = [tiny_history(rng.choice(rows, 6), review_text={}, profile={}) for _ in range(20)]
    asked = []

    def embed(given):
        asked.append([set(history.item.tolist()) for history in given])
        return np.ones((len(given), 8), np.float32)

    users = replace(
        _users(model, 20),
        past=PastInteractions(histories=histories, chosen=[h.item for h in histories], embed=embed),
    )
    fit_content_regression(model, users)
    order = np.random.default_rng(0)
    order.integers(ModelConfig().cold_start.num_folds, size=len(rows))
    users = order.permutation(20)
    expected = [
        [set(histories[user].item.tolist()) - set(rows[fold == each].tolist()) for user in users]
        for each in range(ModelConfig().cold_start.num_folds)
    ]
    assert asked == expected


def _units(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def test_pseudo_cold_vectors_are_cross_fitted_and_as_long_as_those_of_cold_items():
    model = _model()
    users = _users(model)
    rows = np.flatnonzero(model.features.trained)
    problem = _Problem.of(model, _make_head(model, rows, 0), rows)
    fold = np.random.default_rng(0).integers(ModelConfig().cold_start.num_folds, size=len(rows))
    found = fit_content_regression(model, users)
    expected = np.zeros_like(found.pseudo_cold_ND)
    for each in range(ModelConfig().cold_start.num_folds):
        rest = problem.without(fold == each)
        solved = rest.with_pull(rest.solve(found.ridge_alpha), found.popularity_pull)
        expected[rows[fold == each]] = problem.input_NW[fold == each] @ solved
    model.cold_start_head = found.head.eval()
    new = np.linalg.norm(model.item_arrays().vectors[~model.features.trained][2:], axis=1).mean()
    expected *= new / np.linalg.norm(expected[rows], axis=1).mean()
    np.testing.assert_allclose(found.pseudo_cold_ND, expected, atol=1e-4)


def test_wide_fields_are_looked_up_as_they_were_solved_for(monkeypatch):
    """The head gives the same result for a category field as a wide field and as a narrow one."""
    monkeypatch.setattr("training.cold_start.content_regression.MIN_COUNT", 1)
    model = _model()
    narrow = fit_content_regression(model, None, ridge_alpha=3.0).head
    monkeypatch.setattr("recsys.models.cold_start_head.MAX_VALUES", 2)
    model = _model(max_landmarks=0)
    wide = fit_content_regression(model, None, ridge_alpha=3.0).head
    monkeypatch.setattr("recsys.models.cold_start_head.MAX_VALUES", 256)
    without_landmarks = fit_content_regression(model, None, ridge_alpha=3.0).head
    assert (narrow.wide, wide.wide) == ((), ("kind",))
    content = model.content(torch.arange(2, NUM + 2), torch.zeros(NUM, dtype=torch.bool))
    torch.testing.assert_close(wide.regress(*content), without_landmarks.regress(*content), atol=1e-4, rtol=0)
    assert not torch.allclose(narrow.regress(*content), wide.regress(*content), atol=1e-3)


def test_likeness_is_the_fourth_power_of_a_cosine():
    model = _model()
    head = _make_head(model, np.flatnonzero(model.features.trained), 0)
    inputs = head.inputs(*model.content(torch.arange(2, 30), torch.zeros(28, dtype=torch.bool)))
    unit = inputs / inputs.norm(dim=1, keepdim=True)
    cosine = (unit @ head.landmark_MW.T).clamp(min=0)
    width = inputs.shape[1]
    assert len(head.landmark_MW) == 110 // 8
    torch.testing.assert_close(head.with_kernel(inputs)[:, :width], inputs)
    torch.testing.assert_close(head.with_kernel(inputs)[:, width:], head.gain * cosine**4)


@pytest.mark.parametrize("pull", [0.0, 2.0])
def test_cross_fitting_shows_no_item_the_map_that_it_was_fitted_on(pull):
    """The negated vector of an item changes the predictions for other items, not its own."""
    model = _model(ridge_alphas=(3.0,), popularity_pulls=(pull,))
    users = _users(model)
    first = _units(fit_content_regression(model, users).pseudo_cold_ND)
    item = int(np.flatnonzero(model.features.trained)[7])
    with torch.no_grad():
        model.item_id.weight[item] = -5.0 * model.item_id.weight[item] + 1.0
    second = _units(fit_content_regression(model, users).pseudo_cold_ND)
    np.testing.assert_allclose(first[item], second[item], atol=1e-5)
    assert not np.allclose(first, second, atol=1e-3)


def test_ridge_alpha_and_pull_are_the_best_on_validation_or_the_simplest():
    found = fit_content_regression(_model(), _users(_model()))
    settings = ModelConfig().cold_start
    assert list(found.alpha_ndcg_U) == sorted(settings.ridge_alphas, reverse=True)
    assert list(found.pull_ndcg_U) == sorted(settings.popularity_pulls)
    assert found.ridge_alpha == best_if_clear(found.alpha_ndcg_U)
    assert found.popularity_pull == best_if_clear(found.pull_ndcg_U)
    assert found.alpha_ndcg_U[found.ridge_alpha].mean() > 0


def test_an_item_is_pulled_by_its_predicted_popularity_towards_what_is_chosen_most():
    model = _model()
    rows = torch.arange(2, NUM + 2)
    content = model.content(rows, torch.zeros(NUM, dtype=torch.bool))
    free, pulled = (
        fit_content_regression(model, None, ridge_alpha=3.0, popularity_pull=pull).head for pull in (0.0, 4.0)
    )
    moved = (pulled.regress(*content) - free.regress(*content)).detach().numpy()
    known = model.features.trained
    count, vectors = model.features.popularity[known], model.item_arrays().vectors[known]
    mean_positive = (vectors * count[:, None]).sum(0) / count.sum()
    problem = _Problem.of(model, _make_head(model, np.flatnonzero(known), 0), np.flatnonzero(known))
    solved = problem.solve(3.0)
    predicted = problem.input_NW[:, :-1] @ solved[:-1, -1] / problem.mean_length(solved)
    np.testing.assert_allclose(moved[known[2:]], 4.0 * np.outer(predicted, mean_positive), atol=1e-4)
    assert np.corrcoef(predicted, np.log1p(count))[0, 1] > 0.3


def test_a_pull_is_taken_where_content_tells_what_is_popular_and_users_follow():
    """Users choose popular items, the text predicts popularity, and no two users are alike."""
    rng = np.random.default_rng(3)
    features = _features()
    text = features.dense["text"]
    popularity = np.where(features.trained, np.round(np.exp(2.5 + 1.2 * text[:, 0])), 0).astype(np.float32)
    model = _model(replace(features, popularity=popularity))
    known = np.flatnonzero(features.trained)
    chance = popularity[known] / popularity.sum()
    ground_truth = [rng.choice(known, 2, replace=False, p=chance) for _ in range(60)]
    mean_positive = np.average(model.item_arrays().vectors[known], axis=0, weights=chance)
    user = mean_positive + 0.1 * rng.normal(size=(60, 8))
    user = (user / np.linalg.norm(user, axis=1, keepdims=True)).astype(np.float32)
    found = fit_content_regression(
        model, ValidationUsers(user_UD=user, ground_truth=ground_truth, seen=[np.empty(0, np.int64)] * 60)
    )
    assert found.popularity_pull > 0
    mean = {pull: ndcg_U.mean() for pull, ndcg_U in found.pull_ndcg_U.items()}
    assert mean[found.popularity_pull] == max(mean.values()) > 1.1 * mean[0.0]


def test_only_cold_items_are_embedded_by_the_head_and_only_outside_of_training():
    model = _model()
    before = model.item_arrays().vectors
    rows = torch.arange(model.features.size)
    model.cold_start_head = fit_content_regression(model, _users(model)).head.eval()
    after = model.item_arrays().vectors
    trained = model.features.trained
    np.testing.assert_array_equal(after[trained], before[trained])
    assert not np.allclose(after[~trained][2:], before[~trained][2:], atol=1e-3)
    as_cold = torch.zeros_like(rows, dtype=torch.bool)
    after = model.item_arrays().vectors
    head, model.cold_start_head = model.cold_start_head, None
    tower = model.embed_items(rows, as_cold=True).vector_ND
    model.cold_start_head = head
    joined = (1 - TOWER_WEIGHT) * head.regress(*model.content(rows, as_cold)) + TOWER_WEIGHT * tower
    expected = joined.detach().numpy()
    np.testing.assert_allclose(after[~trained][2:], expected[~trained][2:], atol=1e-6)
    np.testing.assert_allclose(model.item_arrays(as_cold=True).vectors[2:], expected[2:], atol=1e-6)
    torch.manual_seed(0)
    training = model.train().embed_items(rows).vector_ND.detach()
    torch.testing.assert_close(training.norm(dim=1)[2:], torch.ones(NUM))


@pytest.mark.parametrize("why", ["no content", "no id", "too few items"])
def test_there_is_no_head_where_there_is_nothing_to_regress(why):
    features = _features(num_new=NUM - 20 if why == "too few items" else 10)
    item = {"no content": {"use_content": False}, "no id": {"use_id": False}}.get(why, {})
    config = ModelConfig(dim=8, item=ModelConfig().item.model_copy(update=item))
    assert fit_content_regression(Retriever(features, SCHEMA, config), None) is None
