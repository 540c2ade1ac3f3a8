"""The choice of settings on validation: its tasks, independence of the test, and the known baselines."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from baseline_parts import CHECKERBOARD, ITEMS, SEEN, make_split
from fitting_parts import config, log, media

from features.dataset.rejected import write_rejected
from features.event_log.dataset import load_streamed
from features.inputs.item_features import build_item_features
from features.splits.make import make_split as split_of
from features.splits.split import Split
from recsys.config import BASELINES, ALSConfig, Config, load_config
from recsys.errors import ConfigError
from training.baselines import ALS, ChosenSettings, KnownEvents, choose_baselines, read_choices, save_choices
from training.baselines.choices import settings_words
from training.baselines.content import CONTENT_NAMES
from training.baselines.fusion import Fusion
from training.baselines.tuning import choose, cold_task, has_test_events_in_history, inner_split, warm_task
from training.evaluation.evaluate import Evaluation
from training.pipeline import Run

GOOD = ALSConfig(factors=2, regularization=0.01, iterations=10)
BAD = GOOD.model_copy(update={"regularization": 1e6})
LATER = [(f"u{n}", f"i{n}") for n in range(8)]
WRONG = [(f"u{n}", f"i{(n + 1) % 8}") for n in range(8)]


ALL_BUT_COLD = replace(ITEMS, trained=np.array([False, False] + [True] * 8 + [False]))


def chosen_als(split: Split, steps: list[int] | None = None) -> tuple[ALSConfig, float | None, int]:
    inner = inner_split(split)
    choice = choose(
        "als",
        warm_task(split, ALL_BUT_COLD, seen=SEEN),
        [lambda _: ((each, ALS(inner, ITEMS, seen=SEEN, settings=each)) for each in (BAD, GOOD))],
        progress=lambda step, done, total, note="": None if steps is None else steps.append(done),
    )
    return choice.settings, choice.validation_ndcg, choice.num_candidates


class TestChoose:
    def test_takes_the_best_on_validation(self) -> None:
        steps: list[int] = []
        assert chosen_als(make_split(CHECKERBOARD, LATER), steps) == (GOOD, 1.0, 2)
        assert steps == [1, 2]

    def test_the_test_plays_no_part(self) -> None:
        for test in ([], WRONG):
            assert chosen_als(make_split(CHECKERBOARD, LATER, test))[0] == GOOD

    def test_without_a_pair_the_first_is_taken_and_there_is_no_figure(self) -> None:
        assert chosen_als(make_split(CHECKERBOARD, [("u0", "cold")])) == (BAD, None, 1)

    def test_a_stage_knows_the_best_of_those_before(self) -> None:
        split, reported = make_split(CHECKERBOARD, LATER), []
        inner = inner_split(split)

        def stage(best: ALSConfig | None) -> Any:
            reported.append(best)
            return [(each, ALS(inner, ITEMS, seen=SEEN, settings=each)) for each in (BAD, GOOD)]

        choose("als", warm_task(split, ITEMS, seen=SEEN), [stage, stage])
        assert reported == [None, GOOD]


class TestQuestions:
    def test_the_warm_one_asks_for_validation_on_items_with_training_events(self) -> None:
        validation = [*LATER, ("u0", "cold"), ("u1", "i3")]
        (part,) = warm_task(make_split(CHECKERBOARD, validation), ALL_BUT_COLD, seen=SEEN).parts
        assert part.users == list(SEEN)
        assert [ids.tolist() for ids in np.split(part.ground_truth.ids, part.ground_truth.offsets[1:-1])] == [
            [n + 2] for n in range(8)
        ]
        assert part.allowed is None
        assert not part.known.is_validation.any(), "the validation events are the ground truth"

    def test_what_was_seen_is_asked_for_where_the_seen_are_not_left_out(self) -> None:
        split = make_split(CHECKERBOARD, [("u1", "i3")])
        assert not warm_task(split, ALL_BUT_COLD, seen=SEEN).parts
        assert warm_task(split, ALL_BUT_COLD, seen=None).parts[0].ground_truth.ids.tolist() == [5]

    def test_the_cold_one_hides_every_item_once(self) -> None:
        split = make_split(CHECKERBOARD, LATER)
        parts = cold_task(split, ALL_BUT_COLD, seen=SEEN).parts
        asked = [
            (user, item)
            for part in parts
            for user, item in zip(part.users, part.ground_truth.ids, strict=True)
        ]
        assert sorted(asked) == [(f"u{n}", n + 2) for n in range(8)]
        for part in parts:
            assert part.allowed is not None
            assert part.allowed[part.ground_truth.ids].all()
            assert not part.allowed[part.known.item].any(), "no history has an item of the fold"
        whole = KnownEvents.of(inner_split(split), ALL_BUT_COLD, seen=SEEN)
        assert all(len(part.known.item) < len(whole.item) for part in parts)

    def test_of_any_time_training_is_asked_for_too_amid_the_rest_of_the_history(self) -> None:
        split = make_split(CHECKERBOARD, LATER)
        parts = cold_task(split, ALL_BUT_COLD, seen=SEEN, any_time=True).parts
        asked = {
            (user, ALL_BUT_COLD.item_ids.external[item - 2])
            for part in parts
            for row, user in enumerate(part.users)
            for item in part.ground_truth.ids[
                part.ground_truth.offsets[row] : part.ground_truth.offsets[row + 1]
            ]
        }
        assert asked == {*CHECKERBOARD, *LATER}
        whole = KnownEvents.of(split, ALL_BUT_COLD, seen=None)
        for part in parts:
            assert part.allowed is not None
            assert part.known.seen is None
            assert not part.allowed[part.known.item].any()
            assert len(part.known.item) == (~part.allowed[whole.item]).sum(), "all else is in the history"

    @pytest.mark.parametrize("shift", [-20, 20])
    def test_whether_the_test_is_of_any_time_is_seen_by_protocol_or_by_given_times(self, shift: int) -> None:
        split = make_split(CHECKERBOARD, test=LATER)
        moved = split.test.with_columns(timestamp=split.test["timestamp"] + shift)
        assert not has_test_events_in_history(replace(split, protocol="leave_one_out", test=moved))
        assert has_test_events_in_history(replace(split, protocol="held_out_items", test=moved))
        assert has_test_events_in_history(replace(split, protocol="predefined", test=moved)) is (shift < 0)


def world(**changes: Any) -> tuple[Config, Split, Any]:
    data = log()
    settings = config(**changes)
    split = split_of(data, settings.split)
    return settings, split, build_item_features(data, media(data), train=split.train, reviews=split.reviews)


class TestTable:
    def test_all_that_apply_are_there_and_missing_modalities_are_not(self) -> None:
        _, split, items = world()
        found = choose_baselines(BASELINES, split, items, seen=None, has_clock=True)
        assert [each.model.name for each in found] == [
            "popularity", "als", "bpr", "item_item", "ease", "content (title)",
            "content (review text)", "content (categories)", "content (fusion)",
        ]  # fmt: skip
        for each in found:
            assert each.chosen.name == each.model.name
            assert each.chosen.validation_ndcg is not None
            assert each.chosen.num_candidates > 1

    def test_only_those_that_are_named(self) -> None:
        _, split, items = world()
        names = ["content (fusion)", "popularity", "content (picture)"]
        found = choose_baselines(names, split, items, seen=None, has_clock=False)
        assert [each.model.name for each in found] == ["popularity", "content (fusion)"]
        assert found[0].chosen.settings == {}

    def test_the_test_plays_no_part(self) -> None:
        _, split, items = world()
        other = split.test.with_columns(item_id=split.test["item_id"].reverse())
        one, two = (
            choose_baselines(BASELINES, each, items, seen=None, has_clock=True)
            for each in (split, replace(split, test=other))
        )
        for here, there in zip(one, two, strict=True):
            assert replace(here.chosen, cpu_seconds=0) == replace(there.chosen, cpu_seconds=0)
            users = ["u0", "u1"]
            lists = [each.model.recommend(users, 5, allowed=None) for each in (here, there)]
            assert (lists[0] == lists[1]).all()

    def test_content_is_asked_for_new_items_where_the_test_asks_for_them(self) -> None:
        _, split, items = world()
        new = split.test.with_columns(item_id=split.test["item_id"].replace(split.test["item_id"][0], "new"))
        names = ["content (title)", "content (review text)", "content (fusion)"]
        asked = [
            [each.chosen for each in choose_baselines(names, one, items, seen=None, has_clock=True)]
            for one in (split, replace(split, test=new))
        ]
        assert ["whole catalogue" in each.task for each in asked[0]] == [True, True, True]
        assert ["hidden from all histories" in each.task for each in asked[1]] == [True, False, True]
        assert "content (review text)" not in asked[1][2].settings["weights"], "a new item has no reviews"

    def test_a_modality_without_validation_pairs_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        _, split, items = world()
        blind = replace(split, validation=split.validation.clear())
        found = choose_baselines(BASELINES, blind, items, seen=None, has_clock=True)
        assert {each.chosen.validation_ndcg for each in found} == {None}
        assert "no validation pair to choose on, the first settings are used" in caplog.text

    def test_streamed_popularity_needs_no_events_in_memory(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from prepared_parts import nasty

        data = load_streamed(nasty(tmp_path, 0), tmp_path / "prepared")
        split = split_of(data, load_config().split, tmp_path / "parts")
        items = build_item_features(data, media(data), train=split.statistics, reviews=split.reviews)
        caplog.set_level(logging.WARNING)
        (found,) = choose_baselines(["popularity"], split, items, seen=None, has_clock=True)
        assert found.chosen.settings == {}
        assert "train" not in vars(split)
        assert caplog.text == ""
        assert len(choose_baselines(["popularity", "als"], split, items, seen=None, has_clock=True)) == 2
        assert "hold all events in memory" in caplog.text


def test_only_the_settings_of_the_grid_are_tried() -> None:
    _, split, items = world()
    grids = load_config(
        overrides=[
            "evaluate.grids.als=[{factors = 4, alpha = 2.0}]",
            "evaluate.grids.bpr=[{factors = 4}]",
            "evaluate.grids.bpr_epochs=[3]",
            "evaluate.grids.item_item=[{k1 = 0.5}]",
            "evaluate.grids.item_item_neighbors=[7]",
            "evaluate.grids.ease=[{regularization = 5}]",
            "evaluate.grids.popularity_half_life_days=[]",
        ]
    ).evaluate.grids
    names = ["popularity", "als", "bpr", "item_item", "ease"]
    found = choose_baselines(names, split, items, seen=None, has_clock=True, grids=grids)
    assert [each.chosen.num_candidates for each in found] == [1, 1, 1, 2, 1]
    _, als, bpr, item_item, ease = (each.chosen.settings for each in found)
    assert (als["factors"], als["alpha"]) == (4, 2.0)
    assert (bpr["factors"], bpr["epochs"]) == (4, 3)
    assert item_item["k1"] == 0.5
    assert ease["regularization"] == 5.0


def test_a_grid_of_epochs_ascends() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.grids\.bpr_epochs = \[20, 10\] must ascend"):
        load_config(overrides=["evaluate.grids.bpr_epochs=[20, 10]"])


def test_names_of_the_configuration_are_those_of_the_table() -> None:
    names = ["popularity", "als", "bpr", "item_item", "ease", *CONTENT_NAMES.values(), Fusion.name]
    assert names == list(BASELINES)


@pytest.mark.parametrize("name", ["svd", "content", "content (image)"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.baselines"):
        load_config(overrides=[f'evaluate.baselines=["{name}"]'])


def test_choices_are_kept_and_told(tmp_path: Path) -> None:
    made = ChosenSettings(
        name="item_item",
        settings={"neighbours": 50, "k1": 0.2, "b": 0.5},
        validation_ndcg=0.25,
        task="?",
        num_candidates=3,
        cpu_seconds=1.5,
    )
    assert read_choices(tmp_path / "baselines.json") == []
    save_choices(tmp_path / "baselines.json", [made])
    assert read_choices(tmp_path / "baselines.json") == [made]
    assert settings_words(made) == "neighbours 50, k1 0.2, b 0.5"
    words = {
        "standardised, last 10": {"standardised": True, "last": 10},
        "last: all": {"standardised": False, "last": None},
        "no half life days": {"half_life_days": None},
        "content (text) 1, content (picture) 0.5": {
            "weights": {"content (text)": 1.0, "content (picture)": 0.5}
        },
        "nothing to choose": {},
    }
    for expected, settings in words.items():
        assert settings_words(replace(made, settings=settings)) == expected


class TestCompareBaselines:
    def run(self, tmp_path: Path) -> Run:
        names = ["popularity", "content (title)"]
        run = Run.create(
            tmp_path / "run", tmp_path / "shop", config(evaluate={"baselines": names}), cache_dir=tmp_path
        )
        data = log()
        vars(run).update(dataset=data, vectors=media(data))
        write_rejected((), run.directory.rejected)
        return run

    def test_nothing_of_ours_is_in_the_table(self, tmp_path: Path) -> None:
        run = self.run(tmp_path)
        evaluation = run.compare_baselines()
        assert set(evaluation.views["warm"].models) == {"popularity", "content (title)", "random"}
        assert Evaluation.from_json(run.directory.metrics.read_text("utf-8")) == evaluation
        assert [each.name for each in read_choices(run.directory.baselines)] == [
            "popularity",
            "content (title)",
        ]
        assert run.directory.seconds().keys() == {"baselines"}
        assert not run.directory.checkpoints.exists()

    def test_a_trained_run_keeps_its_results(self, tmp_path: Path) -> None:
        run = self.run(tmp_path)
        run.directory.checkpoints.mkdir()
        with pytest.raises(ConfigError, match="has a trained model; name another --out"):
            run.compare_baselines()
        assert not run.directory.metrics.exists()
