"""Knock-outs of a system in which the title alone carries the truth."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from knockout_parts import patient

from recsys.errors import DataError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.metrics.beyond_accuracy import BEYOND
from recsys.metrics.ranking import METRICS
from training.evaluation.system import MODEL
from training.knockouts.alteration import KINDS, Kind
from training.knockouts.measure import Knockouts, measure_knockouts
from training.knockouts.systems import Patient
from training.knockouts.targets import Target, targets_of
from training.knockouts.words import judged

NOTHING = Target(name="nothing", tokens=())


@pytest.fixture(scope="module")
def ill() -> Patient:
    return patient()


@pytest.fixture(scope="module")
def measured(ill: Patient) -> Knockouts:
    return measure_knockouts(ill, num_users=1000)


def target(ill: Patient, name: str) -> Target:
    return next(each for each in ill.targets if each.name == name)


def test_targets_are_the_tokens_and_the_groups_of_several(ill: Patient) -> None:
    assert [each.name for each in ill.targets] == [
        "title", "image", "review_text", "review_speech", "review_audio", "cat:colour", "id", "voices",
    ]  # fmt: skip
    assert target(ill, "voices").tokens == ("review_speech", "review_audio")
    assert target(ill, "cat:colour").tokens == ("colour",)
    assert [each.name for each in ill.targets if each.is_group] == ["voices"]
    widths = dict.fromkeys(["title", "text", "video", "video_audio"], 2)
    both = replace(ill.model.spec, dense_dims=widths, has_id=False)
    assert [each.name for each in targets_of(both)][-2:] == ["texts", "videos"]


class TestFigures:
    def test_without_what_carries_the_truth_new_items_are_not_found(self, measured: Knockouts) -> None:
        assert measured.views["cold_pool"].metrics["recall@4"].value > 0.35
        for kind in KINDS:
            change = measured.of("title", kind).views["cold_pool"]["recall@4"].change
            assert change.high < 0, kind
            relative = measured.relative("title", kind, "cold_pool", "recall@4")
            assert relative is not None
            assert relative.value < -0.4, kind
        assert judged(measured, "title", "cold_pool", "recall@4") == "counts"

    @pytest.mark.parametrize("other", ["image", "review_text", "voices", "cat:colour"])
    def test_without_what_carries_nothing_they_are(self, measured: Knockouts, other: str) -> None:
        title = measured.of("title", "absent").views["cold_pool"]["recall@4"].change
        for kind in KINDS:
            change = measured.of(other, kind).views["cold_pool"]["recall@4"].change
            assert -0.1 < change.value < 0.2, (other, kind)
            assert change.value > title.high, (other, kind)

    def test_a_change_is_the_difference_of_the_figures(self, measured: Knockouts) -> None:
        for each in measured.knockouts:
            for view, changes in each.views.items():
                for metric, found in changes.items():
                    whole = measured.views[view].metrics[metric].value
                    assert found.change.value == pytest.approx(found.value.value - whole)

    def test_an_interval_is_as_wide_as_users_differ(self, ill: Patient, measured: Knockouts) -> None:
        """Against a bootstrap of its own, over what each user finds with and without titles."""
        users = ill.split.test.select("user_id", "item_id").sort("user_id").rows()
        ids, new = ill.fitted.features.item_ids, ~ill.fitted.features.trained
        new[:NUM_RESERVED] = False
        asked = [user for user, item in users if new[ids.strict(item)]]
        sought = np.array([ids.strict(item) for _, item in users if new[ids.strict(item)]])
        before, after = (
            (system.recommend(asked, 4, allowed=new) == sought[:, None]).any(1)
            for system in (ill.whole(), ill.without(target(ill, "title"), "absent"))
        )
        gap_U, rng = after.astype(float) - before, np.random.default_rng(1)
        drawn = gap_U[rng.integers(len(gap_U), size=(4000, len(gap_U)))].mean(1)
        change = measured.of("title", "absent").views["cold_pool"]["recall@4"].change
        assert change.value == pytest.approx(gap_U.mean())
        assert change.high - change.low > 0.05
        assert (change.low, change.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.03)

    def test_all_metrics_in_all_views(self, measured: Knockouts) -> None:
        assert len(measured.knockouts) == 8 * len(KINDS)
        names = {f"{name}@{k}" for name in (*METRICS, *BEYOND) for k in (2, 4)}
        for each in measured.knockouts:
            assert set(each.views) == {"warm", "cold_full", "cold_pool"}
            for changes in each.views.values():
                assert set(changes) == names
        assert all(set(view.metrics) == names for view in measured.views.values())

    def test_lists_without_titles_are_measured_by_the_same_vectors(self, measured: Knockouts) -> None:
        """Lists of one group are alike in their titles; without titles they are mixed."""
        change = measured.of("title", "absent").views["cold_pool"]["ild@4"].change
        assert change.low > 0

    def test_items_and_reviews_are_counted(self, ill: Patient, measured: Knockouts) -> None:
        pictures, trained = ill.fitted.features.present["image"], ill.fitted.features.trained
        assert measured.of("image", "absent").num_items == pictures.sum()
        assert measured.of("image", "absent").num_reviews == 0
        assert measured.of("id", "absent").num_items == trained.sum()
        readable = set(ill.split.reviews["row"])
        spoken = set(ill.vectors.reviews["review_audio"].owner.tolist())
        assert measured.of("voices", "noise").num_reviews == len(readable & spoken) > 0

    def test_they_are_read_back_as_written(self, measured: Knockouts, tmp_path: Path) -> None:
        path = tmp_path / "knockouts.json"
        assert Knockouts.load(path) is None
        measured.save(path)
        assert Knockouts.load(path) == measured


class TestSystems:
    def test_altering_nothing_changes_nothing(self, ill: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
        users = sorted(ill.histories)
        expected = ill.whole().recommend(users, 5, allowed=None)
        found = ill.without(NOTHING, "absent").recommend(users, 5, allowed=None)
        np.testing.assert_array_equal(found, expected)
        monkeypatch.setitem(vars(ill), "targets", (NOTHING,))
        monkeypatch.setattr(Patient, "num_items", lambda *_: 0)
        monkeypatch.setattr("training.knockouts.measure.KINDS", ("absent",))
        changes = measure_knockouts(ill, num_users=1000).of("nothing", "absent").views
        assert changes["cold_pool"]
        for by_metric in changes.values():
            for found_ in by_metric.values():
                assert (found_.change.value, found_.change.low, found_.change.high) == (0.0, 0.0, 0.0)

    def test_a_shuffled_modality_is_the_catalogue_with_other_titles(self, ill: Patient) -> None:
        """The slow way: another `ItemFeatures`, read by a copy of the model."""
        features, rows = ill.fitted.features, np.flatnonzero(ill.fitted.features.present["title"])
        seed = [ill.seed, KINDS.index("shuffled"), 0]
        dense = features.dense["title"].copy()
        for taker, giver in zip(rows, np.random.default_rng(seed).permutation(rows), strict=True):
            dense[taker] = features.dense["title"][giver]
        twin = copy.deepcopy(ill.model)
        twin.set_features(replace(features, dense={**features.dense, "title": dense}))
        found = ill.without(target(ill, "title"), "shuffled")._recommender.items
        expected = twin.item_arrays()
        np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)
        np.testing.assert_array_equal(found.token_mask, expected.token_mask)
        assert not np.allclose(found.vectors, ill.model.item_arrays().vectors, atol=1e-3)

    def test_a_shuffled_category_is_the_catalogue_with_other_values(self, ill: Patient) -> None:
        """Of new items, too, which stand where a regression on those values puts them."""
        assert ill.model.cold_start_head is not None
        features, field = ill.fitted.features, ill.fitted.features.categories["colour"]
        rows, seed = np.flatnonzero((field > 0).any(1)), [ill.seed, KINDS.index("shuffled"), 0]
        ids = field.copy()
        ids[rows] = field[np.random.default_rng(seed).permutation(rows)]
        twin = copy.deepcopy(ill.model)
        twin.set_features(replace(features, categories={"colour": ids}))
        found = ill.without(target(ill, "cat:colour"), "shuffled")._recommender.items
        np.testing.assert_allclose(found.vectors, twin.item_arrays().vectors, atol=1e-6)
        cold = ~features.trained & (np.arange(features.size) >= NUM_RESERVED)
        assert not np.allclose(found.vectors[cold], ill.model.item_arrays().vectors[cold], atol=1e-4)

    def test_an_absent_modality_is_the_catalogue_without_it(self, ill: Patient) -> None:
        features = ill.fitted.features
        twin = copy.deepcopy(ill.model)
        nobody = np.zeros_like(features.present["image"])
        twin.set_features(replace(features, present={**features.present, "image": nobody}))
        found = ill.without(target(ill, "image"), "absent")._recommender.items
        np.testing.assert_allclose(found.vectors, twin.item_arrays().vectors, atol=1e-6)

    def test_without_the_id_known_items_stand_where_their_content_puts_them(self, ill: Patient) -> None:
        """By the item tower, as before; they do not become new items, which are placed otherwise."""
        assert ill.model.cold_start_head is not None
        found = ill.without(target(ill, "id"), "absent")._recommender.items
        trained = ill.fitted.features.trained
        twin = copy.deepcopy(ill.model)
        twin.cold_start_head = None
        twin.as_new = {}  # as new ones, but for the reviews of those who bought them
        np.testing.assert_allclose(
            found.vectors[trained], twin.item_arrays(as_new=True).vectors[trained], atol=1e-6
        )
        np.testing.assert_allclose(
            found.vectors[~trained], ill.model.item_arrays().vectors[~trained], atol=1e-6
        )
        assert not found.token_mask[:, -1].any()
        np.testing.assert_array_equal(found.trained, trained)

    @pytest.mark.parametrize("kind", KINDS)
    def test_items_without_the_id_are_left_as_they_are(self, ill: Patient, kind: Kind) -> None:
        found = ill.without(target(ill, "id"), kind)._recommender.items.vectors
        before = ill.fitted.recommender.items.vectors
        changed = np.abs(found - before).max(axis=1) > 1e-5
        assert not changed[~ill.fitted.features.trained].any()
        assert changed[ill.fitted.features.trained].mean() > 0.5

    def test_the_trained_system_is_left_as_it_is(self, ill: Patient) -> None:
        model, features = ill.model, ill.fitted.features
        before = copy.deepcopy(model.state_dict())
        vectors = model.item_arrays().vectors
        dense = {name: array.copy() for name, array in features.dense.items()}
        reviews = {name: medium.vectors.copy() for name, medium in ill.vectors.reviews.items()}
        answers = ill.whole().recommend(sorted(ill.histories), 5, allowed=None)
        for each in ill.targets:
            for kind in KINDS:
                ill.without(each, kind).recommend(["u00"], 5, allowed=None)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert model.features is features
        assert not model.training
        for name, array in dense.items():
            np.testing.assert_array_equal(features.dense[name], array)
        for name, array in reviews.items():
            np.testing.assert_array_equal(ill.vectors.reviews[name].vectors, array)
        np.testing.assert_array_equal(model.item_arrays().vectors, vectors)
        np.testing.assert_array_equal(ill.whole().recommend(sorted(ill.histories), 5, allowed=None), answers)


class TestHistories:
    """Review r of the tests is written if r % 2 == 0, and spoken if r % 3 == 0."""

    def of(self, ill: Patient, name: str, kind: Kind) -> dict[str, History]:
        return dict(ill.without(target(ill, name), kind)._histories)

    def test_titles_leave_them_as_they_are(self, ill: Patient) -> None:
        assert ill.without(target(ill, "title"), "shuffled")._histories is ill.histories

    def test_without_what_was_written_what_was_said_takes_its_place(self, ill: Patient) -> None:
        said = set(map(tuple, ill.vectors.reviews["review_speech"].vectors.tolist()))
        before = texts_of(ill.histories)
        assert 0 < len(said & set(before)) < len(before)
        after = texts_of(self.of(ill, "review_text", "absent"))
        assert after
        assert set(after) <= said
        assert len(after) < len(before)

    def test_without_voices_no_sound_is_heard(self, ill: Patient) -> None:
        assert any(history.review_audio for history in ill.histories.values())
        for history in self.of(ill, "voices", "absent").values():
            assert not history.review_audio

    def test_shuffled_sounds_are_those_of_other_readable_reviews(self, ill: Patient) -> None:
        medium, readable = ill.vectors.reviews["review_audio"], set(ill.split.reviews["row"])
        may = medium.vectors[np.isin(medium.owner, [*readable])].tolist()
        after = self.of(ill, "review_audio", "shuffled")
        pairs = [
            (vector.tolist(), history.review_audio[at].tolist())
            for user, history in ill.histories.items()
            for at, vector in after[user].review_audio.items()
            if at in history.review_audio
        ]
        assert pairs
        assert all(new in may for new, _ in pairs)
        assert sum(new != old for new, old in pairs) > len(pairs) / 2
        for user, history in ill.histories.items():
            np.testing.assert_array_equal(after[user].item, history.item)
            assert list(after[user].review_text) == list(history.review_text)

    def test_a_user_tower_that_reads_no_review_gets_none_altered(self, ill: Patient) -> None:
        deaf = replace(ill, fitted=replace(ill.fitted, builder=_without_reviews(ill)))
        voices = target(ill, "voices")
        assert deaf.num_reviews(voices) == 0
        assert deaf.without(voices, "shuffled")._histories is deaf.histories


def texts_of(histories: Mapping[str, History]) -> list[tuple[float, ...]]:
    """All text vectors of reviews, event by event."""
    return [tuple(vector.tolist()) for each in histories.values() for vector in each.review_text.values()]


def _without_reviews(ill: Patient):  # type: ignore[no-untyped-def]
    builder = copy.copy(ill.fitted.builder)
    builder.reviews = None
    return builder


class TestUsers:
    def test_a_part_of_them_is_drawn_and_counted(self, ill: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(vars(ill), "targets", (Target(name="image", tokens=("image",)),))
        few = measure_knockouts(ill, num_users=10)
        assert (few.num_drawn, few.num_users) == (10, 96)
        assert max(view.num_users for view in few.views.values()) <= 10
        assert measure_knockouts(ill, num_users=10) == few, "the same seed draws the same users"

    def test_progress_is_told(self, ill: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(vars(ill), "targets", (Target(name="image", tokens=("image",)),))
        told: list[tuple[str, int, int, str]] = []
        measure_knockouts(ill, num_users=4, progress=lambda *told_: told.append(told_))  # type: ignore[arg-type]
        assert told[0] == ("knock out", 0, 3, "image absent")
        assert told[-1][:3] == ("knock out", 3, 3)
        assert ill.whole().name == MODEL

    def test_a_test_without_positives_is_refused(self, ill: Patient) -> None:
        nothing = copy.copy(ill.split)
        object.__setattr__(nothing, "test", ill.split.test.clear())
        with pytest.raises(DataError, match="no positive event"):
            measure_knockouts(replace(ill, split=nothing), num_users=4)


def test_a_blind_model_has_its_ids_to_lose(ill: Patient) -> None:
    blind = replace(ill.model.spec, dense_dims={}, category_sizes={})
    assert [each.name for each in targets_of(blind)] == ["id"]
