"""Content neighbours and their fusion against slow loops."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from baseline_parts import make_items, make_split, names_of

from recsys.arrays import Floats
from recsys.ids import IdMap
from recsys.item_features import ItemFeatures
from training.baselines import ContentNeighbors, ContentSettings, Fusion, FusionSettings, KnownEvents
from training.baselines.content import CATEGORIES, content_candidates, content_settings, modalities_of
from training.baselines.fusion import standardise

NAMES = [f"i{at}" for at in range(9)]
USERS = ["u0", "u1", "u2", "v"]
TRAIN = [("u0", "i0"), ("u0", "i3"), ("u0", "i5"), ("u0", "i0"), ("u1", "i2"), ("u1", "i4"), ("u2", "i8")]
VALIDATION = [("u0", "i4"), ("v", "i1")]
SPLIT = make_split(TRAIN)
# Rows of a later table come later in time, too.
LATER = make_split([*TRAIN, *VALIDATION])
KNOWN_LATER = replace(SPLIT, validation=LATER.train[len(TRAIN) :])


def catalogue(seed: int = 0) -> ItemFeatures:
    """Text for all but i8, pictures for all but i2 and i6; i6 and i7 are cold."""
    items = make_items(" ".join(NAMES))
    rng = np.random.default_rng(seed)
    has = {name: np.array([False, False] + [True] * 9) for name in ("text", "image")}
    has["text"][10] = has["image"][4] = has["image"][8] = False
    dense = {"text": rng.normal(1, 2, (11, 5)), "image": rng.normal(-3, 1, (11, 4))}
    trained = np.array([False, False, True, True, True, True, True, True, False, False, True])
    genres = np.array(
        [[0, 0], [0, 0], [2, 3], [2, 2], [3, 0], [4, 0], [0, 0], [1, 0], [2, 4], [3, 0], [4, 2]]
    )
    return replace(
        items,
        dense={
            name: np.where(has[name][:, None], each, 0).astype(np.float32) for name, each in dense.items()
        },
        present=has,
        categories={"genre": genres},
        category_ids={"genre": IdMap(["x", "y", "z"])},
        trained=trained,
    )


ITEMS_ = catalogue()


def slow_scores(user: str, modality: str, settings: ContentSettings) -> Floats:
    """Cosine with the mean of the unit vectors of the history, one item after the other."""
    items = ITEMS_
    vectors, has = items.dense[modality].astype(float), items.present[modality]
    if settings.standardised:
        basis = np.array([v for v, h, t in zip(vectors, has, items.trained, strict=True) if h and t])
        vectors = (vectors - basis.mean(0)) / basis.std(0)
    history = [items.item_ids.get(item) for name, item in [*TRAIN, *VALIDATION] if name == user]
    history = [at for at in history if has[at]]
    if settings.last is not None:
        history = history[-settings.last :]
    score_N = np.full(items.size, -np.inf)
    if not history:
        return score_N
    mean = sum(vectors[at] / np.linalg.norm(vectors[at]) for at in history) / len(history)
    for at in range(items.size):
        if has[at]:
            score_N[at] = mean @ vectors[at] / np.linalg.norm(vectors[at])
    return score_N


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("settings", content_settings((30, 10, 3)))
def test_it_equals_a_slow_loop(modality: str, settings: ContentSettings) -> None:
    model = ContentNeighbors(KNOWN_LATER, ITEMS_, modality, seen=None, settings=settings)
    expected = np.stack([slow_scores(user, modality, settings) for user in USERS])
    assert model.score(USERS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("last", [1, 2])
def test_the_newest_events_that_have_the_modality_count(last: int) -> None:
    settings = ContentSettings(standardised=False, last=last)
    model = ContentNeighbors(KNOWN_LATER, ITEMS_, "text", seen=None, settings=settings)
    expected = np.stack([slow_scores(user, "text", settings) for user in USERS])
    assert model.score(USERS) == pytest.approx(expected, abs=1e-5)
    assert np.isneginf(expected[2]).all(), "u2 has only what has no text"


def test_new_items_are_recommended_and_those_without_the_modality_are_not() -> None:
    found = names_of(ContentNeighbors(SPLIT, ITEMS_, "image", seen=None), ITEMS_, "u0", 9)
    assert set(found) == set(NAMES) - {"i2", "i6"}
    assert "i7" in found


@pytest.mark.parametrize("by_rarity", [False, True])
def test_categories_are_products_of_their_values(by_rarity: bool) -> None:
    model = ContentNeighbors(
        SPLIT, ITEMS_, CATEGORIES, seen=None, settings=ContentSettings(standardised=by_rarity, last=1)
    )
    # Of the 7 items with training events x (2) is on 3, y (3) on 2, z (4) on 2.
    weight = np.log(8 / (np.array([3, 2, 2]) + 1)) if by_rarity else np.ones(3)
    vectors = (
        np.array(
            [
                [1, 1, 0],
                [1, 0, 0],
                [0, 1, 0],
                [0, 0, 1],
                [0, 0, 0],
                [0, 0, 0],
                [1, 0, 1],
                [0, 1, 0],
                [1, 0, 1],
            ]
        )
        * weight
    )
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    expected = unit @ unit[8]  # u2's only item
    expected[4] = expected[5] = -np.inf  # no value, and one that training never saw
    assert model.score(["u2"])[0, 2:] == pytest.approx(expected, abs=1e-6)


def test_what_the_items_have() -> None:
    assert modalities_of(ITEMS_) == ["text", "image", CATEGORIES]
    assert modalities_of(make_items("a b")) == []


def test_candidates_share_their_vectors_and_are_those_that_are_made_alone() -> None:
    for settings, model in content_candidates(
        SPLIT, ITEMS_, "text", content_settings((30, 10, 3)), seen=None
    ):
        alone = ContentNeighbors(SPLIT, ITEMS_, "text", seen=None, settings=settings)
        assert model.settings == settings
        assert (model.score(USERS) == alone.score(USERS)).all()


class TestFusion:
    WEIGHTS: ClassVar[dict[str, float]] = {"content (text)": 1.0, "content (picture)": 0.5}

    def make(self) -> tuple[Fusion, list[ContentNeighbors]]:
        parts = [ContentNeighbors(SPLIT, ITEMS_, name, seen=None) for name in ("text", "image", CATEGORIES)]
        known = KnownEvents.of(KNOWN_LATER, ITEMS_, seen=None)
        fusion = Fusion(parts, FusionSettings(weights=self.WEIGHTS), known=known).with_known_events(known)
        return fusion, [part.with_known_events(known) for part in parts]

    def test_it_equals_a_slow_loop(self) -> None:
        fusion, parts = self.make()
        found = fusion.score(USERS)
        for row, user in enumerate(USERS):
            expected = np.full(ITEMS_.size, -np.inf)
            for part, weight in zip(parts, (1.0, 0.5), strict=False):
                score_N = part.score([user])[0]
                finite = [value for value in score_N.tolist() if np.isfinite(value)]
                for at, value in enumerate(score_N.tolist()):
                    if np.isfinite(value):
                        before = expected[at] if np.isfinite(expected[at]) else 0.0
                        expected[at] = before + weight * (value - np.mean(finite)) / np.std(finite)
            assert found[row] == pytest.approx(expected, abs=1e-4)

    def test_equal_scores_and_none_at_all_divide_by_nothing(self) -> None:
        flat = standardise(np.array([[1, 1, 1], [-np.inf, -np.inf, -np.inf]], np.float32))
        assert flat.tolist() == [[0, 0, 0], [-np.inf, -np.inf, -np.inf]]
