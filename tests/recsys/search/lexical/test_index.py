"""LexicalIndex: scores against a slow BM25, fields, inexact words, phrases, exclusions, coverage."""

import math
import random

import numpy as np
import pytest
from lexical_parts import WORDS, bm25, found, index_of, random_text, random_titles

from recsys.arrays import Ints
from recsys.errors import DataError
from recsys.search import Document, FieldWeights, LexicalIndex, LexicalSettings, WordStatistics, parse_words

NO_WEIGHTS = FieldWeights(title=1, categories=1)


@pytest.fixture(scope="module")
def misspellable() -> LexicalIndex:
    return index_of("headphones", "chair", "oak", "2043")


def ids(*items: int) -> Ints:
    return np.array(items, np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_one_field_is_scored_by_bm25(seed: int) -> None:
    titles = random_titles(seed, 60)
    index = index_of(*titles, weights=NO_WEIGHTS, languages=[])
    words = random.Random(seed).sample(WORDS, 3)
    expected = bm25(words, {item: title.split() for item, title in enumerate(titles, 2)})
    items, scores = index.search(parse_words(" ".join(words)), 100)
    assert set(items.tolist()) == set(expected)
    np.testing.assert_allclose(scores, [expected[item] for item in items.tolist()], rtol=2e-6)
    order = sorted(expected, key=lambda item: (-round(expected[item], 6), item))
    assert items.tolist() == order
    np.testing.assert_allclose(index.scores(parse_words(" ".join(words)), items), scores, rtol=2e-6)


def test_the_best_field_of_a_word_counts() -> None:
    index = LexicalIndex.build(
        [
            Document(item=2, title="oak"),
            Document(item=3, text="oak"),
            Document(item=4, title="oak", categories=("oak", "elm")),
            Document(item=5, transcript="oak"),
            Document(item=6, reviews="oak oak"),
        ],
        LexicalSettings(weights=FieldWeights(title=4, categories=8), idf_power=2),
    )
    items, scores = index.search(parse_words("oak"), 10)
    assert items.tolist() == [4, 2, 6, 3, 5]
    idf = math.log(1 + (5 - 5 + 0.5) / (5 + 0.5))  # all five have the word, wherever it stands

    def term(tf: float, length: float, mean: float) -> float:
        return idf**2 * 2.2 * tf / (tf + 1.2 * (0.25 + 0.75 * length / mean))

    title, categories = 4 * term(1, 1, 2 / 5), 8 * term(1, 2, 2 / 5)
    expected = [max(title, categories), title, term(2, 2, 8 / 5), *[term(1, 1, 8 / 5)] * 2]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize(("seed", "power"), [(0, 0.5), (1, 1.0), (2, 1.25)])
def test_several_fields_are_scored_like_a_slow_bm25(seed: int, power: float) -> None:
    fields = {name: random_titles(10 * seed + at, 40) for at, name in enumerate(("title", "text", "reviews"))}
    kinds = [tuple(title.split()[:2]) for title in random_titles(10 * seed + 3, 40)]
    documents = [
        Document(
            item=at + 2, title=fields["title"][at], text=fields["text"][at], reviews=fields["reviews"][at],
            categories=kinds[at],
        )
        for at in range(40)
    ]  # fmt: skip
    index = LexicalIndex.build(
        documents,
        LexicalSettings(weights=FieldWeights(title=1.5, categories=0.5), languages=(), idf_power=power),
    )
    titles = {each.item: each.title.split() for each in documents}
    categories = {each.item: each.categories for each in documents}
    whole = {
        each.item: [*titles[each.item], *each.categories, *f"{each.text} {each.reviews}".split()]
        for each in documents
    }
    for _ in range(5):
        words = random.Random(seed).sample(WORDS, 3)
        expected = bm25(words, whole, [(1.5, titles), (0.5, categories)], idf_power=power)
        items, scores = index.search(parse_words(" ".join(words)), 100)
        assert set(items.tolist()) == set(expected)
        np.testing.assert_allclose(scores, [expected[item] for item in items.tolist()], rtol=2e-6)


def test_of_a_long_query_the_rarest_words_count() -> None:
    index = index_of("red shoe", "red hat", "red lamp", "red shoe", max_words=2)
    query = parse_words("unknown red hat shoe")
    assert index.search(query, 10)[0].tolist() == [3, 2, 5]
    assert index.scores(query, ids(4)).tolist() == index.coverage(query, ids(4)).tolist() == [0]
    assert index.matched(query, ids(2, 3, 4)) == [("shoe",), ("hat",), ()]
    assert found(index, '"red" hat shoe') == [3, 2, 5, 4], "phrases are counted apart"


def test_words_that_many_items_have_are_left_out_of_a_longer_query() -> None:
    index = index_of(*[f"the code{at} in{at % 2}" for at in range(300)])
    long, short = parse_words("the code1 code2 code3 code4 in1 in0"), parse_words("the code1 code2 in1")
    assert index.matched(long, ids(3, 50)) == [("code1", "in1"), ()]
    assert index.matched(short, ids(3, 50)) == [("the", "code1", "in1"), ("the",)]
    assert index.matched(parse_words('"the" code1 code2 code3 code4 in1'), ids(3))[0][-1] == "the", "a phrase"
    few = index_of(*[f"the code{at}" for at in range(100)])
    assert few.matched(parse_words("the code1 code2 code3 code4 code5"), ids(3)) == [("the", "code1")]


def test_words_are_stemmed_folded_and_normalised() -> None:
    index = index_of("Café tables", "Ｗｉｄｅ ﾜﾝﾋﾟｰｽ", "oak")
    assert found(index, "CAFE table") == [2]
    assert found(index, "cafés") == [2]
    assert found(index, "wide") == found(index, "ワンピース") == [3]


def test_accents_are_no_barrier_in_a_language_with_accents() -> None:
    index = index_of("información", "canciones", languages=["spanish"])
    assert found(index, "informacion") == found(index, "informaciones") == found(index, "INFORMACIÓN") == [2]
    assert found(index, "canción") == [3]


def test_chinese_and_japanese_words_are_found_inside_texts() -> None:
    index = index_of(
        "红色连衣裙女夏季新款", "我来到北京清华大学", "防水登山靴メンズ", "防水户外登山鞋男", "oak"
    )
    assert found(index, "连衣裙") == [2]
    assert found(index, "大学") == [3]
    assert found(index, "登山") == [4, 5]
    assert found(index, "登山鞋") == [5]
    assert found(index, "メンズ") == [4]


def test_an_unknown_long_word_is_found_by_its_parts() -> None:
    index = index_of("登山", "oak")
    assert found(index, "登山鞋") == [2]
    assert index.coverage(parse_words("登山鞋"), ids(2)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("headphones", [2]),
        ("hedphones", [2]),  # a deletion
        ("haedphones", [2]),  # a swap
        ("haedphnes", [2]),  # two edits in nine letters
        ("hedphnes", [2]),  # two edits in eight letters
        ("chiar", [3]),
        ("chxxr", []),  # two edits in five letters
        ("oal", []),  # three letters
        ("2042", []),  # a number is not misspelled
        ("chair hedphones", [3, 2]),
    ],
)
def test_misspelled_words_are_found(misspellable: LexicalIndex, query: str, expected: list[int]) -> None:
    assert found(misspellable, query) == expected


def test_a_misspelled_word_weighs_less_and_a_known_word_is_not_corrected() -> None:
    index = index_of("headphones", "headphone", "batman", "bateman")
    exact, near = (index.scores(parse_words(text), ids(2))[0] for text in ("headphones", "headphonez"))
    assert near == pytest.approx(0.5 * exact)
    assert index.scores(parse_words("haedphnes"), ids(2))[0] == pytest.approx(0.25 * exact)
    assert found(index, "batman") == [4]


def test_a_word_being_typed_is_completed() -> None:
    index = index_of("headphones", "head lamp", "behead", "shoes")
    assert found(index, "head", prefix=True) == [3, 2]
    assert found(index, "head") == [3]
    assert found(index, "headp", prefix=True) == [2]
    assert found(index, "lamp headp", prefix=True) == [3, 2]
    assert found(index, "shoe lamp", prefix=True) == [5, 3]
    assert found(index, "sho lamp", prefix=True) == [3], "only the last word is unfinished"


def test_phrases_are_required_and_keep_their_order() -> None:
    index = index_of("red running shoes", "shoes running", "running red shoes", "running")
    assert found(index, '"running shoes"') == [2]
    assert found(index, '"shoe runs"') == [3], "stems"
    assert found(index, '"running shoes" "red"') == [2]
    assert found(index, 'red "running"') == [2, 4, 5, 3]
    assert found(index, '"runing"') == [], "a phrase is taken literally"
    assert found(index, '"running oaks"') == []


def test_a_phrase_stands_in_one_field_and_one_category() -> None:
    index = LexicalIndex.build(
        [Document(item=2, title="red", text="shoes", categories=("running", "wear"))], LexicalSettings()
    )
    assert found(index, '"red shoes"') == []
    assert found(index, '"running wear"') == [2], "values of categories are neighbours"


def test_exclusions_hold_in_every_field() -> None:
    index = LexicalIndex.build(
        [
            Document(item=2, title="red shoe"),
            Document(item=3, title="red", reviews="like leather"),
            Document(item=4, title="red", text="running shoes"),
            Document(item=5, title="red"),
        ],
        LexicalSettings(),
    )
    assert found(index, "red -leather") == [4, 5, 2]
    assert found(index, 'red -"running shoe" -leather') == [5, 2]
    assert index.excluded(parse_words("red -shoes -leather")).tolist() == [2, 3, 4]
    assert index.excluded(parse_words("red -lether")).tolist() == [], "an exclusion is taken literally"
    assert index.excluded(parse_words("red")).tolist() == []
    assert found(index, "-leather") == []
    assert index.scores(parse_words("red -leather"), ids(3, 5)).tolist()[0] == 0


def test_coverage_is_the_share_of_the_words_weighted_by_rarity() -> None:
    index = index_of("red shoe", "red hat", "red headphones", "red")
    idf_red, idf_hat, idf_none = (math.log(1 + (4 - n + 0.5) / (n + 0.5)) for n in (4, 1, 0))
    items = ids(3, 2, 3, 99)
    hat = (idf_red + idf_hat) / (idf_red + idf_hat + idf_none)
    red = idf_red / (idf_red + idf_hat + idf_none)
    coverage = index.coverage(parse_words("red hat unknown"), items)
    np.testing.assert_allclose(coverage, [hat, red, hat, 0], rtol=1e-5)
    assert index.coverage(parse_words("red shoe"), ids(2)).tolist() == [1]
    assert index.coverage(parse_words("hedphones"), ids(4)).tolist() == [0.5]
    assert index.coverage(parse_words('"red hat" -shoe'), ids(2, 3)).tolist() == [0, 1]
    assert index.coverage(parse_words(""), ids(2)).tolist() == [0]


def test_the_statistics_of_a_query() -> None:
    index = index_of("red shoe", "red hat", "red headphones", "red")
    everything = ids(2, 3, 4, 5)
    for text in ("red hat", "red hat unknown", '"red hat" red', "hedphones hat", "red red"):
        found = index.statistics(parse_words(text))
        mean = index.coverage(parse_words(text), everything).mean()
        assert found.mean_coverage == pytest.approx(mean, rel=1e-5)
    idf_red, idf_hat, idf_none = (math.log(1 + (4 - n + 0.5) / (n + 0.5)) for n in (4, 1, 0))
    found = index.statistics(parse_words("red hat unknown -shoe"))
    assert found.total_idf == pytest.approx(idf_red + idf_hat + idf_none)
    assert found.num_items == 4
    assert index.statistics(parse_words("-red")) == WordStatistics(num_items=4)
    assert index_of().statistics(parse_words("red")).mean_coverage == 0.0


def test_the_strength_of_each_word() -> None:
    index = index_of("red shoes", "red headphones")
    strengths = index.strengths(parse_words('hedphones red "red shoe" blue red'), ids(3, 2, 99))
    np.testing.assert_array_equal(strengths, [[0.5, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])


def test_matched_words_are_as_the_user_wrote_them() -> None:
    index = index_of("red running shoes", "red hat")
    query = parse_words('RED "running shoe" shoez unknown -hat')
    assert index.matched(query, ids(2, 3, 99)) == [("RED", "shoez", "running shoe"), ("RED",), ()]


@pytest.mark.parametrize("num_words", [3, 24, 25, 60])
def test_matches_and_coverage_are_those_of_one_word_and_one_item_at_a_time(num_words: int) -> None:
    titles = random_titles(7, 50)
    index = index_of(*titles, languages=[])
    generator = random.Random(num_words)
    words = [
        generator.choice([*WORDS, f"{generator.choice(WORDS)}x", f"unknown{at}"]) for at in range(num_words)
    ]
    query, items = parse_words(" ".join(words)), np.array([*range(2, 52), 99, 3], np.int64)
    written = list(dict.fromkeys(words))
    own = np.array([index.coverage(parse_words(word), items) for word in written])  # 1, or that of a typo
    expected = [
        tuple(word for word, strength in zip(written, own[:, at], strict=True) if strength)
        for at in range(len(items))
    ]
    assert index.matched(query, items) == expected
    having = (own > 0)[:, :50].sum(1)
    idf = np.log(1 + (50 - having + 0.5) / (having + 0.5))
    np.testing.assert_allclose(index.coverage(query, items), idf @ own / idf.sum(), rtol=1e-5)


@pytest.mark.parametrize("max_kept", [0, 2, 64])
def test_reading_all_matches_and_a_search_among_few_items_agree(
    monkeypatch: pytest.MonkeyPatch, max_kept: int
) -> None:
    monkeypatch.setattr("recsys.search.lexical.matching._MAX_KEPT_UNITS", max_kept)
    index = index_of(*random_titles(3, 60), languages=[])
    for text in (
        " ".join(WORDS[:4]),
        f"{WORDS[0]} {WORDS[5]} {WORDS[6]}x",
        f"{WORDS[1]} {WORDS[3]} -{WORDS[2]}",
    ):
        query, items = parse_words(text), np.arange(2, 64)  # all 60 items, and two that are none
        strengths, scores = index.strengths(query, items), index.scores(query, items)
        assert (strengths > 0).sum() > 8  # so that a search among one item is the faster one
        for at, item in enumerate(items.tolist()):
            np.testing.assert_array_equal(index.strengths(query, ids(item))[:, 0], strengths[:, at])
            np.testing.assert_allclose(index.scores(query, ids(item))[0], scores[at], rtol=1e-6)
        best, best_scores = index.search(query, 5)
        np.testing.assert_allclose(best_scores, index.scores(query, best), rtol=2e-6)
        assert best.tolist() == index.search(query, 60)[0][:5].tolist()


def test_words_that_no_item_has_are_not_known() -> None:
    index = index_of("red running shoes", "blue hat")
    known = ("red", "unknown hats", '"running shoes"', "runing", "blue -red")
    unknown = ("unknown", "红色的鞋", '"running unknown"', "", "-red")
    assert [index.knows(parse_words(text)) for text in (*known, *unknown)] == [True] * 5 + [False] * 5


@pytest.mark.parametrize("text", ["", " ", "-red", "😀", '""', "\x00\u202e"])
def test_a_query_without_words_finds_nothing(text: str) -> None:
    index, query = index_of("red shoe"), parse_words(text)
    assert found(index, text) == []
    assert index.scores(query, ids(2)).tolist() == index.coverage(query, ids(2)).tolist() == [0]
    assert index.matched(query, ids(2)) == [()]


def test_an_empty_index_and_an_item_without_text() -> None:
    empty = LexicalIndex.build([], LexicalSettings())
    assert found(empty, 'red "red shoe" -hat', prefix=True) == []
    assert empty.excluded(parse_words("-red")).tolist() == []
    assert empty.suggest("r", 3) == []
    assert len(LexicalIndex.build([Document(item=2)], LexicalSettings())) == 1


@pytest.mark.parametrize("seed", range(4))
def test_no_text_is_an_error_for_the_index(seed: int) -> None:
    generator = random.Random(1000 + seed)
    texts = [random_text(generator) for _ in range(20)]
    index = LexicalIndex.build(
        [
            Document(item=item, title=text, text=text, categories=(text,), reviews=text)
            for item, text in enumerate(texts, 2)
        ],
        LexicalSettings(languages=("english", "german", "russian")),
    )
    for text in [*texts[:5], *(random_text(generator) for _ in range(10))]:
        query = parse_words(text, prefix=bool(generator.getrandbits(1)))
        items, scores = index.search(query, 5)
        assert len(items) == len(scores) <= 5
        assert not set(items.tolist()) & set(index.excluded(query).tolist())
        assert ((index.coverage(query, items) > 0) & (index.coverage(query, items) <= 1)).all()
        assert all(index.matched(query, items))
        index.suggest(text, 3)


def test_ten_thousand_characters_are_searched() -> None:
    index = index_of("red shoe", "x" * 10_000)
    assert found(index, "red " * 2_500) == [2]
    assert found(index, "x" * 10_000) == [3]
    assert found(index, " ".join(f"w{at}" for at in range(255)) + " shoe") == [2]
    assert found(index, " ".join(f"w{at}" for at in range(256)) + " shoe") == []


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([Document(item=1, title="oak")], "document 'oak': item 1 is reserved; ids start at 2"),
        ([Document(item=2), Document(item=2)], "item 2 has two documents"),
    ],
)
def test_wrong_documents_are_refused(documents: list[Document], message: str) -> None:
    with pytest.raises(DataError, match=message):
        LexicalIndex.build(documents, LexicalSettings())
    index = index_of("elm")
    with pytest.raises(DataError, match=message):
        index.update(documents)
    assert found(index, "elm") == [2]
