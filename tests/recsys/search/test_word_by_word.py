"""A short text is relevant to an item that covers the words it is about, exactly or by near words."""

import numpy as np
import pytest
from search_parts import at, query

from recsys.search import (
    Calibration,
    Document,
    EncodedClause,
    ItemWords,
    LexicalIndex,
    LexicalSettings,
    Scorer,
    Searcher,
    SearchSettings,
    parse_words,
)

# Angles in a plane, near words 10 degrees from "tea" and "astronomy". The sum of the items' vectors is 0.
ANGLES = {"mug": 0.0, "lamp": 180.0, "kettle": 80.0, "teapot": 100.0, "telescope": 260.0, "planets": 280.0}
VECTORS = {word: (*at(angle), 0.0) for word, angle in {**ANGLES, "tea": 90.0, "astronomy": 270.0}.items()}
# Near to nothing, but for the number.
VECTORS |= {
    "violin": (0.0, 0.0, 1.0),
    "telescpe": (0.0, 0.0, 1.0),
    "kettel": (0.0, 0.0, 1.0),
    "7": (1.0, 0.0, 0.0),
}
DOCUMENTS = [
    Document(item=2, title="mug", text="kettle teapot"),
    Document(item=3, title="mug", text="telescope planets"),
    Document(item=4, title="lamp", text="kettle teapot"),
    Document(item=5),
]
BY_WORD = Calibration(intercept=-5.0, weights={"words": 10.0})  # one half at an evidence of 0.5
COSINE = np.cos(np.radians(10.0))


def encode(words):
    return np.array([VECTORS[word] for word in words], np.float32)


def scorer(**changes):
    parts = {
        "words": LexicalIndex.build(DOCUMENTS, LexicalSettings()),
        "item_words": ItemWords.of(DOCUMENTS, 6, encode, ("english",)),
        "has_words": np.isin(np.arange(6), [2, 3, 4]),
    }
    return Scorer([], num_items=6, **parts | changes)


def clause(text, known=None, kind="text", vector=None, whole=None):
    words = parse_words(text)
    vectors = {word: encode([word])[0] for word in known or VECTORS}
    of_text = {} if vector is None else {"text": np.array(vector, np.float32)}
    return EncodedClause(kind=kind, words=words, word_vectors=vectors, vectors=of_text, whole_words=whole)


def harmonic(*values):
    return len(values) / sum(1 / max(value, 0.02) for value in values)


def evidence(text, vector=None, whole=None, **changes):
    scores = scorer(**changes).score(query(clause(text, vector=vector, whole=whole)), 10, None)
    found = np.full(6, np.nan)
    least = scores.clauses[0].words_K
    if least is None:
        return None
    found[scores.items] = least
    return found[2:5]


def test_the_mean_of_all_words_by_hand():
    # Word search proposes items 2 and 3; 4 is no candidate.
    np.testing.assert_allclose(evidence("mug"), [1.0, 1.0, np.nan])
    covered, not_covered = harmonic(1, COSINE), harmonic(1, 0)
    np.testing.assert_allclose(evidence("a mug for tea"), [covered, not_covered, np.nan], atol=1e-3)
    np.testing.assert_allclose(evidence("a mug for astronomy"), [not_covered, covered, np.nan], atol=1e-3)
    np.testing.assert_allclose(evidence("mug violin"), [not_covered, not_covered, np.nan], atol=1e-3)
    # The lamp is 100 and 80 degrees from kettle and teapot.
    np.testing.assert_allclose(evidence("lamp kettle")[[0, 2]], [not_covered, 1.0], atol=1e-3)
    assert evidence("mug lamp kettle")[0] == pytest.approx(harmonic(1, 0, 1), abs=1e-3)


def test_words_that_the_text_is_about_weigh_more():
    # The text is near to the mug, at 60 degrees from the violin, which is covered by no item.
    near, far = np.cos(np.radians(30)), np.cos(np.radians(60))
    about = (near, 0.0, far)
    weights = np.array([near, far]) ** 2
    expected = weights.sum() / (weights @ [1, 1 / 0.02])
    assert evidence("mug violin", about)[0] == pytest.approx(expected, abs=1e-3)
    assert expected > harmonic(1, 0)
    opposite = evidence("mug violin", (-1.0, 0.0, 0.0))[0]  # both cosines count as 0.02
    assert opposite == pytest.approx(harmonic(1, 0), abs=1e-3)


def test_a_list_has_only_items_that_cover_every_word():
    searcher = Searcher(scorer(), SearchSettings(word_calibration=BY_WORD, min_relevance=0.5))
    assert searcher.search(query(clause("mug for astronomy")), 5).items.tolist() == [3]
    assert searcher.search(query(clause("mug kettle")), 5).items.tolist() == [2]
    assert searcher.search(query(clause("mug violin")), 5).items.tolist() == []
    assert searcher.search(query(clause("mug violin")), 5, min_relevance=0.0).items.tolist() == [2, 3]


def test_misspelt_words_and_numbers():
    np.testing.assert_allclose(evidence("telescpe"), [np.nan, 0.75, np.nan])
    np.testing.assert_allclose(evidence("kettel")[[0, 2]], [0.02, 0.02])  # too short to be sure
    # The vocabulary of an encoder tells misspelled words from others.
    np.testing.assert_allclose(evidence("kettel", whole=frozenset())[[0, 2]], [0.75, 0.75])
    np.testing.assert_allclose(evidence("telescpe", whole=frozenset({"telescpe"})), [np.nan, 0.02, np.nan])
    # The vector of a number says nothing: 7 is in no document, although its vector is that of a mug.
    np.testing.assert_allclose(evidence("mug 7"), [harmonic(1, 0), harmonic(1, 0), np.nan], atol=1e-6)


def test_which_texts_are_judged_word_by_word():
    assert evidence("mug lamp kettle") is not None
    assert evidence("mug lamp kettle teapot telescope planets tea astronomy") is not None
    assert evidence("mug lamp kettle teapot telescope planets tea astronomy violin") is None
    assert evidence("mug", item_words=None) is None
    scored = scorer().score(query(clause("mug tea", known=["mug"])), 10, None)
    assert scored.clauses[0].words_K is None
    kept = scorer().score(query(clause("mug")), 10, None).at(np.array([1]))
    np.testing.assert_array_equal(kept.clauses[0].words_K, [1.0])


def test_a_text_in_another_script_by_word_as_a_whole():
    known = {"杯": (1.0, 0.0, 0.0), "mug": (1.0, 0.0, 0.0)}
    for text, by_word in (("mug", True), ("杯", False), ("mug 杯", False)):
        asked = EncodedClause(
            kind="text", words=parse_words(text), word_vectors={w: np.array(v) for w, v in known.items()}
        )
        scores = scorer().score(query(asked), 10, None)
        assert (scores.clauses[0].words_K is not None) == by_word


@pytest.mark.parametrize("text", ["a for", "what is it for"])
def test_a_text_of_stop_words_by_word_as_a_whole(text):
    assert evidence(text) is None


def test_common_words_of_a_longer_text_have_their_evidence():
    words = "mug lamp kettle teapot telescope planets tea"
    few = LexicalIndex.build(DOCUMENTS, LexicalSettings(max_words=2))  # leaves all but the rarest two out
    found = evidence(words, words=few)  # of the candidates, which are fewer
    assert np.isfinite(found).sum() == 2
    np.testing.assert_array_equal(found[1:], evidence(words)[1:])
