"""Means over windows against a slow reference, and the files of a backtest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.config import EvaluateConfig
from recsys.ids import PAD
from recsys.metrics import IdLists, at_k, resamples
from training.backtest.results import Backtest, WindowLists
from training.backtest.show import backtest_chart, backtest_findings, backtest_table, write_backtest
from training.backtest.windows import DAY, Window
from training.evaluation.predictions import Predictions

MODEL, OTHER = "recsys", "popularity"


def window(at: int) -> Window:
    return Window(validation_start=(at - 1) * DAY, start=at * DAY, end=(at + 1) * DAY)


def lists(at: int, users: str, *, seed: int, cold: bool = True) -> WindowLists:
    """Two models' lists of three of ten items; each user has two warm items and a cold one."""
    rng, names = np.random.default_rng(seed), tuple(users.split())
    warm = [rng.choice(np.arange(2, 9), 2, replace=False) for _ in names]
    ranked = {
        name: np.stack([rng.permutation(np.arange(2, 12))[:3] for _ in names]) for name in (MODEL, OTHER)
    }
    return WindowLists(
        window=window(at),
        predictions=Predictions(
            users=names,
            num_seen=np.arange(len(names)) % 2,  # every other user is new
            warm=IdLists.from_lists(warm),
            cold=IdLists.from_lists([rng.integers(9, 12, 1) if cold else warm[0][:0] for _ in names]),
            models=ranked,
        ),
    )


@pytest.fixture(scope="module")
def found() -> list[WindowLists]:
    return [lists(3, "a b c", seed=0), lists(4, "b c d e", seed=1)]


def ndcg(found: WindowLists, view: str, name: str) -> dict[str, float]:
    """NDCG@2 of each user, list by list."""
    predictions, values = found.predictions, {}
    both = zip(predictions.warm.to_lists(), predictions.cold.to_lists(), strict=True)
    for row, (warm, cold) in enumerate(both):
        items = {"warm": warm, "cold": cold}.get(view, np.concatenate([warm, cold]))
        is_new = predictions.num_seen[row] == 0
        if len(items) and (view not in ("known users", "new users") or (view == "new users") == is_new):
            value = at_k(predictions.models[name][row : row + 1], [items], [2])["ndcg@2"]
            values[predictions.users[row]] = float(value[0])
    return values


@pytest.mark.parametrize("view", ["all", "warm", "cold", "known users", "new users"])
def test_means_and_intervals_are_over_users_drawn_with_all_their_windows(
    found: list[WindowLists], view: str
) -> None:
    result = Backtest.of(found, EvaluateConfig(k=(2,))).views[view]
    own, other = ([ndcg(each, view, name) for each in found] for name in (MODEL, OTHER))
    assert result.num_users == tuple(len(values) for values in own)
    everyone = sorted({user for values in own for user in values})
    drawn: list[tuple[float, float]] = []
    for drawn_RU in resamples(len(everyone)):
        for count_U in drawn_RU:
            times = dict(zip(everyone, count_U, strict=True))
            means = []
            for values, others in zip(own, other, strict=True):
                total = sum(times[user] for user in values)
                if total:
                    gap = {user: value - others[user] for user, value in values.items()}
                    means.append([sum(times[u] * each[u] for u in each) / total for each in (values, gap)])
            drawn.append(tuple(np.mean(means, axis=0)))
    model, compared = result.models[MODEL]["ndcg@2"], result.models[OTHER]["ndcg@2"]
    by_window = [np.mean(list(values.values())) for values in own]
    assert model.by_window == pytest.approx(by_window)
    assert model.mean.value == pytest.approx(np.mean(by_window))
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    assert (model.mean.low, model.mean.high) == pytest.approx((low[0], high[0]))
    assert (compared.difference.low, compared.difference.high) == pytest.approx((low[1], high[1]))
    assert compared.difference.value == pytest.approx(model.mean.value - compared.mean.value)
    assert model.difference.value == 0


def test_a_window_without_users_of_a_view_is_left_out_of_its_mean() -> None:
    found = [lists(3, "a b", seed=0, cold=False), lists(4, "b c d", seed=1)]
    result = Backtest.of(found, EvaluateConfig(k=(2,))).views["cold"]
    assert result.num_users == (0, 3)
    model = result.models[MODEL]["ndcg@2"]
    assert model.by_window[0] is None
    assert model.by_window[1] == model.mean.value
    assert model.differences[0] is None
    both = [lists(3, "a b", seed=0, cold=False), lists(4, "b c d", seed=1, cold=False)]
    assert Backtest.of(both, EvaluateConfig(k=(2,))).views["cold"].models == {}


def test_a_model_that_a_window_lacks_is_left_out(found: list[WindowLists]) -> None:
    found = [found[0], lists(4, "b c d e", seed=1)]
    found[1].predictions.models.pop(OTHER)  # type: ignore[attr-defined]
    assert list(Backtest.of(found, EvaluateConfig(k=(2,))).views["all"].models) == [MODEL]


def test_findings_name_the_best_baseline_and_the_refit(found: list[WindowLists]) -> None:
    """The refit's lists are those of the model with the ground truth first, so that it is better."""
    with_refit = []
    for each in found:
        ideal = _ideal(each.predictions)
        models = {**each.predictions.models, "recsys, refit": ideal, "random": ideal}
        with_refit.append(replace(each, predictions=replace(each.predictions, models=models)))
    result = Backtest.of(with_refit, EvaluateConfig(k=(2,)))
    *of_views, of_refit = backtest_findings(result, "ndcg@2")
    assert [sentence.partition(":")[0] for sentence in of_views] == list(result.views)
    gap = result.views["all"].models[OTHER]["ndcg@2"].difference
    assert f"than popularity, the best baseline (recsys minus it: ndcg@2 {gap.value:+.4f}" in of_views[0]
    of_model = result.views["all"].models["recsys, refit"]["ndcg@2"].difference
    assert of_refit.startswith("The refit on all earlier events is better than the evaluated model")
    assert f"{-of_model.value:+.4f} [{-of_model.high:+.4f}, {-of_model.low:+.4f}]" in of_refit


def _ideal(predictions: Predictions) -> np.ndarray:
    """Lists that begin with the user's held-out warm items."""
    return np.stack([np.array([*items, PAD])[:3] for items in predictions.warm.to_lists()])


def test_files(found: list[WindowLists], tmp_path: Path) -> None:
    result = Backtest.of(found, EvaluateConfig(k=(2, 3)))
    result.save(tmp_path / "backtest.json")
    assert Backtest.load(tmp_path / "backtest.json") == result
    write_backtest(result, tmp_path, ["ndcg@2"])
    text = (tmp_path / "backtest.md").read_text()
    model = result.views["all"].models[MODEL]["ndcg@2"]
    row = f"| recsys | {model.by_window[0]:.4f} | {model.by_window[1]:.4f} | {model.mean.value:.4f} ["
    assert row in text
    assert "| ndcg@2 | 1970-01-04 (3 users) | 1970-01-05 (4 users) | mean | recsys minus it |" in text
    assert text.count("\n## ") == 5
    chart = (tmp_path / "backtest.svg").read_text()
    assert chart == backtest_chart(result, "ndcg@2")
    assert chart.count("<polyline") == 2
    assert "window, from 1970-01-04 to 1970-01-05" in chart
    table = backtest_table(result, "all", "ndcg@2")
    assert [column.header for column in table.columns][1:3] == ["1970-01-04\n3 users", "1970-01-05\n4 users"]
