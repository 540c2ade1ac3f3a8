"""The searcher on a catalogue made by hand: order, filters, exclusions, prefixes, personal order, the end."""

from dataclasses import replace

import numpy as np
import pytest
from search_parts import IMAGE_ANGLES, NUM_ITEMS, leg, picture, query, scorer, text

from recsys.arrays import unit
from recsys.errors import RequestError
from recsys.history import History
from recsys.search import (
    Calibration,
    DenseLeg,
    EncodedClause,
    EvidenceSettings,
    FusionWeights,
    PersonalScores,
    Scorer,
    Searcher,
    SearchSettings,
    build_leg,
    standardized,
)

SETTINGS = SearchSettings()
# Four items are no background, so that chance differences in the shared space would be outliers.
NEAR_OWN_SPACE = SearchSettings(evidence=EvidenceSettings(shared=0.01))
SOMEONE = History.empty()


def search(asked, k=10, *, settings=SETTINGS, personalizer=None, parts=None, **options):
    return Searcher(parts or scorer(), settings, personalizer).search(asked, k, **options)


def only(*items):
    return np.isin(np.arange(NUM_ITEMS), items)


def test_words_and_meaning_together():
    # Title 0 degrees is item 2, which has both words; a text of 0 degrees is a picture of 90: item 2.
    found = search(query(text("red shoe", 0.0)))
    assert found.items[0] == 2
    assert set(found.items.tolist()) == {2, 3, 4, 5, 6}  # item 6 by its picture alone
    assert (np.diff(found.scores) <= 0).all()


def test_words_alone_find_only_items_with_a_word():
    found = search(query(text("red")))
    assert found.items.tolist() == [2, 4]  # equal scores: the lowest id first


def test_a_picture_finds_pictures_and_by_the_heads_titles():
    found = search(query(picture(0.0)), settings=NEAR_OWN_SPACE)
    assert found.items[0] == 6
    assert 5 in found.items  # no picture; its title is compared in the shared space
    assert 5 not in search(query(picture(0.0)), parts=scorer(heads=None)).items


def test_an_item_without_words_is_not_ranked_below_one_with_other_words():
    # The picture alone says 6; the words of the others are all wrong.
    found = search(query(text("violin"), picture(0.0)), settings=NEAR_OWN_SPACE)
    assert found.items[0] == 6


def test_excluded_words_exclude_in_every_leg():
    found = search(query(text("red shoe -blue", 30.0)))
    assert 3 not in found.items
    assert 2 in found.items
    assert 3 in search(query(text("red shoe", 30.0))).items


def test_only_allowed_items_and_as_many_as_there_are():
    asked = query(text("red shoe", 0.0))
    assert search(asked, allowed=only(4, 5)).items.tolist() == [4, 5]
    assert len(search(asked, allowed=only())) == 0
    small = SearchSettings(num_candidates=2, max_list_length=2)
    for k in (1, 2):  # each leg proposes two of the allowed items, however far down they are
        assert len(search(asked, k, settings=small, allowed=only(4, 5))) == k


def test_a_negative_clause_moves_down_and_brings_nothing_in():
    parts = scorer(heads=None)
    plain = search(query(text("red")), parts=parts).items.tolist()
    assert plain == [2, 4]
    against = search(query(text("red"), text("shoe", weight=-0.5)), parts=parts).items.tolist()
    assert against == [4, 2]  # item 3, a blue shoe, is no candidate


def test_an_item_as_a_query_is_not_in_its_own_list():
    found = search(query(EncodedClause(kind="item", item=2)))
    assert found.items[0] == 3  # the nearest title and the nearest picture
    assert 2 not in found.items


def test_weights_of_clauses_and_of_legs():
    title, photo = text("nothing", 90.0), picture(90.0)  # title 90 is item 5, picture 90 item 2
    parts = scorer(heads=None, words=None)
    assert search(query(title, photo, title=1.0), parts=parts).items[0] in (2, 5)
    by_title = query(text("x", 90.0, weight=5.0), photo)
    assert search(by_title, parts=parts).items[0] == 5
    assert search(query(title, picture(90.0, weight=5.0)), parts=parts).items[0] == 2
    assert search(query(text("red", 90.0), lexical=0.0, image=0.0)).items[0] == 5
    assert search(query(text("red", 90.0), title=0.0, image=0.0)).items.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (query(text("red", 0.0), smell=1.0), "no such leg"),
        (query(text("red"), lexical=0.0), "all are 0 of lexical"),
        (query(text("-red")), "without any word"),
        (
            query(EncodedClause(kind="audio", vectors={"audio": np.ones(2, np.float32)})),
            "a sound clause finds nothing here",
        ),
    ],
)
def test_a_query_that_cannot_be_answered(asked, message):
    with pytest.raises(RequestError, match=message):
        search(asked)


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"k": 501}, {"min_relevance": 1.5}, {"personal": -0.1}, {"personal": float("nan")}]
)
def test_values_out_of_range(options):
    with pytest.raises(RequestError):
        search(query(text("red")), options.pop("k", 5), **options)


def test_an_item_without_anything_to_compare():
    with pytest.raises(RequestError, match="nothing that others"):
        search(query(EncodedClause(kind="item", item=6)), parts=scorer(heads=None, legs=[TITLES]))


TITLES = leg("title", "text", {2: 0.0})


def large(num_items=400, seed=0):
    rng = np.random.default_rng(seed)
    legs = []
    for name, kind in (("title", "text"), ("text", "text"), ("image", "image")):
        present = rng.random(num_items) < 0.8
        present[:2] = False
        legs.append(build_leg(name, kind, rng.normal(size=(num_items, 8)).astype(np.float32), present))
    popularity = np.maximum(rng.poisson(2, num_items), 0).astype(np.float32)
    return Scorer(legs, num_items=num_items, popularity=popularity), rng


def random_query(rng):
    kinds, weights = ("text", "image", "text"), (1.0, 0.7, -0.3)
    vectors = unit(rng.normal(size=(3, 8)).astype(np.float32))
    parts = zip(kinds, weights, vectors, strict=True)
    return query(*(EncodedClause(kind=kind, weight=w, vectors={kind: v}) for kind, w, v in parts))


def by_popularity(history, items):
    return PersonalScores(scores=(items * 7 % 13).astype(np.float32), past_items=items // 2)


@pytest.mark.parametrize("personal", [0.0, 0.5])
@pytest.mark.parametrize("is_filtered", [False, True])
def test_a_shorter_list_is_a_prefix_of_a_longer_one(personal, is_filtered):
    parts, rng = large()
    settings = SearchSettings(num_candidates=60, max_list_length=60, personal_head=7)
    allowed = rng.random(400) < 0.5 if is_filtered else None
    asked = random_query(rng)

    def found(k):
        return search(
            asked, k, settings=settings, parts=parts, allowed=allowed,
            personalizer=by_popularity, history=SOMEONE, personal=personal,
        )  # fmt: skip

    longest = found(60)
    assert len(longest) == 60
    assert (np.diff(longest.scores) <= 0).all()
    for k in (1, 5, 7, 8, 30):
        shorter = found(k)
        np.testing.assert_array_equal(shorter.items, longest.items[:k])
        np.testing.assert_array_equal(shorter.scores, longest.scores[:k])
        assert shorter.explanations == longest.explanations[:k]
        np.testing.assert_array_equal(longest.first(k).items, shorter.items)


def test_the_list_equals_a_slow_reference():
    parts, rng = large()
    asked = random_query(rng)
    weights = {"title": 1.0, "text": 0.5, "image": 0.8}
    settings = SearchSettings(
        num_candidates=500,
        fusion={kind: FusionWeights(standardized=weights) for kind in ("text", "image")},
    )
    found = search(asked, 100, settings=settings, parts=parts)
    total = np.zeros(400)  # every item with a vector is a candidate
    candidates = np.flatnonzero(np.any([each.present for each in parts.legs], axis=0))
    for clause in asked.clauses:
        sums = np.zeros(len(candidates))
        for each in parts.legs:
            if each.kind in clause.vectors:
                cosines = each.vectors.astype(np.float64) @ clause.vectors[each.kind]
                sums += weights[each.name] * standardized(cosines[candidates], each.present[candidates])
        total[candidates] += clause.weight * (sums - sums.mean()) / sums.std()
    expected = candidates[np.argsort(-total[candidates])][:100]
    np.testing.assert_array_equal(found.items, expected)
    np.testing.assert_allclose(found.scores, total[expected], atol=1e-4)


def test_the_same_query_has_the_same_list():
    parts, rng = large()
    asked = random_query(rng)
    first, second = (search(asked, 50, parts=parts) for _ in range(2))
    np.testing.assert_array_equal(first.items, second.items)
    np.testing.assert_array_equal(first.scores, second.scores)


def personal_list(personal, history=SOMEONE, head=50, default=0.0):
    def rank(history, items):
        # It likes items by their id, and moved each because of item 9.
        return PersonalScores(scores=items.astype(np.float32), past_items=np.full(len(items), 9))

    settings = SearchSettings(personal_head=head, personal=default)
    asked = query(text("red shoe", 0.0))
    return search(asked, settings=settings, personalizer=rank, history=history, personal=personal)


def test_personal_0_is_the_impersonal_list_and_1_the_recommenders():
    plain = search(query(text("red shoe", 0.0)))
    for same in (personal_list(0.0), personal_list(None), personal_list(1.0, history=None)):
        np.testing.assert_array_equal(same.items, plain.items)
        np.testing.assert_array_equal(same.scores, plain.scores)
        assert not same.is_personal
        assert same.explanations == plain.explanations
    entire = personal_list(1.0)
    assert entire.items.tolist() == [6, 5, 4, 3, 2]
    assert entire.is_personal
    assert {each.past_item for each in entire.explanations} == {9}
    np.testing.assert_array_equal(personal_list(None, default=1.0).items, entire.items)


def test_personal_between_is_the_weighted_sum_of_deviations():
    plain = search(query(text("red shoe", 0.0)))
    # All candidates are in the list, so that these are the deviations over all of them.
    final = 0.7 * plain.scores / plain.scores.std() + 0.3 * plain.items
    found = personal_list(0.3)
    np.testing.assert_array_equal(found.items, plain.items[np.argsort(-final)])
    np.testing.assert_allclose(found.scores, np.sort(final)[::-1], atol=1e-5)


def test_the_share_of_taste_does_not_depend_on_the_weight_of_the_only_clause():
    def heavy(weight):
        one = query(replace(text("red shoe", 0.0), weight=weight))
        return search(one, personalizer=likes_six, history=SOMEONE, personal=0.3).items.tolist()

    def likes_six(history, items):
        return PersonalScores(scores=(items == 6) * np.float32(4), past_items=np.zeros(len(items), np.int64))

    assert heavy(1.0) == heavy(5.0)
    assert heavy(1.0) != search(query(text("red shoe", 0.0))).items.tolist()


def test_taste_lifts_nothing_above_hits_that_fit_far_better():
    """The user likes item 6 by two deviations more than item 2, whose fused score is higher by more."""
    plain = search(query(text("red shoe", 0.0)))
    gap = (plain.scores[0] - plain.scores[plain.items.tolist().index(6)]) / plain.scores.std()

    def likes_six(deviations):
        def rank(history, items):
            scores = np.where(items == 6, np.float32(deviations), np.float32(0))
            return PersonalScores(scores=scores, past_items=np.zeros(len(items), np.int64))

        found = search(query(text("red shoe", 0.0)), personalizer=rank, history=SOMEONE, personal=0.5)
        return found.items[0]

    assert likes_six(gap - 0.1) == plain.items[0]
    assert likes_six(gap + 0.1) == 6


def test_the_recommender_orders_the_head_alone():
    plain = search(query(text("red shoe", 0.0))).items.tolist()
    found = personal_list(1.0, head=2)
    assert found.items.tolist() == [*sorted(plain[:2], reverse=True), *plain[2:]]
    assert (np.diff(found.scores) <= 0).all()


def test_an_unknown_user_gets_the_impersonal_list():
    plain = search(query(text("red shoe", 0.0)))
    found = search(query(text("red shoe", 0.0)), personalizer=lambda *_: None, history=SOMEONE, personal=1.0)
    np.testing.assert_array_equal(found.items, plain.items)
    assert not found.is_personal


CALIBRATED = SearchSettings(
    calibration={"text": Calibration(intercept=-2.0, weights={"coverage": 4.0, "own:text": 1.0})},
    min_relevance=0.4,
)


def test_the_list_ends_where_relevance_falls_below_the_threshold():
    asked = query(text("red shoe", 0.0))
    found = search(asked, settings=CALIBRATED)
    # coverage 1 and .5 of .5: items 2, 3, 4; sigmoid(-2 + 2 + .5) of item 4.
    assert set(found.items.tolist()) == {2, 3, 4}
    assert (found.relevance >= 0.4).all()
    by_item = dict(zip(found.items.tolist(), found.relevance.tolist(), strict=True))
    assert by_item[4] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-3)
    assert found.explanations[0].relevance == pytest.approx(found.relevance[0])
    assert len(search(asked, settings=CALIBRATED, min_relevance=0.0)) == 5
    assert search(asked, settings=CALIBRATED, min_relevance=0.9).items.tolist() == [2]


def test_words_that_no_item_has_are_neutral_for_relevance():
    """As in a query in another language, which is answered by its vector."""
    calibration = Calibration(
        intercept=-2.0, weights={"coverage": 4.0, "own:text": 1.0}, missing={"coverage": 0.25}
    )
    settings = SearchSettings(calibration={"text": calibration})
    expected = 1 / (1 + np.exp(2 - 4 * 0.25 - 1))
    assert search(query(text("violin", 0.0)), settings=settings).relevance[0] == pytest.approx(expected)
    one_known = search(query(text("violin blue", 0.0)), settings=settings, min_relevance=0.0)
    by_item = dict(zip(one_known.items.tolist(), one_known.relevance.tolist(), strict=True))
    assert by_item[2] == pytest.approx(1 / (1 + np.exp(2 - 1)), abs=1e-3)  # it has neither word


def test_the_recommender_orders_what_is_relevant():
    def likes_the_last(history, items):
        assert set(items.tolist()) == {2, 3, 4}
        return PersonalScores(scores=items.astype(np.float32), past_items=np.zeros(len(items), np.int64))

    found = search(
        query(text("red shoe", 0.0)), settings=CALIBRATED, personalizer=likes_the_last,
        history=SOMEONE, personal=1.0,
    )  # fmt: skip
    assert found.items.tolist() == [4, 3, 2]
    assert {each.past_item for each in found.explanations} == {None}


def test_a_hit_is_explained():
    found = search(query(text("red shoe", 0.0)))
    first = found.explanations[0]
    assert first.words == ("red", "shoe")
    by_item = dict(zip(found.items.tolist(), found.explanations, strict=True))
    assert by_item[6].words == ()
    assert by_item[3].words == ("shoe",)
    pictured = search(query(picture(0.0)), settings=NEAR_OWN_SPACE).explanations[0]
    assert pictured.leg == "image"
    assert pictured.text(str) == "nearest: its picture"
    named = personal_list(1.0).explanations[-1]
    assert named.text(lambda item: f"item {item}").startswith('has "red", "shoe"')
    assert named.text(lambda item: f"item {item}").endswith('because you chose "item 9"')


def test_an_imputed_vector_finds_and_explains_nothing():
    picture_leg = leg("image", "image", IMAGE_ANGLES)
    imputed = np.arange(NUM_ITEMS) == 6
    marked = DenseLeg(
        name="image",
        kind="image",
        vectors=picture_leg.vectors,
        present=picture_leg.present,
        imputed=imputed,
    )
    found = search(query(picture(0.0)), parts=scorer(legs=[marked], heads=None))
    by_item = dict(zip(found.items.tolist(), found.explanations, strict=True))
    assert found.items[0] == 6
    assert by_item[6].leg is None
    assert by_item[6].text(str) == ""
    assert by_item[4].leg == "image"


def test_milliseconds_by_stage():
    found = search(query(text("red", 0.0)))
    assert set(found.milliseconds) == {"lexical", "dense", "fusion", "personal"}
