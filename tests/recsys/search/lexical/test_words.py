"""parse_words: words, phrases and exclusions of any text."""

import random
import unicodedata

import pytest
from lexical_parts import random_text

from recsys.search.lexical.words import MAX_CHARACTERS, MAX_WORDS, WordQuery, parse_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", WordQuery()),
        ("red shoes", WordQuery(words=("red", "shoes"), positive="red shoes")),
        (
            'red -leather "running shoe" -"for kids"',
            WordQuery(
                words=("red",),
                phrases=(("running", "shoe"),),
                excluded=(("leather",), ("for", "kids")),
                positive="red running shoe",
            ),
        ),
        ("a - b t-shirt", WordQuery(words=("a", "b", "t", "shirt"), positive="a - b t-shirt")),
        ("-t-shirt", WordQuery(excluded=(("t", "shirt"),))),
        ('frame 5" x 7"', WordQuery(words=("frame", "5", "x", "7"), positive="frame 5 x 7")),
        ('"open', WordQuery(words=("open",), positive="open")),
        ("“curly”, «angled»", WordQuery(phrases=(("curly",), ("angled",)), positive="curly , angled")),
        ("＂ｆｕｌｌ　ｗｉｄｔｈ＂", WordQuery(phrases=(("full", "width"),), positive="full width")),
        ("－ｗｉｄｅ", WordQuery(excluded=(("wide",),))),
        ("men's o’clock", WordQuery(words=("men", "o", "clock"), positive="men's o’clock")),
        ("赤いワンピース", WordQuery(words=("赤い", "ワンピース"), positive="赤いワンピース")),
        ("ﾜﾝﾋﾟｰｽ -ｱﾊﾟｰﾄ", WordQuery(words=("ワンピース",), excluded=(("アパート",),), positive="ワンピース")),
        ("😀 👍🏽", WordQuery(positive="😀 👍🏽")),
        ('"" -"" - -- "-"', WordQuery(positive="- -- -")),
        ("AND OR NOT title:x^2~", WordQuery(
            words=("AND", "OR", "NOT", "title", "x", "2"), positive="AND OR NOT title:x^2~"
        )),
    ],
)  # fmt: skip
def test_a_text_is_read(text: str, expected: WordQuery) -> None:
    assert parse_words(text) == expected


@pytest.mark.parametrize(
    ("text", "is_prefix"),
    [("head", True), ("red head", True), ("head ", False), ("head -x", False), ("", False), ("head!", False)],
)
def test_the_last_word_may_be_unfinished(text: str, is_prefix: bool) -> None:
    assert parse_words(text, prefix=True).prefix is is_prefix
    assert not parse_words(text).prefix


def test_words_beyond_the_limit_are_ignored_and_counted() -> None:
    query = parse_words(" ".join(f"w{at}" for at in range(300)) + ' "p q" -r')
    assert query.words == tuple(f"w{at}" for at in range(MAX_WORDS))
    assert (query.phrases, query.excluded, query.num_ignored) == ((), (), 44 + 3)
    assert parse_words('"' + "a " * 300 + '"').phrases == (("a",) * MAX_WORDS,)


def test_characters_beyond_the_limit_are_ignored_and_counted() -> None:
    query = parse_words("x " * (MAX_CHARACTERS // 2) + "y z")
    assert (len(query.words), query.num_ignored) == (MAX_WORDS, MAX_CHARACTERS // 2 - MAX_WORDS + 2)
    assert parse_words("x" * MAX_CHARACTERS).words == ("x" * 60,)


def test_only_exclusions_are_an_empty_query() -> None:
    assert parse_words("-red").is_empty
    assert not parse_words('"red"').is_empty
    assert not parse_words("red").is_empty


@pytest.mark.parametrize("seed", range(3))
def test_no_text_is_an_error(seed: int) -> None:
    generator = random.Random(seed)
    for at in range(200):
        query = parse_words(random_text(generator), prefix=bool(at % 2))
        words = [*query.words, *(word for part in (*query.phrases, *query.excluded) for word in part)]
        assert len(words) <= MAX_WORDS
        for word in words:
            assert 0 < len(word) <= 60
            assert any(map(str.isalnum, word))
            word.encode()
        query.positive.encode()
        assert not any(unicodedata.category(char) == "Cc" for char in query.positive)
