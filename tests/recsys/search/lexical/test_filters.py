"""Lists against a scan of all items: any k, any filter, ties by item id."""

import random

import numpy as np
import pytest
from lexical_parts import WORDS, bm25, index_of, random_titles

from recsys.arrays import Bools
from recsys.search import Document, FieldWeights, LexicalIndex, LexicalSettings, parse_words

NUM_ITEMS = 400
EQUAL = FieldWeights(title=1, categories=1)


@pytest.fixture(scope="module")
def titles() -> list[str]:
    return random_titles(0, NUM_ITEMS)


@pytest.fixture(scope="module")
def index(titles: list[str]) -> LexicalIndex:
    return index_of(*titles, weights=EQUAL, languages=[])


def mask(generator: random.Random, share: float) -> Bools:
    return np.array([generator.random() < share for _ in range(NUM_ITEMS + 2)])


@pytest.mark.parametrize("k", [1, 3, 10, 500])
@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.9, None])
def test_the_best_k_of_the_allowed_items(
    index: LexicalIndex, titles: list[str], k: int, share: float | None
) -> None:
    generator = random.Random(k)
    for _ in range(5):
        words = generator.sample(WORDS, 2)
        allowed = None if share is None else mask(generator, share)
        score_of = bm25(words, {item: title.split() for item, title in enumerate(titles, 2)})
        kept = [item for item in score_of if allowed is None or allowed[item]]
        expected = sorted(kept, key=lambda item: (-round(score_of[item], 5), item))[:k]
        items, scores = index.search(parse_words(" ".join(words)), k, allowed)
        assert items.tolist() == expected
        np.testing.assert_allclose(scores, [score_of[item] for item in expected], rtol=2e-6)
        assert (np.diff(scores) <= 0).all()


def test_a_list_is_the_beginning_of_a_longer_one(index: LexicalIndex) -> None:
    query = parse_words(" ".join(WORDS[:3]))
    longest, scores = index.search(query, NUM_ITEMS)
    for k in (0, 1, 7, 40, 41, 200):
        items, own = index.search(query, k)
        assert items.tolist() == longest[:k].tolist()
        assert own.tolist() == scores[:k].tolist()


def test_a_list_longer_than_the_catalogue_needs_no_memory(index: LexicalIndex) -> None:
    items, _ = index.search(parse_words(WORDS[0]), 10**12)
    assert len(items) == len(index.search(parse_words(WORDS[0]), NUM_ITEMS)[0])
    assert len(index.suggest(WORDS[0], 10**12)) > 3


def test_ties_are_ordered_by_id_whatever_the_order_of_the_documents() -> None:
    items = list(range(2, 1002))
    random.Random(0).shuffle(items)
    words = ("oak", "elm", "ash", "fir", "yew")
    documents = [Document(item=item, title=" ".join(random.Random(item).sample(words, 5))) for item in items]
    index = LexicalIndex.build(documents, LexicalSettings())
    for k in (1, 10, 32, 100, 1000):
        found, scores = index.search(parse_words(" ".join(words)), k)
        assert found.tolist() == list(range(2, k + 2))
        assert len(set(scores.tolist())) == 1


def test_items_beyond_the_mask_are_not_allowed(index: LexicalIndex) -> None:
    short = np.ones(50, np.bool_)
    items, _ = index.search(parse_words(WORDS[0]), 500, short)
    assert len(items) > 0
    assert items.max() < 50


def test_a_search_repeats(index: LexicalIndex) -> None:
    query = parse_words(" ".join(WORDS[:4]))
    first, second = index.search(query, 50), index.search(query, 50)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_few_and_many_items_are_scored_alike() -> None:
    titles = random_titles(1, 1500)
    index, query = index_of(*titles, languages=[]), parse_words(" ".join(WORDS[:2]))
    everything = np.arange(2, 1502)
    scores, coverage = index.scores(query, everything), index.coverage(query, everything)
    assert 0 < (scores > 0).sum() < 1500
    for items in np.split(everything, 3):
        np.testing.assert_allclose(index.scores(query, items), scores[items - 2], rtol=2e-6)
        np.testing.assert_array_equal(index.coverage(query, items), coverage[items - 2])
