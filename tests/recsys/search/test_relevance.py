"""Relevance by hand: best features over the legs, neutral values, monotone, averaged over clauses."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.search import (
    Calibration,
    ClauseScores,
    LegScores,
    QueryScores,
    SearchSettings,
    features,
    relevance,
)

KINDS = {"title": "text", "text": "text", "image": "image"}


def clause(coverage, *, weight=1.0, kind="text", words=None, **legs):
    found = {
        name: LegScores(score_K=np.array(score, np.float32), has_K=np.array(has), space=space)
        for name, (score, has, space) in legs.items()
    }
    covered = None if coverage is None else np.array(coverage, np.float32)
    least = None if words is None else np.array(words, np.float32)
    return ClauseScores(kind=kind, weight=weight, legs=found, coverage_K=covered, words_K=least)


ASKED = clause(
    [1.0, 0.0],
    title=([0.2, 0.0], [True, False], "own"),
    text=([0.6, 0.0], [True, False], "own"),
    image=([0.1, 0.3], [True, True], "shared"),
)


def test_the_best_of_the_legs():
    found = features(ASKED, KINDS)
    np.testing.assert_allclose(found["own:text"], [0.6, np.nan], atol=1e-6)
    np.testing.assert_allclose(found["shared"], [0.1, 0.3], atol=1e-6)
    np.testing.assert_allclose(found["coverage"], [1.0, 0.0])


def of(*clauses, by_word=None, of_long=None, **calibrations):
    scores = QueryScores(items=np.array([2, 3]), clauses=clauses)
    settings = SearchSettings(calibration=calibrations, word_calibration=by_word, long_calibration=of_long)
    return relevance(scores, settings, KINDS)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_a_missing_feature_has_its_neutral_value():
    calibration = Calibration(
        intercept=-1.0, weights={"own:text": 2.0, "own:audio": 3.0}, missing={"own:text": 0.4}
    )
    np.testing.assert_allclose(of(ASKED, text=calibration), [sigmoid(0.2), sigmoid(-0.2)], atol=1e-6)


def test_without_a_calibration_everything_is_relevant():
    np.testing.assert_array_equal(of(ASKED), [1.0, 1.0])


def test_clauses_are_averaged_and_negative_ones_left_out():
    calibration = Calibration(intercept=0.0, weights={"coverage": 1.0})
    first, second = clause([1.0, 0.0], weight=3.0), clause([0.0, 1.0], weight=1.0)
    against = clause([1.0, 1.0], weight=-5.0)
    expected = [sigmoid(0.75), sigmoid(0.25)]
    np.testing.assert_allclose(of(first, second, against, text=calibration), expected, atol=1e-6)


def test_a_long_text_has_a_calibration_of_its_own():
    whole, of_long = (Calibration(intercept=0.0, weights={"coverage": weight}) for weight in (1.0, 8.0))
    expected = {8: [sigmoid(0.5), sigmoid(0)], 9: [sigmoid(4), sigmoid(0)]}
    for num, value in expected.items():
        text = replace(clause([0.5, 0.0]), num_words=num)
        np.testing.assert_allclose(of(text, text=whole, of_long=of_long), value, atol=1e-6)
        np.testing.assert_allclose(of(text, text=whole), expected[8], atol=1e-6)
    video = replace(clause([0.5, 0.0], kind="video"), num_words=9)
    np.testing.assert_allclose(of(video, video=whole, of_long=of_long), expected[8], atol=1e-6)


def test_a_short_text_is_judged_by_its_least_word_and_an_item_without_words_as_a_whole():
    whole = Calibration(intercept=0.0, weights={"coverage": 1.0})
    by_word = Calibration(intercept=-1.0, weights={"words": 4.0})
    judged = [sigmoid(4 * 0.5 - 1), sigmoid(0.25)]
    for kind in ("text", "audio"):
        short = clause([1.0, 0.25], words=[0.5, np.nan], kind=kind)
        np.testing.assert_allclose(of(short, by_word=by_word, **{kind: whole}), judged, atol=1e-6)
    short = clause([1.0, 0.25], words=[0.5, np.nan])
    np.testing.assert_allclose(of(short, by_word=by_word), [judged[0], sigmoid(-1)], atol=1e-6)
    np.testing.assert_allclose(of(short, text=whole), [sigmoid(1), sigmoid(0.25)], atol=1e-6)
    both = [sigmoid(1), sigmoid(0.25)]
    np.testing.assert_allclose(of(short, short, by_word=by_word, text=whole), both, atol=1e-6)
    long, video = clause([1.0, 0.25]), clause([1.0, 0.25], words=[0.5, 0.5], kind="video")
    np.testing.assert_allclose(of(long, by_word=by_word, text=whole), [sigmoid(1), sigmoid(0.25)], atol=1e-6)
    np.testing.assert_allclose(
        of(video, by_word=by_word, video=whole), [sigmoid(1), sigmoid(0.25)], atol=1e-6
    )


def test_relevance_never_falls_where_a_feature_rises():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Calibration(intercept=0.0, weights={"coverage": -1.0})
