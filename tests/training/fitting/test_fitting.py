"""One fit: the data that each part reads, the choices on validation, and checkpoints."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fit_parts import fit_split
from fitting_parts import LENGTH, NUM_USERS, config, log, media

from features.dataset.tables import Dataset, MediaVectors
from features.leakage.audit import Audit
from features.splits.make import make_split
from features.splits.split import Split
from recsys.config import Config, changed
from recsys.ids import IdMap
from training.cold_start.validation_users import ValidationUsers
from training.fitting.fit import FitChoices, Fitted
from training.fitting.refit import newest_events_split
from training.fitting.validation import is_ranker_user
from training.ranker.ranked_lists import RankingTask
from training.sequences import TrainingSequence

Events = set[tuple[str, int, int]]  # user, item, time
RANKER_USERS = [2, 3, 5, 6, 9, 10]  # of the first twelve, at a share of one half


class Stopped(Exception):
    """The fit ended before the training of the towers."""


class Spy:
    """What the retriever and the ranker were given in one fit, which ends before them if `stop` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stop = False
        self.sequences: Mapping[str, TrainingSequence] = {}
        self.arguments: dict[str, Any] = {}
        self.features: Any = None
        self.ranking: dict[str, Any] = {}
        module = import_module("training.fitting.fit")
        monkeypatch.setattr(module, "fit_retriever", self._retriever(module.fit_retriever))
        monkeypatch.setattr(module, "fit_ranker", self._ranker(module.fit_ranker))

    def _retriever(self, real: Any) -> Any:
        def fit_retriever(features: Any, schema: Any, sequences: Any, **arguments: Any) -> Any:
            self.features, self.sequences, self.arguments = features, sequences, arguments
            if self.stop:
                raise Stopped
            return real(features, schema, sequences, **arguments)

        return fit_retriever

    def _ranker(self, real: Any) -> Any:
        def fit_ranker(recommender: Any, **arguments: Any) -> Any:
            self.ranking = arguments
            return real(recommender, **arguments)

        return fit_ranker

    @property
    def trained_on(self) -> Events:
        """Events that the towers read or predict."""
        return {
            (user, int(item), int(time))
            for user, sequence in self.sequences.items()
            for item, time in zip(sequence.history.item, sequence.history.timestamp, strict=True)
        }


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def run(
    data: Dataset, split: Split | None = None, settings: Config | None = None, **arguments: Any
) -> Fitted:
    settings = settings or config()
    return fit_split(data, media(data), split or make_split(data, settings.split), settings, **arguments)


@dataclass(frozen=True)
class Usual:
    """A fit of the log with the settings of `config`; nothing may be changed in it."""

    spy: Spy
    split: Split
    fitted: Fitted


@pytest.fixture(scope="module")
def usual() -> Usual:
    split = make_split(log(), config().split)
    with pytest.MonkeyPatch.context() as monkeypatch:
        spy = Spy(monkeypatch)
        return Usual(spy, split, run(log(), split))


def triples(frame: pl.DataFrame, ids: IdMap) -> Events:
    rows = frame.select("user_id", "item_id", "timestamp").iter_rows()
    return {(user, ids.strict(item), time) for user, item, time in rows}


def targets(task: RankingTask) -> list[set[int]]:
    return [set(map(int, items)) for items in task.ground_truth]


def test_towers_read_training_events_and_predict_the_positive_ones(usual: Usual) -> None:
    assert usual.spy.trained_on == triples(usual.split.train, usual.fitted.features.item_ids)
    for sequence in usual.spy.sequences.values():
        assert (np.diff(sequence.history.timestamp) > 0).all()
        np.testing.assert_array_equal(sequence.target, [True, True, False, True, True])


def test_ranker_targets_are_events_that_the_towers_were_not_fitted_on(usual: Usual) -> None:
    held = triples(usual.split.validation, usual.fitted.features.item_ids)
    assert not held & usual.spy.trained_on
    by_user = {user: item for user, item, _ in held}
    ranked_for = [
        user for user in sorted(by_user, key=lambda name: int(name[1:])) if is_ranker_user(user, 0.5)
    ]
    task: RankingTask = usual.spy.ranking["train"]
    assert sorted(map(sorted, targets(task))) == sorted([by_user[user]] for user in ranked_for)


def test_an_event_planted_in_both_parts_is_noticed_by_the_checks_above(
    spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit without the audit, which would refuse the inputs."""
    monkeypatch.setattr("training.fitting.inputs.audit_fit", lambda *_, **__: Audit(checked=()))
    data = log()
    split = make_split(data, config().split)
    leaky = replace(split, train=pl.concat([split.train, split.validation.head(1)]))
    ids = run(data, leaky).features.item_ids
    assert len(triples(leaky.validation, ids) & spy.trained_on) == 1


def test_a_history_before_the_target_holds_neither_it_nor_what_came_after(usual: Usual) -> None:
    first = 10 * (LENGTH - 2)  # the validation event, the last but one
    for task in (usual.spy.ranking["train"], usual.spy.ranking["validation"]):
        for history, items in zip(task.histories, targets(task), strict=True):
            assert history.timestamp.max() < first
            assert not items & set(history.item.tolist())
            assert not items & set(history.seen.tolist())


def test_the_ranker_is_chosen_on_users_that_it_was_not_trained_on(usual: Usual) -> None:
    first, second = (usual.spy.ranking[name].histories for name in ("train", "validation"))
    assert len(first) + len(second) == NUM_USERS
    assert len(first) > 5 < len(second)
    assert not {id(history) for history in first} & {id(history) for history in second}


def test_no_test_event_and_no_review_of_it_reaches_the_fit(spy: Spy) -> None:
    """Other last events, and other reviews on them, change no parameter."""
    data = log()
    settings = config()
    split = make_split(data, settings.split)
    reference = run(data, split, settings).retriever.model.state_dict()
    last = pl.col("timestamp") == 10 * (LENGTH - 1)
    swapped = data.interactions.with_columns(
        pl.when(last).then(pl.lit("new")).otherwise("item_id").alias("item_id")
    )
    other = replace(data, interactions=swapped)
    vectors = media(data)
    late = data.reviews["timestamp"].to_numpy() > 10 * (LENGTH - 2)
    assert late.any()
    vectors.reviews["review_text"].vectors[late] = 99.0
    planted = fit_split(other, vectors, make_split(other, settings.split), settings)
    found = planted.retriever.model.state_dict()
    assert all(torch.equal(reference[name], found[name]) for name in reference)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_share_of_ranker_users_is_the_one_asked_for(share: float) -> None:
    users = [f"user-{number}" for number in range(4000)]
    assert np.mean([is_ranker_user(user, share) for user in users]) == pytest.approx(share, abs=0.03)


def test_who_is_a_ranker_user_never_changes() -> None:
    assert [number for number in range(12) if is_ranker_user(f"u{number}", 0.5)] == RANKER_USERS
    assert all(is_ranker_user(f"u{n}", 0.9) for n in range(100) if is_ranker_user(f"u{n}", 0.4))


def test_without_users_to_choose_on_there_is_no_ranker(caplog: pytest.LogCaptureFixture, spy: Spy) -> None:
    with caplog.at_level(logging.WARNING):
        fitted = run(log(), settings=config(model={"ranker": {"target_users": 1.0}}))
    assert fitted.ranker is None
    assert not spy.ranking
    assert "no ranker" in caplog.text
    history = next(iter(fitted.builder.build(log().interactions).values()))
    assert fitted.recommender.recommend([history], 3).token_attention is None


def test_a_disabled_ranker_is_not_trained(spy: Spy) -> None:
    assert run(log(), settings=config(model={"ranker": {"enabled": False}})).ranker is None
    assert not spy.ranking


def repeats() -> Dataset:
    """The validation event of every user is a repeat of the first item."""
    data = log()
    first = pl.col("item_id").first().over("user_id")
    item = pl.when(pl.col("timestamp") == 10 * (LENGTH - 2)).then(first).otherwise("item_id").alias("item_id")
    return replace(data, interactions=data.interactions.with_columns(item))


def test_repeats_are_found_and_taught_where_seen_items_may_be_recommended(spy: Spy) -> None:
    usual = run(repeats())
    assert usual.retriever.best_score == 0.0
    assert usual.ranker is None, "no list holds what is to be found"
    fitted = run(repeats(), settings=config(evaluate={"exclude_seen": False}))
    assert fitted.retriever.best_score > 0
    assert fitted.ranker is not None
    assert fitted.ranker.num_lists > 0
    assert fitted.ranker.scores["retriever"] > 0
    for task in (spy.ranking["train"], spy.ranking["validation"]):
        assert all(np.isin(t, h.seen).all() for t, h in zip(task.ground_truth, task.histories, strict=True))


def test_new_items_are_judged_by_lists_with_seen_items_where_those_may_be_recommended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected: list[ValidationUsers | None] = []
    real = import_module("training.fitting.fit").fit_cold_start_head

    def place(model: Any, validation_users: ValidationUsers | None, *rest: Any, **named: Any) -> Any:
        collected.append(validation_users)
        return real(model, validation_users, *rest, **named)

    monkeypatch.setattr(import_module("training.fitting.fit"), "fit_cold_start_head", place)
    for exclude_seen in (True, False):
        run(log(), settings=config(evaluate={"exclude_seen": exclude_seen}, train={"epochs": 1}))
    usual, repeating = collected
    assert usual is not None
    assert repeating is not None
    assert all(len(seen) for seen in usual.seen)
    assert not any(len(seen) for seen in repeating.seen)


def test_fewer_items_and_candidates_than_are_counted_still_choose() -> None:
    """Selection uses NDCG@10; a catalogue or a list can be shorter than 10."""
    data = log()
    few = [f"i{at:02d}" for at in range(8)]
    small = replace(
        data,
        items=data.items.filter(pl.col("item_id").is_in(few)),
        interactions=data.interactions.filter(pl.col("item_id").is_in(few)),
        reviews=data.reviews.clear(),
    )
    fitted = run(small, settings=config(model={"ranker": {"num_candidates": 5}}))
    assert 0 <= fitted.retriever.best_score <= 1


def test_validation_users_without_any_past_choose_nothing(spy: Spy) -> None:
    """With one cut-off for all users, the first event of a user can be a validation event."""
    data = log()
    settings = config(split={"protocol": "leave_one_out"})
    split = make_split(data, settings.split)
    is_held = pl.col("row").is_in(split.validation["row"].implode())
    name = pl.when(is_held).then(pl.format("new-{}", "user_id")).otherwise("user_id").alias("user_id")
    renamed = replace(data, interactions=data.interactions.with_columns(name))
    fitted = run(renamed, replace(split, validation=split.validation.with_columns(name)), settings)
    assert spy.arguments["validate"] is None
    assert np.isnan(fitted.retriever.best_score)
    assert fitted.ranker is None


def test_choices_of_an_earlier_fit_are_not_made_again(spy: Spy) -> None:
    data = log()
    choices = FitChoices(epochs=1, ranker_epochs=2, blend_weight=0.5)
    fitted = run(data, make_split(data, config().split), choices=choices)
    assert spy.arguments["validate"] is None
    assert len(fitted.retriever.curve) == 1
    assert spy.ranking["validation"] is None
    assert fitted.ranker is not None
    assert (fitted.ranker.best_epoch, fitted.ranker.blend_weight) == (2, 0.5)
    assert fitted.ranker.scores == {}


def test_a_refit_on_everything_has_no_ranker_where_none_helped(spy: Spy) -> None:
    data = log()
    fitted = run(
        data,
        newest_events_split(data, config(), needs_targets=False),
        choices=FitChoices(epochs=1, ranker_epochs=1, blend_weight=0.0),
    )
    assert fitted.ranker is None
    assert len(spy.trained_on) == data.interactions.height


def test_a_ranker_of_blend_weight_0_is_told_of_but_neither_adds_nor_explains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = import_module("training.fitting.fit").fit_ranker

    def unhelpful(*arguments: Any, **named: Any) -> Any:
        found = real(*arguments, **named)
        assert found is not None
        return replace(found, blend_weight=0.0)

    monkeypatch.setattr(import_module("training.fitting.fit"), "fit_ranker", unhelpful)
    fitted = run(log())
    assert fitted.ranker is not None
    assert not fitted.recommender.sources
    history = next(iter(fitted.builder.build(log().interactions).values()))
    found = fitted.recommender.recommend([history], 3)
    assert found.token_attention is found.history_attention is found.history_items is None
    np.testing.assert_array_equal(found.scores, found.retriever_scores)


def test_the_same_fit_twice_is_the_same(usual: Usual) -> None:
    first, second = usual.fitted, run(log())
    history = [*first.builder.build(log().interactions).values()]
    one, other = (each.recommender.recommend(history, 10) for each in (first, second))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)


class TestFingerprint:
    """A checkpoint is resumed by the same fit and by no other."""

    def fingerprint(
        self,
        spy: Spy,
        data: Dataset,
        vectors: MediaVectors,
        settings: Config,
        choices: FitChoices | None = None,
    ) -> str:
        spy.stop = True
        with pytest.raises(Stopped):
            fit_split(data, vectors, make_split(data, settings.split), settings, choices=choices)
        found = spy.arguments["fingerprint"]
        assert isinstance(found, str)
        return found

    def test_changes_with_what_is_read(self, spy: Spy) -> None:
        data, settings = log(), config(train={"epochs": 1}, model={"ranker": {"enabled": False}})
        vectors = media(data)
        shuffled = replace(data, items=data.items.reverse())
        others = {
            "nothing": (data, vectors, settings, None),
            "items in another order": (shuffled, vectors, settings, None),
            "other vectors": (data, media(data, seed=1), settings, None),
            "a setting": (data, vectors, changed(settings, {"model.item.id_dropout": 0.25}), None),
            "seen items": (data, vectors, changed(settings, {"evaluate.exclude_seen": False}), None),
            "choices of an earlier fit": (
                data,
                vectors,
                settings,
                FitChoices(epochs=1, ranker_epochs=1, blend_weight=0.0),
            ),
        }
        found = {name: self.fingerprint(spy, *given) for name, given in others.items()}
        assert len(set(found.values())) == len(found)
        later = {
            "model.ranker.enabled": True,
            "model.cold_ranks": [5],
            "model.cold_start.content_regression": False,
        }
        for name, value in later.items():  # which has no part in the towers' training
            assert (
                self.fingerprint(spy, data, vectors, changed(settings, {name: value}), None)
                == found["nothing"]
            )
        assert self.fingerprint(spy, data, media(data), settings) == found["nothing"]

    def test_items_in_another_order_do_not_resume(self, tmp_path: Path) -> None:
        """Rows of the id table would belong to other items, while every sum stays the same."""
        data, settings = log(), config(model={"item": {"use_content": False}})
        path = tmp_path / "main.pt"
        epochs: list[int] = []

        def note(epoch: int, entry: dict[str, float]) -> None:
            epochs.append(epoch)

        run(data, settings=settings, checkpoint=path, on_epoch=note)
        run(data, settings=settings, checkpoint=path, on_epoch=note)
        assert epochs == [1, 2], "nothing is trained again"
        run(replace(data, items=data.items.reverse()), settings=settings, checkpoint=path, on_epoch=note)
        assert epochs == [1, 2, 1, 2]
