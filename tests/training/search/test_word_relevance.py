"""The threshold of short texts, from words that a small catalogue does not have."""

import hashlib

import numpy as np

from recsys.arrays import unit
from recsys.search import (
    ClauseScores,
    Document,
    EncodedClause,
    EncodedQuery,
    ItemWords,
    LexicalIndex,
    LexicalSettings,
    QueryScores,
    Scorer,
    Searcher,
    SearchSettings,
    build_leg,
    parse_words,
)
from training.search import FOREIGN, RankedQuery, fit_search, typed_queries, word_relevance
from training.search.word_relevance import _least, unanswered_texts

DIM = 32
KINDS, COLORS = ("mug", "bowl", "lamp", "clock"), ("red", "green", "blue", "white", "black")
PAIRS = [(kind, color) for kind in KINDS for color in COLORS if (kind, color) != ("mug", "blue")]
OF_ALL = ("painted", "calibration")
DOCUMENTS = [
    Document(item=2 + at, title=kind, text=f"painted {color}, calibration")
    for at, (kind, color) in enumerate(PAIRS)
]


def vector(word):
    """A direction drawn for the word."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return unit(np.random.default_rng(seed).normal(size=DIM).astype(np.float32))


def encode(text):
    words = parse_words(text)
    vectors = {word.casefold(): vector(word.casefold()) for word in words.words}
    return EncodedQuery(clauses=(EncodedClause(kind="text", words=words, word_vectors=vectors),))


def shop(*, with_words=True, with_titles=False):
    num_items = 2 + len(DOCUMENTS)
    found = ItemWords.of(
        DOCUMENTS, num_items, lambda words: np.stack([vector(word) for word in words]), ("english",)
    )
    index = LexicalIndex.build(DOCUMENTS, LexicalSettings())
    present = np.arange(num_items) >= 2
    titles = np.stack([vector(kind) for kind, _ in [("", ""), ("", ""), *PAIRS]])
    legs = [build_leg("title", "text", titles, present)] if with_titles else []
    parts = Scorer(legs, num_items=num_items, words=index, item_words=found if with_words else None)
    return Searcher(parts, SearchSettings(num_candidates=50, max_list_length=50))


def test_queries_without_an_answer_have_a_word_that_no_item_has():
    searcher = shop()
    words = searcher.scorer.item_words
    texts = unanswered_texts(words, searcher, np.random.default_rng(0))
    assert texts == unanswered_texts(words, searcher, np.random.default_rng(0))
    half = len(texts) // 2  # no near misses without a text that is nearest to a word
    assert half > 100
    assert "calibration" not in texts  # which the items have
    assert "determinant" in texts
    for word, pair in zip(texts[:half], texts[half:], strict=True):
        own, foreign = pair.split()
        assert own in words.words
        assert foreign == word


def test_near_misses_have_the_kind_of_an_item():
    searcher = shop(with_titles=True)
    texts = unanswered_texts(searcher.scorer.item_words, searcher, np.random.default_rng(0))
    num = len(texts) // 3
    near = [text.split() for text in texts[2 * num : 3 * num]]
    assert {own for own, _ in near} == set(KINDS)
    assert [foreign for _, foreign in near] == texts[:num]


def test_typed_queries_have_a_word_that_no_item_of_the_kind_has():
    searcher = shop(with_titles=True)
    found = dict(typed_queries(searcher, max_queries=8))
    assert len(found) == 8
    assert list(found) == [text for text, _ in typed_queries(searcher, max_queries=8)]
    for text, answers in found.items():
        near, kind = text.split()
        assert (kind, near) not in PAIRS
        assert near not in OF_ALL
        assert {PAIRS[item - 2][0] for item in answers} == {kind}
        of_kind = [2 + at for at, pair in enumerate(PAIRS) if pair[0] == kind]
        assert answers.tolist() == of_kind or len(answers) == 1  # "painted", or the only one of a color
    assert typed_queries(shop(with_words=False)) == []


def test_the_threshold_empties_the_asked_share():
    searcher = shop()
    found = word_relevance(searcher, encode, threshold=0.3)
    fitted = searcher.with_settings(
        searcher.settings.model_copy(update={"word_calibration": found.calibration, "min_relevance": 0.3})
    )
    texts = unanswered_texts(searcher.scorer.item_words, searcher, np.random.default_rng(0))
    words = searcher.scorer.item_words

    def empty(texts, is_long):
        asked = [each for each in texts if (len(words.content_words(parse_words(each))) > 3) == is_long]
        return np.mean([len(fitted.search(encode(each), 5)) == 0 for each in asked])

    short = empty([*texts, *FOREIGN], is_long=False)
    assert 0.95 <= short < 1.0
    assert f"word by word: {short:.0%} of" in found.reason
    long = empty(FOREIGN, is_long=True)
    assert long >= 0.95
    assert f"of more words: {long:.0%} of" in found.reason
    assert found.calibration.weights["long"] >= 0
    top = fitted.search(encode("a red mug"), 5)
    assert [PAIRS[item - 2] for item in top.items] == [("mug", "red")]
    assert [len(fitted.search(encode(each), 5)) for each in ("blue mug", "red violin", "violin")] == [0, 0, 0]
    assert len(searcher.search(encode("blue mug"), 5)) == 5  # without the calibration


def answered(evidence):
    clause = ClauseScores(
        kind="text", weight=1.0, legs={}, coverage_K=None, words_K=np.array([evidence, 0.0], np.float32)
    )
    scores = QueryScores(items=np.array([2, 3]), clauses=(clause,))
    return RankedQuery(scores=scores, answers=np.array([0]), num_relevant=1, group="")


def test_known_answers_lower_the_threshold():
    searcher = shop()
    all_found = word_relevance(searcher, encode, [answered(1.0)] * 40, threshold=0.5)
    assert ", 0% of 40 found answers are lost" in all_found.reason
    low = [answered(0.3)] * 30 + [answered(1.0)] * 10  # three quarters of the levels are at most 0.32
    lowered = word_relevance(searcher, encode, low, threshold=0.5)
    assert ", 0% of 40 found answers are lost" in lowered.reason
    assert lowered.calibration.intercept > all_found.calibration.intercept
    few = word_relevance(searcher, encode, low[:20], threshold=0.5)
    assert few.calibration == all_found.calibration


def test_answers_that_would_make_the_threshold_useless_are_ignored():
    searcher = shop()
    reviews = [answered(-0.5)] * 30 + [answered(1.0)] * 10
    found = word_relevance(searcher, encode, reviews, threshold=0.5)
    assert found.calibration == word_relevance(searcher, encode, threshold=0.5).calibration
    assert (
        ", 75% of 40 found answers are lost, since to keep 90% would fill most of these lists" in found.reason
    )


def test_the_settings_have_the_calibration_and_its_reason():
    settings = fit_search(shop(), [], encode=encode)
    assert settings.word_calibration is not None
    assert settings.min_relevance == 0.5
    assert "word by word" in settings.relevance_reason
    assert fit_search(shop(with_words=False), [], encode=encode).word_calibration is None
    assert fit_search(shop(), []).word_calibration is None


def test_an_item_that_has_every_word_is_found_whatever_the_level():
    level_Q = np.array([0.2, 1.3, 1.4])
    assert _least(level_Q, 0.95) == 0.99
    assert _least(level_Q[:1], 0.95) == 0.2 + 1e-3
