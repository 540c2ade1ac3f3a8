"""A plain text query to words, phrases and exclusions. Nothing in it is query syntax beyond these two forms:

    "a phrase"             in quotes (also “curly”, «angled» or full-width ones): these words in this order
    -word  -"a phrase"     items that have it are left out

A quote counts where it stands before a word and a later one behind a word, so the inches of `5" x 7"` are no
phrase. A hyphen counts at the beginning of a word, so `t-shirt` and `a - b` exclude nothing.
"""

import re
from dataclasses import dataclass
from typing import Final

from recsys.search.lexical.tokens import clean, split

MAX_WORDS: Final = 256
MAX_CHARACTERS: Final = 10_000
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
# An excluded or plain phrase, or an excluded word.
_MARKED: Final = re.compile(
    r'(?<!\S)(?P<minus>-?)"(?P<phrase>[^"]*)"(?=[\s.,;:!?)]|$)|(?<!\S)-(?P<word>[^\s"-]\S*)'
)


@dataclass(frozen=True, kw_only=True)
class WordQuery:
    """The words of a query as the user wrote them, in normal form NFKC.

    phrases and excluded hold words in their order; an excluded single word is a phrase of one word.
    """

    words: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[tuple[str, ...], ...] = ()
    positive: str = ""  # the text without its exclusions and quotes: the input of a text encoder
    prefix: bool = False  # the last of `words` may be unfinished
    num_ignored: int = 0  # words beyond the first 256, or beyond the first 10,000 characters

    @property
    def is_empty(self) -> bool:
        """Whether nothing is searched for; there may be exclusions."""
        return not self.words and not self.phrases


@dataclass(frozen=True, kw_only=True)
class WordStatistics:
    """The words of a query in the catalogue; zeros without words."""

    total_idf: float = 0.0  # sum of idf over the words and phrases, in nats
    mean_coverage: float = 0.0  # of all items; an item with an inexact word counts as having the best one
    num_items: int = 0  # that have words


def parse_words(text: str, *, prefix: bool = False) -> WordQuery:
    """The words, phrases and exclusions of a text. Every text is a query; none raises an error.

    `prefix`: the user is still typing, so the last word may be the beginning of a longer one. It is read as
    finished where anything, a space say, stands behind it.
    """
    shown = _CONTROL.sub(" ", clean(text[:MAX_CHARACTERS]).translate(_QUOTES))
    reader = _Reader()
    last = 0
    for marked in _MARKED.finditer(shown):
        reader.plain(shown[last : marked.start()])
        reader.marked(marked)
        last = marked.end()
    reader.plain(shown[last:])
    words = tuple(reader.words)
    return WordQuery(
        words=words,
        phrases=tuple(reader.phrases),
        excluded=tuple(reader.excluded),
        positive=" ".join("".join(reader.positive).split()),
        prefix=prefix and bool(words) and shown[last:].endswith(words[-1]),
        num_ignored=reader.num_ignored + len(text[MAX_CHARACTERS:].split()),
    )


class _Reader:
    """Collects the parts of a query, up to `MAX_WORDS` words."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.phrases: list[tuple[str, ...]] = []
        self.excluded: list[tuple[str, ...]] = []
        self.positive: list[str] = []
        self.num_ignored = self._num_read = 0

    def plain(self, text: str) -> None:
        """Read text outside of phrases and exclusions."""
        self.words += self._words(text)
        self.positive.append(text.replace('"', " "))

    def marked(self, found: re.Match[str]) -> None:
        """Read a phrase or an exclusion."""
        is_excluded = found["phrase"] is None or bool(found["minus"])
        text = found["word"] if found["phrase"] is None else found["phrase"]
        words = tuple(self._words(text))
        if is_excluded:
            self.excluded += [words] if words else []
            self.positive.append(" ")
        else:
            self.phrases += [words] if words else []
            self.positive.append(f" {text} ")

    def _words(self, text: str) -> list[str]:
        words = split(text)
        left = words[: MAX_WORDS - self._num_read]
        self._num_read += len(left)
        self.num_ignored += len(words) - len(left)
        return left
