"""Evidence that an item covers a word, by hand, against a slow reference, and read back from files."""

import numpy as np
import pytest
from search_parts import at

from recsys.arrays import unit
from recsys.errors import BundleError, RequestError
from recsys.search import Document, ItemWords, parse_words

# The vectors of the words sum up to 0, so that nothing is taken off.
ANGLES = {"sea": 0.0, "boat": 90.0, "hill": 180.0, "peak": 270.0}
DOCUMENTS = [
    Document(item=2, title="Sea boat", text="Boat for the sea"),
    Document(item=3, title="Hill"),
    Document(item=4, title="539", reviews="hill", categories=("sea", "peak")),
    Document(item=5),
]


def encode(words):
    return np.stack([at(ANGLES[word]) for word in words])


def item_words(documents=DOCUMENTS, num_items=6, encode=encode):
    return ItemWords.of(documents, num_items, encode, ("english",))


def test_the_two_nearest_words_of_an_item_by_hand():
    words = item_words()
    assert words.words_of(2) == ("boat", "sea")
    assert words.words_of(4) == ("hill", "peak", "sea")
    np.testing.assert_array_equal(words.has_words(np.arange(6)), [False, False, True, True, True, False])
    found = words.evidence(np.stack([at(0.0), at(30.0)]), np.array([5, 3, 2, 4]))
    root = np.sqrt(3) / 2  # cos 30
    turned = (root + root - 0.35) / 2  # the second words, at 0.5 and -0.5, are too far
    expected = [[0.0, -1.0, (1 + 0.65) / 2, (1 + 0.65) / 2], [0.0, -root, turned, turned]]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_what_all_words_have_in_common_is_taken_off():
    # The mean is (1/2, 1/2): without it the two words are opposite, although their cosine is 0.
    documents = [Document(item=2, title="sea"), Document(item=3, title="boat")]
    found = item_words(documents, 4).evidence(at(0.0)[None], np.array([2, 3]))
    np.testing.assert_allclose(found, [[1.0, -1.0]], atol=1e-3)


def test_a_second_near_word_counts():
    angles = {"sea": 10.0, "boat": 40.0, "hill": 190.0, "peak": 220.0}
    documents = [Document(item=2, title="sea boat"), Document(item=3, title="hill peak")]
    words = item_words(documents, 4, lambda asked: np.stack([at(angles[word]) for word in asked]))
    cosine = np.cos(np.radians([10.0, 40.0]))
    np.testing.assert_allclose(words.evidence(at(0.0)[None], np.array([2])), [[cosine.mean()]], atol=1e-3)


def test_near_words():
    angles = {"sea": 10.0, "boat": 40.0, "hill": 190.0, "peak": 230.0}
    documents = [Document(item=2, title="sea boat"), Document(item=3, title="hill peak")]
    words = item_words(documents, 4, lambda asked: np.stack([at(angles[word]) for word in asked]))
    assert words.near_words("sea", 1) == ["boat"]
    assert words.near_words("hill", 3)[0] == "peak"
    assert set(words.near_words("hill", 9)) == {"sea", "boat", "peak"}


def test_equal_words_count_twice():
    documents = [Document(item=2, title="sea boat"), Document(item=3, title="hill peak")]
    same = item_words(documents, 4, lambda words: np.stack([at(90.0 * (w in "hillpeak")) for w in words]))
    np.testing.assert_allclose(same.evidence(at(0.0)[None], np.array([2, 3])), [[1.0, -1.0]], atol=1e-3)


def test_against_a_slow_reference():
    rng = np.random.default_rng(0)
    vocabulary = [f"word{at:03d}" for at in range(240)]
    vectors = dict(zip(vocabulary, unit(rng.normal(size=(240, 200)) + 1.0), strict=True))
    documents = [
        Document(item=item, text=" ".join(rng.choice(vocabulary, rng.integers(1, 9))))
        for item in range(2, 200)
    ]
    words = item_words(documents, 200, lambda asked: np.stack([vectors[word] for word in asked]))
    assert words.common.shape == (1 + 2, 200)
    own = words.vectors.astype(np.float64)
    centered = own - own.mean(0)
    components = np.linalg.svd(centered)[2][:2]

    def specific(vector):
        rest = vector - own.mean(0)
        for component in components:
            rest = rest - component * (component @ rest)
        return rest / np.linalg.norm(rest)

    query = unit(rng.normal(size=(3, 200)))
    items = np.array([59, 2, 17, 30])

    def reference(vector, item):
        near = sorted(specific(vector) @ specific(own[words.words.index(w)]) for w in words.words_of(item))
        best, second = near[-1], near[-2] if len(near) > 1 else near[-1]
        return (best + max(second, best - 0.35)) / 2

    expected = [[reference(vector, item) for item in items] for vector in query]
    np.testing.assert_allclose(words.evidence(query, items), expected, atol=2e-3)


def test_content_words():
    def found(text):
        return item_words().content_words(parse_words(text))

    assert found("Show me a Mug for the SEA, a mug") == ("mug", "sea")
    assert found('13 "blue mug" -red') == ("13", "blue", "mug")
    assert found("what is it for") == ()


def test_only_frequent_words_have_vectors(monkeypatch):
    monkeypatch.setattr("recsys.search.item_words.MAX_VOCABULARY", 2)
    words = item_words()
    assert words.words == ("hill", "sea")  # of two items each
    assert words.words_of(2) == ("sea",)


def test_a_vector_of_another_encoder_is_refused():
    with pytest.raises(RequestError, match="3 numbers, not 2"):
        item_words().evidence(np.ones((1, 3), np.float32), np.array([2]))


def test_nothing_has_words():
    words = item_words([Document(item=2)], 3)
    np.testing.assert_array_equal(words.evidence(at(0.0)[None], np.array([2])), [[0.0]])
    np.testing.assert_array_equal(item_words().evidence(at(0.0)[None], np.array([5])), [[0.0]])


def test_round_trip_and_damage(tmp_path):
    words = item_words()
    words.save(tmp_path)
    opened = ItemWords.open(tmp_path, 6)
    asked, items = at(20.0)[None], np.arange(2, 6)
    np.testing.assert_array_equal(opened.evidence(asked, items), words.evidence(asked, items))
    assert opened.content_words(parse_words("the sea")) == ("sea",)
    with pytest.raises(BundleError, match="do not fit together"):
        ItemWords.open(tmp_path, 7)
    (tmp_path / "ids.npy").write_bytes(b"cut")
    with pytest.raises(BundleError, match="cannot be read"):
        ItemWords.open(tmp_path, 6)
