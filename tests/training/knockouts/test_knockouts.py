"""Knock-outs of a system in which only the title predicts the events."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from knockout_parts import subject

from recsys.errors import DataError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.metrics.beyond_accuracy import BEYOND
from recsys.metrics.ranking import METRICS
from training.evaluation.system import MODEL
from training.knockouts.alteration import KINDS, Kind
from training.knockouts.groups import ModalityGroup, groups_of
from training.knockouts.measure import Knockouts, measure_knockouts
from training.knockouts.systems import KnockoutSubject
from training.knockouts.words import verdict_of

NOTHING = ModalityGroup(name="nothing", tokens=())


@pytest.fixture(scope="module")
def trained() -> KnockoutSubject:
    return subject()


@pytest.fixture(scope="module")
def measured(trained: KnockoutSubject) -> Knockouts:
    return measure_knockouts(trained, num_users=1000)


def group(trained: KnockoutSubject, name: str) -> ModalityGroup:
    return next(each for each in trained.groups if each.name == name)


def test_targets_are_the_tokens_and_the_groups_of_several(trained: KnockoutSubject) -> None:
    assert [each.name for each in trained.groups] == [
        "title", "image", "review_text", "review_speech", "review_audio", "cat:colour", "id", "voices",
    ]  # fmt: skip
    assert group(trained, "voices").tokens == ("review_speech", "review_audio")
    assert group(trained, "cat:colour").tokens == ("colour",)
    assert [each.name for each in trained.groups if each.has_several_tokens] == ["voices"]
    widths = dict.fromkeys(["title", "text", "video", "video_audio"], 2)
    both = replace(trained.model.spec, dense_dims=widths, has_id=False)
    assert [each.name for each in groups_of(both)][-2:] == ["texts", "videos"]


class TestResults:
    def test_without_what_carries_the_truth_new_items_are_not_found(self, measured: Knockouts) -> None:
        assert measured.views["cold_pool"].metrics["recall@4"].value > 0.35
        for kind in KINDS:
            change = measured.of("title", kind).views["cold_pool"]["recall@4"].change
            assert change.high < 0, kind
            relative = measured.relative("title", kind, "cold_pool", "recall@4")
            assert relative is not None
            assert relative.value < -0.4, kind
        assert verdict_of(measured, "title", "cold_pool", "recall@4") == "helps"

    @pytest.mark.parametrize("other", ["image", "review_text", "voices", "cat:colour"])
    def test_without_what_carries_nothing_they_are(self, measured: Knockouts, other: str) -> None:
        title = measured.of("title", "absent").views["cold_pool"]["recall@4"].change
        for kind in KINDS:
            change = measured.of(other, kind).views["cold_pool"]["recall@4"].change
            assert -0.1 < change.value < 0.2, (other, kind)
            assert change.value > title.high, (other, kind)

    def test_a_change_is_the_difference_of_both_results(self, measured: Knockouts) -> None:
        for each in measured.knockouts:
            for view, changes in each.views.items():
                for metric, found in changes.items():
                    full = measured.views[view].metrics[metric].value
                    assert found.change.value == pytest.approx(found.value.value - full)

    def test_an_interval_is_as_wide_as_users_differ(
        self, trained: KnockoutSubject, measured: Knockouts
    ) -> None:
        """Against a separate bootstrap of each user's results with and without titles."""
        users = trained.split.test.select("user_id", "item_id").sort("user_id").rows()
        ids, new = trained.fitted.features.item_ids, ~trained.fitted.features.trained
        new[:NUM_RESERVED] = False
        asked = [user for user, item in users if new[ids.strict(item)]]
        sought = np.array([ids.strict(item) for _, item in users if new[ids.strict(item)]])
        before, after = (
            (system.recommend(asked, 4, allowed=new) == sought[:, None]).any(1)
            for system in (trained.full(), trained.without(group(trained, "title"), "absent"))
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
        """The items of a list have similar titles; without titles the lists are mixed."""
        change = measured.of("title", "absent").views["cold_pool"]["ild@4"].change
        assert change.low > 0

    def test_items_and_reviews_are_counted(self, trained: KnockoutSubject, measured: Knockouts) -> None:
        pictures, is_trained = trained.fitted.features.present["image"], trained.fitted.features.trained
        assert measured.of("image", "absent").num_items == pictures.sum()
        assert measured.of("image", "absent").num_reviews == 0
        assert measured.of("id", "absent").num_items == is_trained.sum()
        readable = set(trained.split.reviews["row"])
        spoken = set(trained.vectors.reviews["review_audio"].owner.tolist())
        assert measured.of("voices", "noise").num_reviews == len(readable & spoken) > 0

    def test_they_are_read_back_as_written(self, measured: Knockouts, tmp_path: Path) -> None:
        path = tmp_path / "knockouts.json"
        assert Knockouts.load(path) is None
        measured.save(path)
        assert Knockouts.load(path) == measured


class TestSystems:
    def test_altering_nothing_changes_nothing(
        self, trained: KnockoutSubject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        users = sorted(trained.histories)
        expected = trained.full().recommend(users, 5, allowed=None)
        found = trained.without(NOTHING, "absent").recommend(users, 5, allowed=None)
        np.testing.assert_array_equal(found, expected)
        asked = trained.config.evaluate.model_copy(update={"knockout_kinds": ("absent",)})
        subject = replace(trained, config=trained.config.model_copy(update={"evaluate": asked}))
        monkeypatch.setitem(vars(subject), "groups", (NOTHING,))
        monkeypatch.setattr(KnockoutSubject, "num_items", lambda *_: 0)
        measured = measure_knockouts(subject, num_users=1000)
        assert measured.kinds == ("absent",)
        changes = measured.of("nothing", "absent").views
        assert changes["cold_pool"]
        for by_metric in changes.values():
            for found_ in by_metric.values():
                assert (found_.change.value, found_.change.low, found_.change.high) == (0.0, 0.0, 0.0)

    def test_a_shuffled_modality_is_the_catalogue_with_other_titles(self, trained: KnockoutSubject) -> None:
        """Slow reference: a copy of the model with other `ItemFeatures`."""
        features, rows = trained.fitted.features, np.flatnonzero(trained.fitted.features.present["title"])
        seed = [trained.seed, KINDS.index("shuffled"), 0]
        dense = features.dense["title"].copy()
        for taker, giver in zip(rows, np.random.default_rng(seed).permutation(rows), strict=True):
            dense[taker] = features.dense["title"][giver]
        expected_model = copy.deepcopy(trained.model)
        expected_model.set_features(replace(features, dense={**features.dense, "title": dense}))
        found = trained.without(group(trained, "title"), "shuffled")._recommender.items
        expected = expected_model.item_arrays()
        np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)
        np.testing.assert_array_equal(found.token_mask, expected.token_mask)
        assert not np.allclose(found.vectors, trained.model.item_arrays().vectors, atol=1e-3)

    def test_a_shuffled_category_is_the_catalogue_with_other_values(self, trained: KnockoutSubject) -> None:
        """Cold items too, which are embedded by a regression on these values."""
        assert trained.model.cold_start_head is not None
        features, field = trained.fitted.features, trained.fitted.features.categories["colour"]
        rows, seed = np.flatnonzero((field > 0).any(1)), [trained.seed, KINDS.index("shuffled"), 0]
        ids = field.copy()
        ids[rows] = field[np.random.default_rng(seed).permutation(rows)]
        expected_model = copy.deepcopy(trained.model)
        expected_model.set_features(replace(features, categories={"colour": ids}))
        found = trained.without(group(trained, "cat:colour"), "shuffled")._recommender.items
        np.testing.assert_allclose(found.vectors, expected_model.item_arrays().vectors, atol=1e-6)
        cold = ~features.trained & (np.arange(features.size) >= NUM_RESERVED)
        assert not np.allclose(found.vectors[cold], trained.model.item_arrays().vectors[cold], atol=1e-4)

    def test_an_absent_modality_is_the_catalogue_without_it(self, trained: KnockoutSubject) -> None:
        features = trained.fitted.features
        expected_model = copy.deepcopy(trained.model)
        absent = np.zeros_like(features.present["image"])
        expected_model.set_features(replace(features, present={**features.present, "image": absent}))
        found = trained.without(group(trained, "image"), "absent")._recommender.items
        np.testing.assert_allclose(found.vectors, expected_model.item_arrays().vectors, atol=1e-6)

    def test_without_the_id_warm_items_are_embedded_by_their_content(self, trained: KnockoutSubject) -> None:
        """They are embedded by the item tower and do not become cold items."""
        assert trained.model.cold_start_head is not None
        found = trained.without(group(trained, "id"), "absent")._recommender.items
        is_trained = trained.fitted.features.trained
        expected_model = copy.deepcopy(trained.model)
        expected_model.cold_start_head = None
        expected_model.as_cold = {}  # as new ones, but for the reviews of those who bought them
        np.testing.assert_allclose(
            found.vectors[is_trained], expected_model.item_arrays(as_cold=True).vectors[is_trained], atol=1e-6
        )
        np.testing.assert_allclose(
            found.vectors[~is_trained], trained.model.item_arrays().vectors[~is_trained], atol=1e-6
        )
        assert not found.token_mask[:, -1].any()
        np.testing.assert_array_equal(found.trained, is_trained)

    @pytest.mark.parametrize("kind", KINDS)
    def test_items_without_the_id_are_left_as_they_are(self, trained: KnockoutSubject, kind: Kind) -> None:
        found = trained.without(group(trained, "id"), kind)._recommender.items.vectors
        before = trained.fitted.recommender.items.vectors
        changed = np.abs(found - before).max(axis=1) > 1e-5
        assert not changed[~trained.fitted.features.trained].any()
        assert changed[trained.fitted.features.trained].mean() > 0.5

    def test_the_trained_system_is_left_as_it_is(self, trained: KnockoutSubject) -> None:
        model, features = trained.model, trained.fitted.features
        before = copy.deepcopy(model.state_dict())
        vectors = model.item_arrays().vectors
        dense = {name: array.copy() for name, array in features.dense.items()}
        reviews = {name: medium.vectors.copy() for name, medium in trained.vectors.reviews.items()}
        answers = trained.full().recommend(sorted(trained.histories), 5, allowed=None)
        for each in trained.groups:
            for kind in KINDS:
                trained.without(each, kind).recommend(["u00"], 5, allowed=None)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert model.features is features
        assert not model.training
        for name, array in dense.items():
            np.testing.assert_array_equal(features.dense[name], array)
        for name, array in reviews.items():
            np.testing.assert_array_equal(trained.vectors.reviews[name].vectors, array)
        np.testing.assert_array_equal(model.item_arrays().vectors, vectors)
        np.testing.assert_array_equal(
            trained.full().recommend(sorted(trained.histories), 5, allowed=None), answers
        )


class TestHistories:
    """Review r of the tests is written if r % 2 == 0, and spoken if r % 3 == 0."""

    def of(self, trained: KnockoutSubject, name: str, kind: Kind) -> dict[str, History]:
        return dict(trained.without(group(trained, name), kind)._histories)

    def test_titles_leave_them_as_they_are(self, trained: KnockoutSubject) -> None:
        assert trained.without(group(trained, "title"), "shuffled")._histories is trained.histories

    def test_without_what_was_written_what_was_said_takes_its_place(self, trained: KnockoutSubject) -> None:
        said = set(map(tuple, trained.vectors.reviews["review_speech"].vectors.tolist()))
        before = texts_of(trained.histories)
        assert 0 < len(said & set(before)) < len(before)
        after = texts_of(self.of(trained, "review_text", "absent"))
        assert after
        assert set(after) <= said
        assert len(after) < len(before)

    def test_without_voices_no_sound_is_heard(self, trained: KnockoutSubject) -> None:
        assert any(history.review_audio for history in trained.histories.values())
        for history in self.of(trained, "voices", "absent").values():
            assert not history.review_audio

    def test_shuffled_sounds_are_those_of_other_readable_reviews(self, trained: KnockoutSubject) -> None:
        medium, readable = trained.vectors.reviews["review_audio"], set(trained.split.reviews["row"])
        may = medium.vectors[np.isin(medium.owner, [*readable])].tolist()
        after = self.of(trained, "review_audio", "shuffled")
        pairs = [
            (vector.tolist(), history.review_audio[at].tolist())
            for user, history in trained.histories.items()
            for at, vector in after[user].review_audio.items()
            if at in history.review_audio
        ]
        assert pairs
        assert all(new in may for new, _ in pairs)
        assert sum(new != old for new, old in pairs) > len(pairs) / 2
        for user, history in trained.histories.items():
            np.testing.assert_array_equal(after[user].item, history.item)
            assert list(after[user].review_text) == list(history.review_text)

    def test_a_user_tower_that_reads_no_review_gets_none_altered(self, trained: KnockoutSubject) -> None:
        deaf = replace(trained, fitted=replace(trained.fitted, builder=_without_reviews(trained)))
        voices = group(trained, "voices")
        assert deaf.num_reviews(voices) == 0
        assert deaf.without(voices, "shuffled")._histories is deaf.histories


def texts_of(histories: Mapping[str, History]) -> list[tuple[float, ...]]:
    """All text vectors of reviews, event by event."""
    return [tuple(vector.tolist()) for each in histories.values() for vector in each.review_text.values()]


def _without_reviews(trained: KnockoutSubject):  # type: ignore[no-untyped-def]
    builder = copy.copy(trained.fitted.builder)
    builder.reviews = None
    return builder


class TestUsers:
    def test_a_part_of_them_is_drawn_and_counted(
        self, trained: KnockoutSubject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(vars(trained), "groups", (ModalityGroup(name="image", tokens=("image",)),))
        few = measure_knockouts(trained, num_users=10)
        assert (few.num_drawn, few.num_users) == (10, 96)
        assert max(view.num_users for view in few.views.values()) <= 10
        assert measure_knockouts(trained, num_users=10) == few, "the same seed draws the same users"

    def test_progress_is_told(self, trained: KnockoutSubject, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(vars(trained), "groups", (ModalityGroup(name="image", tokens=("image",)),))
        reported: list[tuple[str, int, int, str]] = []
        measure_knockouts(trained, num_users=4, progress=lambda *reported_: reported.append(reported_))  # type: ignore[arg-type]
        assert reported[0] == ("knock out", 0, 3, "image absent")
        assert reported[-1][:3] == ("knock out", 3, 3)
        assert trained.full().name == MODEL

    def test_a_test_without_positives_is_refused(self, trained: KnockoutSubject) -> None:
        nothing = copy.copy(trained.split)
        object.__setattr__(nothing, "test", trained.split.test.clear())
        with pytest.raises(DataError, match="no positive event"):
            measure_knockouts(replace(trained, split=nothing), num_users=4)


def test_a_blind_model_has_its_ids_to_lose(trained: KnockoutSubject) -> None:
    blind = replace(trained.model.spec, dense_dims={}, category_sizes={})
    assert [each.name for each in groups_of(blind)] == ["id"]


class TestKilled:
    """Finished cases of an interrupted measurement are kept."""

    def test_goes_on_with_the_next_case_and_ends_with_the_same_results(
        self, trained: KnockoutSubject, measured: Knockouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(_: str, done: int, total: int, note: str = "") -> None:
            if done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            measure_knockouts(trained, num_users=1000, progress=stop, kept=tmp_path)
        altered = []
        real = KnockoutSubject.without

        def without(self: KnockoutSubject, group: ModalityGroup, kind: Kind) -> object:
            altered.append((group.name, kind))
            return real(self, group, kind)

        monkeypatch.setattr(KnockoutSubject, "without", without)
        damaged = next(tmp_path.iterdir())
        damaged.write_text("{", "utf-8")
        found = measure_knockouts(trained, num_users=1000, kept=tmp_path)
        assert len(altered) == len(found.knockouts) - 4
        assert found == measured

    def test_other_users_are_measured_again(self, trained: KnockoutSubject, tmp_path: Path) -> None:
        measure_knockouts(trained, num_users=4, kept=tmp_path)
        num_files = len(list(tmp_path.iterdir()))
        measure_knockouts(trained, num_users=5, kept=tmp_path)
        assert len(list(tmp_path.iterdir())) == 2 * num_files
