"""Dense legs: cosines in both spaces, missing vectors, items as queries, heads with masks and an index."""

import numpy as np
import pytest
from search_parts import IMAGE_ANGLES, NUM_ITEMS, TITLE_ANGLES, TurnHeads, at, leg, picture, text

from recsys.arrays import unit
from recsys.errors import DataError, RequestError
from recsys.retrieval import ExactIndex
from recsys.search import DenseLeg, EncodedClause, LegQuery, build_leg
from recsys.search.legs import ChangedRows, ExtendedLeg, leg_queries
from recsys.search.legs import dense as module

HEADS = TurnHeads()
TITLE, IMAGE = leg("title", "text", TITLE_ANGLES, HEADS), leg("image", "image", IMAGE_ANGLES, HEADS)


def own(angle):
    return LegQuery(space="own", vector_D=at(angle))


def test_scores_are_cosines_and_0_without_a_vector():
    expected = [0, 0, 1, np.cos(np.pi / 6), 0.5, 0, 0]
    np.testing.assert_allclose(TITLE.scores(own(0.0)), expected, atol=1e-3)  # vectors are float16
    np.testing.assert_allclose(TITLE.scores(own(0.0), np.array([4, 2])), [0.5, 1.0], atol=1e-3)


def random_leg(num_items=500, dim=16, seed=0, **changes):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(num_items, dim)).astype(np.float32))
    present = rng.random(num_items) < 0.7
    present[:2] = False
    return build_leg("title", "text", vectors * rng.uniform(0.5, 2, (num_items, 1)), present), rng


def test_blocks_equal_one_product(monkeypatch):
    dense, rng = random_leg()
    asked = LegQuery(space="own", vector_D=unit(rng.normal(size=16).astype(np.float32)))
    expected = dense.vectors.astype(np.float64) @ asked.vector_D
    np.testing.assert_allclose(dense.scores(asked), expected, atol=2e-6)
    monkeypatch.setattr(module, "MAX_FLOAT32_BYTES", 0)
    monkeypatch.setattr(module, "BLOCK_ITEMS", 7)
    again = DenseLeg(name="title", kind="text", vectors=dense.vectors, present=dense.present)
    np.testing.assert_allclose(again.scores(asked), expected, atol=2e-6)
    assert not again._floats


def quantile(ordered, share):
    place = share * (len(ordered) - 1)
    low = int(place)
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


def test_the_background_is_that_of_low_scores(monkeypatch):
    dense, rng = random_leg()
    asked = LegQuery(space="own", vector_D=unit(rng.normal(size=16).astype(np.float32)))
    scores = np.sort(dense.vectors[dense.present].astype(np.float64) @ asked.vector_D)
    tenth, center, half = (quantile(scores, share) for share in (0.1, 0.3, 0.5))
    found = dense.background(asked)
    assert found.center == pytest.approx(center, abs=1e-6)
    above = np.mean([max(each - center, 0) ** 2 for each in scores])
    assert found.excess == pytest.approx(above, abs=1e-6)
    assert found.deviation == pytest.approx((half - tenth) / 1.2815516, abs=1e-6)
    monkeypatch.setattr(module, "BACKGROUND_ITEMS", 40)
    samples = [random_leg()[0] for _ in range(2)]
    assert all(each._samples["own"].shape == (40, 16) for each in samples)
    first, again = (each.background(asked) for each in samples)
    assert first == again != found
    assert first.center == pytest.approx(found.center, abs=0.1)


def test_the_background_of_equal_scores():
    # Eight items of ten have the cosine 0: their deviation is a fourth of that of all, which is 0.4.
    angles = np.where(np.arange(12) < 4, 0.0, np.pi / 2)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    equal = build_leg("title", "text", vectors, np.arange(12) >= 2)
    found = equal.background(own(0.0))
    assert found.center == pytest.approx(0.0, abs=1e-6)
    assert found.deviation == pytest.approx(0.1, abs=1e-6)


def test_a_leg_without_vectors_has_no_background():
    empty = build_leg("title", "text", np.zeros((4, 2), np.float32), np.zeros(4, np.bool_))
    assert empty.background(own(0.0)).deviation == 0.0


def test_the_head_has_the_nearest_allowed_items_and_those_of_the_sum():
    dense, rng = random_leg()
    asked = [
        (w, LegQuery(space="own", vector_D=unit(rng.normal(size=16).astype(np.float32)))) for w in (1.0, 3.0)
    ]
    allowed = rng.random(500) < 0.5
    scores = [dense.vectors.astype(np.float64) @ each.vector_D for _, each in asked]
    scores.append(scores[0] + 3 * scores[1])
    may = np.flatnonzero(allowed & dense.present)
    expected = {int(i) for score in scores for i in may[np.argsort(-score[may])[:9]]}
    assert set(dense.head(asked, 9, allowed).tolist()) == expected
    assert len(dense.head(asked, 9, np.zeros(500, np.bool_))) == 0


def test_an_index_gives_the_same_head():
    dense, rng = random_leg()
    index = ExactIndex.build(dense.vectors.astype(np.float32))
    indexed = DenseLeg(name="title", kind="text", vectors=dense.vectors, present=dense.present, index=index)
    asked = [(1.0, LegQuery(space="own", vector_D=unit(rng.normal(size=16).astype(np.float32))))]
    allowed = rng.random(500) < 0.5
    np.testing.assert_array_equal(indexed.head(asked, 20, allowed), dense.head(asked, 20, allowed))


def test_equal_vectors_have_equal_scores():
    vectors = np.tile(np.random.default_rng(1).normal(size=(1, 33)).astype(np.float32), (101, 1))
    dense = build_leg("text", "text", vectors, np.arange(101) >= 2)
    scores = dense.scores(LegQuery(space="own", vector_D=unit(vectors[50] + 0.1)))
    assert len(np.unique(scores[2:])) == 1
    asked = [(1.0, LegQuery(space="own", vector_D=unit(vectors[3])))]
    np.testing.assert_array_equal(dense.head(asked, 5), [2, 3, 4, 5, 6])


def test_a_clause_asks_its_own_space_before_the_shared_one():
    asked = leg_queries(text("red", 30.0), (TITLE, IMAGE), HEADS)
    assert (asked["title"].space, asked["image"].space) == ("own", "shared")
    np.testing.assert_allclose(asked["image"].vector_D, at(120.0), atol=1e-6)  # the head turns by 90 degrees
    asked = leg_queries(picture(30.0), (TITLE, IMAGE), HEADS)
    assert (asked["title"].space, asked["image"].space) == ("shared", "own")
    # A text of 30 degrees is 120 in the shared space, and a picture of 90 is 30 from it.
    shared = leg_queries(text("red", 30.0), (TITLE, IMAGE), HEADS)["image"]
    np.testing.assert_allclose(IMAGE.scores(shared, np.array([2])), [np.cos(np.pi / 6)], atol=1e-3)


def test_without_heads_only_the_own_space_answers():
    assert set(leg_queries(text("red", 30.0), (TITLE, IMAGE), None)) == {"title"}
    assert leg_queries(text("red"), (TITLE, IMAGE), HEADS) == {}


def test_the_transcript_comes_before_the_sound_in_the_shared_space():
    class All(TurnHeads):
        kinds = ("text", "image", "audio")

    spoken = EncodedClause(kind="audio", vectors={"audio": at(10.0), "text": at(30.0)})
    asked = leg_queries(spoken, (IMAGE,), All())
    np.testing.assert_allclose(asked["image"].vector_D, at(120.0), atol=1e-6)


def test_an_item_asks_by_its_own_modality_then_its_encoder_then_the_shared_space():
    review = leg("review_text", "text", {5: 45.0}, HEADS)
    legs = (TITLE, review, IMAGE)
    asked = leg_queries(EncodedClause(kind="item", item=5), legs, HEADS)
    np.testing.assert_allclose(asked["title"].vector_D, at(90.0), atol=1e-3)
    np.testing.assert_allclose(asked["review_text"].vector_D, at(45.0), atol=1e-3)
    assert asked["image"].space == "shared"  # it has no picture: its title, turned by the head
    np.testing.assert_allclose(asked["image"].vector_D, at(180.0), atol=1e-3)
    asked = leg_queries(EncodedClause(kind="item", item=2), legs, HEADS)
    np.testing.assert_allclose(asked["review_text"].vector_D, at(0.0), atol=1e-3)  # its title
    assert leg_queries(EncodedClause(kind="item", item=6), (TITLE,), HEADS) == {}


def test_a_query_of_another_width_is_refused():
    wide = EncodedClause(kind="text", vectors={"text": np.ones(3, np.float32)})
    with pytest.raises(RequestError, match="3 numbers, not 2"):
        leg_queries(wide, (TITLE,), None)


def test_a_vector_of_zeros_is_absent():
    vectors = np.zeros((NUM_ITEMS, 2), np.float32)
    vectors[2] = [1, 0]
    dense = build_leg("title", "text", vectors, np.arange(NUM_ITEMS) >= 2)
    assert np.flatnonzero(dense.present).tolist() == [2]


def test_arrays_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="do not fit"):
        DenseLeg(name="x", kind="text", vectors=np.zeros((3, 2), np.float16), present=np.ones(4, np.bool_))


@pytest.mark.parametrize("with_index", [False, True])
def test_an_extended_leg_equals_one_of_all_present_vectors(with_index):
    former, rng = random_leg(num_items=60)
    now, _ = random_leg(num_items=70, seed=1)
    changed = np.array([5, 17, *range(60, 70)])
    kept = np.setdiff1d(np.arange(60), changed)
    now.vectors[kept], now.present[kept] = former.vectors[kept], former.present[kept]
    index = ExactIndex.build(former.vectors.astype(np.float32)) if with_index else None
    names = {"name": "title", "kind": "text"}
    main = DenseLeg(**names, vectors=former.vectors, present=former.present, index=index)
    rows = DenseLeg(**names, vectors=now.vectors[changed], present=now.present[changed])
    extended = ExtendedLeg(main, ChangedRows(rows=changed, leg=rows), 70)
    asked = LegQuery(space="own", vector_D=unit(rng.normal(size=16).astype(np.float32)))
    np.testing.assert_array_equal(extended.present, now.present)
    np.testing.assert_allclose(extended.scores(asked), now.scores(asked), atol=1e-6)
    some = np.array([3, 17, 69, 60, 4])
    np.testing.assert_allclose(extended.scores(asked, some), now.scores(asked, some), atol=1e-6)
    for allowed in (None, rng.random(70) < 0.4):
        np.testing.assert_array_equal(
            extended.head([(1.0, asked)], 9, allowed), now.head([(1.0, asked)], 9, allowed)
        )
    assert extended.background(asked) == now.background(asked)
    for item in (5, 6, 65):
        mine, its = extended.query_of(item, "own"), now.query_of(item, "own")
        assert (mine is None) == (its is None)
        if mine is not None:
            np.testing.assert_array_equal(mine.vector_D, its.vector_D)
