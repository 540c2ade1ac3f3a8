"""Text to words: normal form, segmentation, folding.

    clean     NFKC (full-width and half-width forms become one), without marks that only affect the display
    split     clean text to words; ICU segments scripts that are written without spaces
    fold      a word without case, accents and optional vowel signs

The same text gives the same words in a document and in a query, except that ICU may segment a word
differently beside other characters.
"""

import re
import unicodedata
from functools import cache
from typing import Final

from icu4py.breakers import WordBreaker

MAX_WORD: Final = 60  # characters; the rest of a longer word is ignored, in documents and queries alike
_POSSESSIVE: Final = r"(?:'[sS](?!\w))?"
_ASCII_WORD: Final = re.compile(rf"(\w+){_POSSESSIVE}", re.ASCII)
_INVISIBLE: Final = re.compile("[\u00ad\u200c\u200d\u2060\ufeff]+")  # soft hyphen, joiners, byte order mark
_SURROGATE: Final = re.compile("[\ud800-\udfff]+")
_HAN: Final = "々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA: Final = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
_WITHOUT_SPACES: Final = (
    _HAN + _KANA + "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)  # and Thai, Lao, Burmese, Khmer
_SEGMENTED: Final = re.compile(f"[{_WITHOUT_SPACES}]")
_LONG_HAN: Final = re.compile(f"[{_HAN}]{{3,}}")
# Marks that `fold` removes: accents, Hebrew points, Arabic vowel signs and the Arabic stretching character.
_FOLDED_MARKS: Final = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]+")
# Letters that Unicode does not decompose.
_LETTERS: Final = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ŧ": "t"}
)


def clean(text: str) -> str:
    """The text in normal form NFKC, without invisible characters; a lone surrogate becomes a space."""
    if text.isascii():
        return text
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", _SURROGATE.sub(" ", text)))


def split(text: str) -> list[str]:
    """Words of a clean text as they are written, in order; those of scripts without spaces by ICU.

    A word is a run of letters, digits and their marks. The ending 's is dropped. Emoji are no words.
    """
    words = _raw_words(text)
    if not text.isascii() and _SEGMENTED.search(text):
        words = [part for word in words for part in _segment(word)]
    if max(map(len, words), default=0) > MAX_WORD:
        words = [word[:MAX_WORD] for word in words]
    return words


def fold(word: str) -> str:
    """The word without case, accents, and Hebrew and Arabic vowel signs; ß is ss, æ is ae."""
    word = word.casefold()
    if word.isascii():
        return word
    bare = _FOLDED_MARKS.sub("", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFC", bare).translate(_LETTERS)


def fold_text(text: str) -> str:
    """The words of a text, folded, with one space where the text has anything else between two words.

    Scripts without spaces are not segmented: the beginning of a text gives the beginning of the result.
    """
    return fold(" ".join(_raw_words(clean(text))))


def parts(word: str) -> list[str]:
    """Pairs of neighbouring characters of a Chinese or Japanese word of three characters or more, else none.

    A document is indexed with the parts too, so that 登山 finds 登山鞋, which ICU keeps whole.
    """
    if word.isascii() or not _LONG_HAN.fullmatch(word):
        return []
    return [word[at : at + 2] for at in range(len(word) - 1)]


def is_segmented(word: str) -> bool:
    """Whether the word has a character of a script that is written without spaces."""
    return not word.isascii() and _SEGMENTED.search(word) is not None


def _raw_words(text: str) -> list[str]:
    """Runs of letters and digits with their marks, without an 's after them."""
    pattern = _ASCII_WORD if text.isascii() else _word_pattern()
    found: list[str] = pattern.findall(text.replace("’", "'").replace("_", " "))
    return found


def _segment(word: str) -> list[str]:
    """Parts of a run of characters, by ICU's dictionaries, where it has a script without spaces."""
    if not is_segmented(word):
        return [word]
    return [part for part in WordBreaker(word, "zh") if any(map(str.isalnum, part))]


@cache
def _word_pattern() -> re.Pattern[str]:
    """A group of letters and digits with their marks, and an 's behind the group.

    `re` does not count vowel signs (of Hindi or Thai, say) among the letters, so they are added.
    """
    marks = "".join(
        re.escape(char) for char in map(chr, range(0x300, 0x3100)) if unicodedata.category(char)[0] == "M"
    )
    return re.compile(rf"(\w[\w{marks}]*){_POSSESSIVE}")
