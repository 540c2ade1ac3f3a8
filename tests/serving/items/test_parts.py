"""Arrays that grow, vectors as bytes, and the words of changed items."""

import numpy as np
import pytest

from recsys.search import Document, ItemWords
from serving.items import Content
from serving.items import arrays as module
from serving.items.arrays import GrowingArray


def test_arrays_that_were_given_out_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEADROOM", 3)
    growing, rng = GrowingArray(np.zeros((4, 2), np.float32)), np.random.default_rng(0)
    expected = np.zeros((4, 2), np.float32)
    given = []
    for step in range(30):
        size = len(expected)
        rows = np.arange(size, size + step % 3) if step % 4 else np.array([step % size, size])
        values = rng.normal(size=(len(rows), 2)).astype(np.float32)
        expected = np.concatenate(
            [expected, np.zeros((max(rows.max(initial=0) + 1 - size, 0), 2), np.float32)]
        )
        expected[rows] = values
        given.append((growing.put(rows, values), expected.copy()))
    for found, wanted in given:
        np.testing.assert_array_equal(found, wanted)


def test_content_as_bytes() -> None:
    vectors = {"title": np.arange(3, dtype=np.float32), "image": np.array([0.5], np.float32)}
    content = Content(vectors=vectors, encoders={"title": "t", "image": "i"}, transcript="a ½\nb")
    read = Content.of_bytes(content.to_bytes())
    assert (read.encoders, read.transcript, list(read.vectors)) == (
        content.encoders, content.transcript, ["title", "image"]
    )  # fmt: skip
    for name, vector in vectors.items():
        np.testing.assert_array_equal(read.vectors[name], vector)
    assert Content.of_bytes(Content().to_bytes()) == Content()


def test_the_words_of_changed_items_are_those_of_all_present_documents() -> None:
    def encode(words: list[str]) -> np.ndarray:
        return np.array([[len(word), ord(word[0]), ord(word[-1])] for word in words], np.float32)

    titles = {2: "red shirt", 3: "blue shoe", 4: "green hat"}
    former = ItemWords.of(
        [Document(item=at, title=each) for at, each in titles.items()], 5, encode, ["english"]
    )
    changed = {3: "yellow shoe", 4: "", 6: "red scarf"}
    now = former.over({at: Document(item=at, title=each) for at, each in changed.items()}, 7, encode)
    expected = titles | changed
    for item in range(7):
        assert sorted(now.words_of(item)) == sorted(expected.get(item, "").split())
    assert [former.words_of(item) for item in (2, 3)] == [("red", "shirt"), ("blue", "shoe")]
    vector_of = dict(zip(now.words, now.vectors, strict=True))
    np.testing.assert_allclose(
        vector_of["scarf"], encode(["scarf"])[0] / np.linalg.norm(encode(["scarf"])), atol=1e-3
    )
