"""Means over seeds, paired changes and their intervals, by hand and against a slow reference."""

from pathlib import Path

import numpy as np
import pytest
from ablation_parts import outcome

from recsys.metrics.bootstrap import resamples
from training.experiments.options import BASE, OPTIONS
from training.experiments.outcome import Outcome, path_of
from training.experiments.results import AblatedView, Ablation, rows_of
from training.experiments.table import ablation_table, write_markdown

MEAN, GATED = OPTIONS["mean-fusion"], OPTIONS["gated-fusion"]
OUTCOMES = {
    BASE: [outcome([0.0, 0.5, 1.0]), outcome([0.5, 0.5, 0.5], validation=0.3, seconds=None)],
    "mean-fusion": [outcome([0.5, 1.0, 1.0]), outcome([1.0, 0.5, 0.5])],
    "gated-fusion": [outcome([0.5, 0.0, 1.0], validation=None), outcome([0.0, 1.0, 0.5], validation=None)],
}


def ablation(num_seeds: int = 2) -> Ablation:
    outcomes = {name: each[:num_seeds] for name, each in OUTCOMES.items()}
    views = {
        "warm": AblatedView(description="a view", num_users=3, num_pairs=6, num_ranked=7),
        "cold_pool": AblatedView(description="a view", num_users=0, num_pairs=0, num_ranked=7),
    }
    return Ablation(
        protocol="by hand",
        description="Users by hand.",
        ks=(10,),
        seeds=tuple(range(num_seeds)),
        is_full_system=False,
        views=views,
        rows=tuple(rows_of([MEAN, GATED], outcomes, seed=0)),
        left_out={"no-event-time": "the data have no clock"},
    )


def test_a_users_results_are_averaged_over_the_seeds() -> None:
    base, mean, gated = ablation().rows
    assert (base.name, base.settings) == (BASE, {})
    assert base.views["warm"]["ndcg@10"].value.value == pytest.approx(0.5)
    assert mean.views["warm"]["ndcg@10"].value.value == pytest.approx(0.75)
    assert mean.views["warm"]["ndcg@10"].change.value == pytest.approx(0.25)
    assert mean.views["cold_pool"] == {}
    assert gated.by_seed["warm"]["ndcg@10"] == pytest.approx((0.5, 0.5))
    assert (base.validation_ndcg, gated.validation_ndcg) == (pytest.approx(0.2), None)
    assert (base.cpu_seconds, base.best_epochs) == (60.0, (3, 3))


def test_the_interval_is_that_of_the_paired_bootstrap_written_out() -> None:
    _, mean, _ = ablation().rows
    base_U = np.mean([each.views["warm"].values["ndcg@10"] for each in OUTCOMES[BASE]], axis=0)
    mean_U = np.mean([each.views["warm"].values["ndcg@10"] for each in OUTCOMES["mean-fusion"]], axis=0)
    drawn = [
        np.average(mean_U - base_U, weights=times_U) for part in resamples(3, seed=0) for times_U in part
    ]
    found = mean.views["warm"]["ndcg@10"].change
    np.testing.assert_allclose((found.low, found.high), np.quantile(drawn, (0.025, 0.975)))


def test_the_base_does_not_change_against_itself() -> None:
    change = ablation().base.views["warm"]["ndcg@10"].change
    assert (change.value, change.low, change.high) == (0.0, 0.0, 0.0)


def test_outcomes_and_ablation_come_back_from_disk(tmp_path: Path) -> None:
    first, place = OUTCOMES[BASE][0], path_of(tmp_path, "data.path=a/b", 0)
    assert Outcome.load(place, "a") is None
    first.save(place)
    again = Outcome.load(place, "a")
    assert again is not None
    assert again.views["warm"].users == ("u0", "u1", "u2")
    np.testing.assert_array_equal(again.views["warm"].values["ndcg@10"], [0.0, 0.5, 1.0])
    assert again.views["cold_pool"] == first.views["cold_pool"]
    assert Outcome.load(place, "of other data") is None
    ablation().save(tmp_path / "ablation.json")
    assert Ablation.load(tmp_path / "ablation.json") == ablation()
    assert not list(tmp_path.glob("*.tmp"))


class TestTable:
    def test_markdown_has_a_row_an_option_and_what_it_changes(self, tmp_path: Path) -> None:
        write_markdown(ablation(), tmp_path / "ablation.md", ["ndcg@10"])
        text = (tmp_path / "ablation.md").read_text("utf-8")
        assert "| option | validation NDCG@10 | warm 3 users | change | CPU seconds |" in text
        assert "| as configured | 0.2000 | 0.5000 |  | 60 |" in text
        assert "| mean-fusion | 0.1000 | 0.7500 | +0.2500 [0.0000, +0.5000] | 60 |" in text
        assert "| gated-fusion | – | 0.5000 | 0.0000 [" in text
        assert "| mean-fusion | `model.item.fusion=mean` |" in text
        assert "Left out: no-event-time, because the data have no clock." in text
        assert "by the validation column" in text

    def test_changes_whose_interval_does_not_contain_zero_are_bold(self, tmp_path: Path) -> None:
        outcomes = {BASE: [outcome([0.1, 0.2])], "mean-fusion": [outcome([0.2, 0.3])]}
        values = vars(ablation(1)) | {"rows": tuple(rows_of([MEAN], outcomes, seed=0))}
        write_markdown(Ablation(**values), tmp_path / "ablation.md", ["ndcg@10"])
        text = (tmp_path / "ablation.md").read_text("utf-8")
        assert "| **+0.1000 [+0.1000, +0.1000]** |" in text

    @pytest.mark.parametrize(
        ("num_seeds", "said"),
        [(1, "also contains the effect of the seed"), (2, "over the seeds: warm 0.")],
    )
    def test_the_notes_say_what_seeds_mean(self, num_seeds: int, said: str) -> None:
        caption = str(ablation_table(ablation(num_seeds), "ndcg@10").caption)
        assert said in caption
        assert "No test user in: cold_pool." in caption
