"""Words of texts, folding, stems."""

import pytest

from recsys.search.lexical.documents import words_in
from recsys.search.lexical.settings import AUTO, Language
from recsys.search.lexical.stemming import Stemmer
from recsys.search.lexical.tokens import clean, fold, fold_text, parts, split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Wi-Fi, 4K & HDR!", ["Wi", "Fi", "4K", "HDR"]),
        ("snake_case", ["snake", "case"]),
        ("MEN'S men’s 'sup", ["MEN", "men", "sup"]),
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),
        ("红色连衣裙", ["红色", "连", "衣裙"]),
        ("サメのぬいぐるみ", ["サメ", "の", "ぬいぐるみ"]),
        ("สวัสดีชาวโลก", ["สวัสดี", "ชาว", "โลก"]),
        ("iPhone用ケース", ["iPhone", "用", "ケース"]),
        ("a\u00adb", ["ab"]),
        ("\ud800x\udfff", ["x"]),
        ("😀", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert split(clean(text)) == words


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("CAFÉ", "cafe"), ("e\u0301", "e"), ("Straße", "strasse"), ("Łódź", "lodz"), ("Ærø", "aero"),
        ("İstanbul", "istanbul"), ("Ёлка", "елка"), ("Ώρα", "ωρα"), ("שָׁלוֹם", "שלום"), ("مَرْحَبًا", "مرحبا"),
        ("が", "が"), ("हिन्दी", "हिन्दी"), ("Đặng", "dang"),
    ],
)  # fmt: skip
def test_a_word_is_folded(word: str, folded: str) -> None:
    assert fold(word) == folded
    assert fold(folded) == folded


def test_a_folded_text_keeps_its_beginning() -> None:
    assert fold_text("  Crème  brûlée: 登山鞋男!") == "creme brulee 登山鞋男"


def test_parts_of_long_words_without_spaces() -> None:
    assert parts("登山鞋") == ["登山", "山鞋"]
    assert parts("登山") == parts("ワンピース") == parts("shoes") == []
    stemmer = Stemmer(["english"]).of_document([])
    assert stemmer.terms(["登山鞋", "shoes"]) == "登山鞋 登山 山鞋 shoe"


@pytest.mark.parametrize(
    ("languages", "text", "stems"),
    [
        (("english",), "Comedies running cafés", ["comedi", "run", "cafe"]),
        (("spanish",), "información informaciones", ["inform", "inform"]),
        (("english", "russian"), "books книги книгами", ["book", "книг", "книг"]),
        (("english", "german"), "ein Haus und die Häuser", ["ein", "haus", "und", "die", "haus"]),
        (("english", "german"), "the houses are here", ["the", "hous", "are", "here"]),
        (AUTO, "running книги القطط", ["run", "книг", "قطط"]),
        ((), "Running Cafés", ["running", "cafes"]),
    ],
)  # fmt: skip
def test_stems_by_language(languages: tuple[Language, ...], text: str, stems: list[str]) -> None:
    words = words_in(text)
    assert Stemmer(languages).of_document(words).terms(words).split() == stems


def test_a_query_tries_every_language_of_the_script() -> None:
    stemmer = Stemmer(["english", "german", "russian"])
    assert stemmer.all_stems("häuser") == ["hauser", "haus"]
    assert stemmer.all_stems("книги") == ["книг"]
    assert len(stemmer.for_each_language()) == 2
    assert stemmer.is_stop_word("und")
    assert not stemmer.is_stop_word("haus")
