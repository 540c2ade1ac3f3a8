"""Documents for tests of the lexical index, and a slow BM25."""

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from recsys.search import Document, LexicalIndex, LexicalSettings, parse_words

WORDS = [
    f"{first}{second}" for first in ("ba", "ce", "di", "fo", "gu") for second in ("lm", "nt", "rk", "st")
]

SYNTAX = [
    "AND", "OR", "NOT", "(", ")", ":", "^", "~", "*", '"', "-", "+", "title:", "[a TO z]", "{", "}", "\\",
    "/re/", "word~2", "a^3", '-"', "--", "&&", "||", "!", "IN", "_", "'", "'s",
]  # fmt: skip
ODD = [
    "😀", "👩‍👩‍👧", "👍🏽", "שָׁלוֹם", "مرحبا", "\u202e", "\u200f", "\x00", "\x07", "\n", "\t",
    "\ud800", "\udfff",
    "ﬁ", "Ａ", "ｱﾊﾟｰﾄ", "登山鞋", "赤い", "สวัสดี", "हिन्दी", "é", "e\u0301", "\u00ad", "\ufeff", "\U0010ffff",
    "red", "shoe", "x" * 200, " ", "  ",
]  # fmt: skip


def index_of(*titles: str, **settings: object) -> LexicalIndex:
    """An index of items 2, 3, ... with these titles."""
    documents = [Document(item=item, title=title) for item, title in enumerate(titles, 2)]
    return LexicalIndex.build(documents, LexicalSettings.model_validate(settings))


def found(index: LexicalIndex, text: str, *, k: int = 100, prefix: bool = False) -> list[int]:
    """Items that the index finds for a text, best first."""
    return index.search(parse_words(text, prefix=prefix), k)[0].tolist()


def random_titles(seed: int, num_items: int) -> list[str]:
    """Titles of 1 to 6 words out of 20."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(1, 6))) for _ in range(num_items)]


def bm25(
    words: Iterable[str],
    texts: Mapping[int, Sequence[str]],
    boosted: Sequence[tuple[float, Mapping[int, Sequence[str]]]] = (),
    *,
    idf_power: float = LexicalSettings().idf_power,
) -> dict[int, float]:
    """BM25 of each text that has one of the words, k1 = 1.2, b = 0.75 (Robertson and Zaragoza 2009).

    sum over words of idf^p max over fields of w tf (k1 + 1) / (tf + k1 (1 - b + b length / mean length)),
    idf = ln(1 + (N - n + 1/2) / (n + 1/2)), n of N texts have the word. w is 1 for the whole text; `boosted`
    has the weight and the words of other fields. In BM25 p is 1.
    """
    scores: Counter[int] = Counter()
    for word in dict.fromkeys(words):
        num_having = sum(word in text for text in texts.values())
        idf = math.log(1 + (len(texts) - num_having + 0.5) / (num_having + 0.5))
        for item in texts:
            best = max(weight * _saturated(word, item, field) for weight, field in ((1.0, texts), *boosted))
            if best:
                scores[item] += idf**idf_power * best
    return dict(scores)


def _saturated(word: str, item: int, texts: Mapping[int, Sequence[str]]) -> float:
    k1, b = 1.2, 0.75
    mean_length = sum(map(len, texts.values())) / len(texts)
    tf = texts[item].count(word)
    return tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(texts[item]) / mean_length)) if tf else 0.0


def random_text(generator: random.Random) -> str:
    """A text of syntax, odd characters, words and arbitrary code points."""
    pieces = []
    for _ in range(generator.randint(0, 12)):
        source = generator.random()
        if source < 0.8:
            pieces.append(generator.choice(SYNTAX if source < 0.4 else ODD))
        else:
            pieces.append("".join(chr(generator.randrange(0x110000)) for _ in range(generator.randint(1, 5))))
    return generator.choice(["", " "]).join(pieces)
