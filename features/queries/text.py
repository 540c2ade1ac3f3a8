"""Typed text, cleaned: no control characters, one kind of white space, at most so many characters."""

import unicodedata
from typing import Final

# Marks that reorder the text around them, and invisible ones that only break words. Joiners stay: emoji and
# Persian words are written with them.
_INVISIBLE: Final = frozenset("\u00ad\u200b\u200e\u200f\u2060\ufeff") | {
    chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_DROPPED: Final = ("Cc", "Cs", "Cn", "Co")  # control, half of a pair, unassigned, private


def clean_text(text: str, max_characters: int) -> tuple[str, bool]:
    """The text without control characters, in Unicode form C, and whether it was cut.

    White space becomes single blanks. A longer text is cut after `max_characters`, before a broken word
    where there is one. Only the beginning is read, so that the time does not grow with the length.
    """
    start = text[: 4 * max_characters]
    kept = "".join(
        " " if char.isspace() else char
        for char in start
        if char.isspace() or (unicodedata.category(char) not in _DROPPED and char not in _INVISIBLE)
    )
    words = " ".join(unicodedata.normalize("NFC", kept).split())
    was_cut = len(words) > max_characters or bool(text[len(start) :].strip())
    if len(words) > max_characters:
        whole, _, broken = words[: max_characters + 1].rpartition(" ")
        words = whole if whole and len(broken) < max_characters // 2 else words[:max_characters]
    return words, was_cut


def has_words(text: str) -> bool:
    """Whether the text has a letter or digit; emoji and punctuation are none."""
    return any(char.isalnum() for char in text)
