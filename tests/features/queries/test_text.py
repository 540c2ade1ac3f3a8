"""Typed texts: what is taken out, and where a long one ends."""

import pytest

from features.queries.text import clean_text, has_words


@pytest.mark.parametrize(
    ("typed", "clean"),
    [
        ("  red\t\n shirt ", "red shirt"),
        ("red\x00\x07\x1b[31m shirt", "red[31m shirt"),
        ("\ufeffred\u200b\u00ad", "red"),
        ("\u202eשלום\u202c עולם", "שלום עולם"),  # right to left, without the marks of an override
        ("سلام", "سلام"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a Persian word with its joiner
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("cafe\u0301", "café"),
        ("half \ud83d pair", "half pair"),
        ("\u2028\u2029", ""),
        ("\x00\x01", ""),
    ],
)
def test_cleaned(typed: str, clean: str) -> None:
    assert clean_text(typed, 100) == (clean, False)


@pytest.mark.parametrize(
    ("typed", "clean"),
    [
        ("red shirt shoe", "red shirt"),
        ("x" * 10_000, "x" * 10),
        ("red shirts " * 1_000, "red shirts"),
        ("a bcdefghijklmno", "a bcdefghi"),  # nearly the whole would be lost with the broken word
    ],
)
def test_a_long_text_is_cut(typed: str, clean: str) -> None:
    assert clean_text(typed, 10) == (clean, True)


def test_a_text_of_the_longest_length_is_whole() -> None:
    assert clean_text("red shirts", 10) == ("red shirts", False)


def test_blanks_after_a_long_beginning_cut_nothing() -> None:
    assert clean_text("red" + " " * 10_000, 10) == ("red", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("red", True), ("7", True), ("红", True), ("🙂", False), ("?! -", False), ("", False)],
)
def test_has_words(text: str, expected: bool) -> None:
    assert has_words(text) is expected
