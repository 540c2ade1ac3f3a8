"""Ranker, cold-start head, candidate sources and choices of a fit are kept, and not fitted twice."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_parts import fit_split
from fitting_parts import config, log, media, source_arrays

from features.splits.make import make_split
from recsys.config import Config
from training.fitting.after_towers import CONTENTS, MODULES
from training.fitting.fit import FitChoices, Fitted
from training.fitting.validation import is_ranker_user

# The log has 24 items.
SMALL = {"cold_start": {"min_items": 5}, "ranker": {"num_epochs": 1}}


class Fit:
    """A fit that keeps its parts in a folder; `ranked` counts the trainings of the ranker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checkpoint, self.after_towers = folder / "main.pt", folder / "main.after_towers"
        self.ranked = 0
        module = import_module("training.fitting.fit")
        real = module.fit_ranker

        def fit_ranker(*arguments: Any, **named: Any) -> Any:
            self.ranked += 1
            return real(*arguments, **named)

        monkeypatch.setattr(module, "fit_ranker", fit_ranker)

    def __call__(self, settings: Config | None = None, choices: FitChoices | None = None) -> Fitted:
        return fit_and_keep(self.checkpoint.parent, settings or config(model=SMALL), choices)


def fit_and_keep(folder: Path, settings: Config, choices: FitChoices | None = None) -> Fitted:
    data = log()
    return fit_split(
        data,
        media(data),
        make_split(data, settings.split),
        settings,
        choices=choices,
        checkpoint=folder / "main.pt",
        after_towers=folder / "main.after_towers",
    )


@pytest.fixture(scope="module")
def first_fit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fitted]:
    """A fit, and the folder that keeps its parts; nothing may be changed in the folder."""
    folder = tmp_path_factory.mktemp("first") / "checkpoints"
    return folder, fit_and_keep(folder, config(model=SMALL))


@pytest.fixture
def fitted_before(fit: Fit, first_fit: tuple[Path, Fitted]) -> Fitted:
    """The first fit, whose parts are in the folder of `fit`."""
    folder, fitted = first_fit
    shutil.copytree(folder, fit.checkpoint.parent)
    return fitted


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    return Fit(tmp_path / "checkpoints", monkeypatch)


def assert_same(first: Fitted, second: Fitted) -> None:
    """Every part and every list, to the last digit."""
    history = [*first.builder.build(log().interactions).values()]
    one, other = (each.recommender.recommend(history, 10) for each in (first, second))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert first.ranker is not None
    assert second.ranker is not None
    pairs = [(first.ranker.module, second.ranker.module), (first.retriever.model, second.retriever.model)]
    mine, yours = first.ranker.cross_fitted, second.ranker.cross_fitted
    assert (mine is None) == (yours is None)
    if mine is not None and yours is not None:
        pairs += [(mine.for_validation, yours.for_validation), (mine.for_train, yours.for_train)]
    for before, after in pairs:
        expected, found = before.state_dict(), after.state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (first.cold_items, first.without_events) == (second.cold_items, second.without_events)
    assert FitChoices.of(first) == FitChoices.of(second)
    assert first.ranker.scores == second.ranker.scores
    for a, b in zip(first.recommender.sources, second.recommender.sources, strict=True):
        assert a.name == b.name
        for name, array in source_arrays(a).items():
            np.testing.assert_array_equal(array, source_arrays(b)[name])


def used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch of the ranker counts as better than the one before, so that its sources are kept, too."""
    from training.ranker import RankedLists

    scores = iter(range(1, 10_000))
    monkeypatch.setattr(
        RankedLists, "ndcg", lambda lists, _: np.full(len(lists.label_BK), next(scores) / 1e6)
    )


def test_the_same_fit_is_read_and_equals_the_first(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    used(monkeypatch)
    first = fit()
    assert first.recommender.sources
    assert first.retriever.model.cold_start_head is not None
    assert first.ranker is not None
    assert first.ranker.cross_fitted is not None
    second = fit()
    assert fit.ranked == 1
    assert_same(first, second)
    check_held_out(second)


def check_held_out(fitted: Fitted) -> None:
    """Each half of the users has the ranker of the other half."""
    assert fitted.ranker is not None
    both = fitted.ranker.cross_fitted
    assert both is not None
    trained, chose = fitted.held_out()
    users = [f"user {at}" for at in range(50)]
    assert [trained.includes(user) for user in users] == [is_ranker_user(user, 0.5) for user in users]
    assert [chose.includes(user) for user in users] == [not is_ranker_user(user, 0.5) for user in users]
    rankers = [each.recommender._rank for each in (trained, chose, fitted)]
    assert rankers == [both.for_train.rank, both.for_validation.rank, fitted.ranker.module.rank]


@pytest.mark.parametrize(
    "other",
    [
        config(model={**SMALL, "ranker": {"num_epochs": 2}}),
        config(model=SMALL, sources={"als": {"factors": 5}}),
        config(model={**SMALL, "cold_start": {"min_items": 5, "ridge_alphas": (7.0,)}}),
        config(model=SMALL, train={"seed": 3}),
    ],
    ids=["ranker", "sources", "cold start", "towers"],
)
def test_other_settings_are_fitted_anew(fit: Fit, fitted_before: Fitted, other: Config) -> None:
    fit()
    assert fit.ranked == 0
    fit(other)
    assert fit.ranked == 1


def test_choices_of_another_fit_are_fitted_anew(fit: Fit) -> None:
    choices = FitChoices(epochs=1, ranker_epochs=2, blend_weight=0.5)
    fit(choices=choices)
    fit(choices=FitChoices(epochs=1, ranker_epochs=1, blend_weight=0.5))
    assert fit.ranked == 2


@pytest.mark.parametrize("name", [CONTENTS, MODULES, "sources/sources.json"])
@pytest.mark.parametrize("damage", ["removed", "cut", "a bit"])
def test_a_damaged_part_is_a_warning_and_fitted_anew(
    fit: Fit, fitted_before: Fitted, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = fit.after_towers / name
    content = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    second = fit()
    assert fit.ranked == 1
    assert "fitted again" in caplog.text
    assert_same(fitted_before, second)
    fit()
    assert fit.ranked == 1, "what was fitted anew is kept"


def test_without_a_ranker_nothing_of_it_is_kept(fit: Fit) -> None:
    off = config(model={"ranker": {"enabled": False}})
    first, second = fit(off), fit(off)
    assert first.ranker is second.ranker is None
    assert first.cold_items == second.cold_items
