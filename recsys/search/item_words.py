"""Words of the items with their vectors: how well an item covers a text whose words it need not have.

The evidence that item i covers the text q with the content words q_1 to q_n is a harmonic mean, so that a
word that is not covered counts more than those that are:

    e(q, i) = sum over j of w_j / sum over j of w_j / max(e(q_j, i), 0.02)      w_j = max(cos(q, q_j), 0.02)^2

The weight of a word is the squared cosine between its vector and that of the text, because the words that a
text is about are near to it: "mug" and "jazz" in "a mug for our friend who loves jazz".

The evidence that item i covers word q_j, from the set W_i of the item's words:

    e(q_j, i) = (a + max(b, a - 0.35)) / 2     a, b the two highest cos(f(v_q), f(v_w)) over w in W_i
    f(v) = v - m - sum over j of u_j u_j' (v - m)

with v the text encoder's unit vectors of single words, m the mean of the vectors of all words of the
catalogue and u_j their first D / 100 principal components (Mu and Viswanath 2018, "All-but-the-top"): the
vectors of all words have much in common, which says nothing about their meaning. One near word may be chance,
so a second one counts; without it a synonym is enough, but no word that is merely near.

    words/words.json       {"words": [V words], "languages": [of the stop words]}
    words/vectors.npy      float16 [V, D], unit rows
    words/common.npy       float32 [1 + J, D]: m, then u_j
    words/offsets.npy      int64 [N + 1]
    words/ids.npy          int32: the words of item i are ids[offsets[i]:offsets[i + 1]]

Legend: V words of the catalogue, Q words of a query, N items, K items of a question, D width.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Self, get_args

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.errors import BundleError, RequestError
from recsys.search.legs import WordIndex
from recsys.search.lexical.documents import PARTS, Document, text_of, words_in
from recsys.search.lexical.settings import Language
from recsys.search.lexical.stemming import Stemmer, script_of
from recsys.search.lexical.tokens import is_segmented
from recsys.search.lexical.words import WordQuery

MAX_VOCABULARY: Final = 20_000  # the words that most items have; others count where a query has them exactly
MAX_CONTENT_WORDS: Final = 8  # of a query that is judged word by word
MAX_SHORT_WORDS: Final = 3  # content words; an item need not cover every word of a longer query
_WORDS, _ARRAYS = "words.json", ("vectors", "common", "offsets", "ids")
# Where no encoder tells which words are whole, an inexact match of a long word is most likely a misspelling,
# of a short one another word: tent, text.
_MIN_LETTERS_INEXACT: Final = 8
_MIN_STRENGTH_INEXACT: Final = 0.5
_INEXACT_EVIDENCE: Final = 0.75
_MIN_SCRIPT_SHARE: Final = 0.25  # of the catalogue's words, in the script of a query
_MAX_GAP: Final = 0.35  # between the nearest word and the second one
_LEAST: Final = 0.02  # of the evidence of a word, and of its cosine with the text
_WEIGHT_POWER: Final = 2
_REMEDY: Final = "copy or make the bundle again"
_COMMON_SHARE: Final = 100  # a component for so many dimensions, and for so many words
# Words of requests and pronouns, which the short English list of the stemmer lacks.
_REQUESTS: Final = frozenset({
    "about", "all", "also", "am", "any", "anything", "been", "best", "can", "could", "did", "do", "does",
    "else", "find", "from", "get", "give", "had", "has", "have", "he", "her", "here", "him", "his", "how",
    "i", "just", "like", "looking", "me", "mine", "more", "most", "my", "need", "one", "or", "our",
    "please", "really", "search", "see", "she", "show", "so", "some", "somebody", "someone", "something",
    "that's", "thing", "things", "too", "us", "very", "want", "we", "were", "what", "when", "where",
    "which", "who", "whom", "why", "would", "you", "your",
})  # fmt: skip


class ItemWords:
    """The words of all items, for evidence of single words. Safe to use from many threads."""

    def __init__(
        self,
        words: Sequence[str],
        vectors: npt.NDArray[np.float16],
        common: Floats,
        offsets: Ints,
        ids: npt.NDArray[np.int32],
        languages: Sequence[Language],
    ) -> None:
        self.words, self.vectors, self.common = tuple(words), vectors, common
        self.offsets, self.ids = offsets, ids
        self.languages = tuple(languages)
        self._stemmer = Stemmer(self.languages)

    @classmethod
    def of(
        cls,
        documents: Iterable[Document],
        num_items: int,
        encode: Callable[[Sequence[str]], Floats],
        languages: Sequence[Language],
    ) -> Self:
        """The words of `documents`. `num_items` is N, the two reserved rows included.

        `encode` gives the vectors [V, D] of words; stop words of `languages` are left out.
        """
        stemmer = Stemmer(languages)
        words_of = {
            each.item: sorted(
                word
                for word in {word for part in PARTS for word in words_in(text_of(each, part))}
                if _is_content(word, stemmer)
            )
            for each in documents
        }
        counts = Counter(word for words in words_of.values() for word in words)
        kept = sorted(counts, key=lambda word: (-counts[word], word))[:MAX_VOCABULARY]
        id_of = {word: at for at, word in enumerate(sorted(kept))}
        rows = [
            [id_of[word] for word in words_of.get(item, ()) if word in id_of] for item in range(num_items)
        ]
        vectors_VD = unit(encode(list(id_of))) if id_of else np.zeros((0, 1), np.float32)
        return cls(
            words=list(id_of),
            vectors=vectors_VD.astype(np.float16),
            common=_common(vectors_VD),
            offsets=np.cumsum([0, *map(len, rows)]).astype(np.int64),
            ids=np.array([at for row in rows for at in row], np.int32),
            languages=languages,
        )

    def over(
        self,
        documents: Mapping[int, Document],
        num_items: int,
        encode: Callable[[Sequence[str]], Floats],
    ) -> Self:
        """A copy for a catalogue of `num_items` rows in which `documents` are those of some items.

        Other items keep their words. Every new word is kept, whatever its frequency; what all words have in
        common is not computed again. `encode` gives the vectors [V, D] of new words.
        """
        words_of = {
            item: sorted(
                word
                for word in {word for part in PARTS for word in words_in(text_of(each, part))}
                if _is_content(word, self._stemmer)
            )
            for item, each in documents.items()
        }
        id_of = {word: at for at, word in enumerate(self.words)}
        new = sorted({word for words in words_of.values() for word in words} - id_of.keys())
        id_of |= {word: at for at, word in enumerate(new, len(id_of))}
        vectors = np.asarray(self.vectors)
        if new:
            made = unit(encode(new)).astype(np.float16)
            vectors = np.concatenate([vectors, made]) if len(vectors) else made
        rows = [np.array([id_of[word] for word in words], np.int32) for words in words_of.values()]
        offsets, ids = _with_rows(self.offsets, self.ids, dict(zip(words_of, rows, strict=True)), num_items)
        common = self.common if len(self.words) else _common(vectors.astype(np.float32))
        words = [*self.words, *new]
        return type(self)(words, vectors, common, offsets, ids, self.languages)

    def content_words(self, query: WordQuery) -> tuple[str, ...]:
        """The words of the query and its phrases in lower case, each once, without stop words."""
        every = [*query.words, *(word for phrase in query.phrases for word in phrase)]
        words = dict.fromkeys(word.casefold() for word in every)
        return tuple(word for word in words if word.isdigit() or _is_content(word, self._stemmer))

    def words_of(self, item: int) -> tuple[str, ...]:
        """The words of one item."""
        return tuple(self.words[at] for at in self.ids[self.offsets[item] : self.offsets[item + 1]].tolist())

    @cached_property
    def counts(self) -> Ints:
        """How many items have each of `words`. Shape [V]."""
        return np.bincount(self.ids, minlength=len(self.words)).astype(np.int64)

    def nearest_word(self, item: int, text_D: Floats, among_V: Bools) -> str | None:
        """The word of the item, of those in `among_V` [V], that is nearest to a text; None without one."""
        own = self.ids[self.offsets[item] : self.offsets[item + 1]]
        kept = own[among_V[own]]
        if not len(kept):
            return None
        cosine = self.vectors[kept].astype(np.float32) @ text_D
        return self.words[int(kept[int(cosine.argmax())])]

    def near_words(self, word: str, num: int) -> list[str]:
        """The `num` other words of the catalogue with the nearest vectors, nearest first."""
        at = bisect_left(self.words, word)
        cosine_V = self._specific_VD @ self._specific_VD[at]
        nearest = np.argsort(-cosine_V, kind="stable")
        return [self.words[near] for near in nearest[nearest != at][:num].tolist()]

    def has_words(self, items: Ints) -> Bools:
        """Whether each of `items` has any word. Shape [K]."""
        found: Bools = self.offsets[items + 1] > self.offsets[items]
        return found

    def evidence(self, vectors_QD: Floats, items: Ints) -> Floats:
        """e(q, i) of each query vector and each of `items`, 0 for an item without words. Shape [Q, K].

        Raises `RequestError` for vectors of another width than the words'.
        """
        found = np.zeros((len(vectors_QD), len(items)), np.float32)
        if not len(self.words) or not len(items):
            return found
        if vectors_QD.shape[1] != self.vectors.shape[1]:
            wanted = self.vectors.shape[1]
            raise RequestError("vectors", f"a word's vector has {vectors_QD.shape[1]} numbers, not {wanted}")
        start_K, length_K = self.offsets[items], self.offsets[items + 1] - self.offsets[items]
        known = np.flatnonzero(length_K)
        length_J = length_K[known]
        first_J = np.cumsum(length_J) - length_J  # where each item's words begin among those of all items
        place = np.repeat(start_K[known] - first_J, length_J) + np.arange(length_J.sum())
        own = self.ids[place]
        for at, vector_D in enumerate(_specific(vectors_QD, self.common)):
            cosine_V = self._specific_VD @ vector_D
            found[at, known] = _of_two_best(cosine_V[own], first_J, length_J)
        return found

    def text_evidence(
        self,
        query: WordQuery,
        vectors: Mapping[str, Floats],
        text_D: Floats | None,
        index: WordIndex,
        items: Ints,
        whole: frozenset[str] | None = None,
    ) -> Floats | None:
        """The evidence e(q, i) of the query for each of `items`, NaN for an item without words. Shape [K].

        `vectors` are those of the words, `text_D` that of the whole text; without it all words weigh the
        same. The evidence of a word that the item has, by `index`, is 1. That of an inexact match is 0.75,
        unless the word is in `whole`, those that are not misspelled.

        None for a query that is not judged word by word: with no content word or more than
        `MAX_CONTENT_WORDS`, where `vectors` lack one, and in a script that few words of the catalogue have,
        since words of two languages are less similar.
        """
        content = self.content_words(query)
        if not 1 <= len(content) <= MAX_CONTENT_WORDS or not vectors.keys() >= set(content):
            return None
        if any(self._script_share.get(script_of(word), 0.0) < _MIN_SCRIPT_SHARE for word in content):
            return None
        vectors_QD = np.stack([vectors[word] for word in content])
        strengths = index.strengths(WordQuery(words=content), items)
        if len(strengths) < len(content):  # the index leaves common words out of a longer query
            strengths = np.stack([index.strengths(WordQuery(words=(word,)), items)[0] for word in content])
        evidence_QK = np.stack(
            [
                _with_exact(word, strength_K, near_K, whole)
                for word, strength_K, near_K in zip(
                    content, strengths, self.evidence(vectors_QD, items), strict=True
                )
            ]
        )
        mean_K = _harmonic_mean(evidence_QK, _word_weights(vectors_QD, text_D))
        found: Floats = np.where(self.has_words(items), mean_K, np.float32(np.nan))
        return found

    @cached_property
    def _script_share(self) -> Mapping[str, float]:
        """The share of the words that have a script."""
        counts = Counter(script_of(word) for word in self.words)
        return {script: count / len(self.words) for script, count in counts.items()}

    @cached_property
    def _specific_VD(self) -> Floats:
        return _specific(self.vectors.astype(np.float32), self.common)

    def save(self, directory: Path) -> None:
        """Write the files into `directory`, which is made where missing."""
        directory.mkdir(parents=True, exist_ok=True)
        described = {"words": self.words, "languages": self.languages}
        (directory / _WORDS).write_text(json.dumps(described, ensure_ascii=False) + "\n", "utf-8")
        for name in _ARRAYS:
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def open(cls, directory: Path, num_items: int) -> Self:
        """The words saved in `directory`. Raises `BundleError` for files that are damaged or do not fit."""
        try:
            described = json.loads((directory / _WORDS).read_text("utf-8"))
            words, languages = described["words"], described["languages"]
            vectors, common, offsets, ids = (
                np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
            )
            fits = len(vectors) == len(words) and vectors.shape[1] == common.shape[1]
            fits = fits and len(offsets) == num_items + 1 and offsets[-1] == len(ids)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            first_line = str(error).partition("\n")[0]
            raise BundleError(
                f"{directory}: cannot be read: {first_line}; copy or make the bundle again"
            ) from None
        if not fits or not set(languages) <= set(get_args(Language)):
            raise BundleError(f"{directory}: its files do not fit together; copy or make the bundle again")
        return cls(words, vectors, np.asarray(common), np.asarray(offsets), ids, languages)


def _common(vectors_VD: Floats) -> Floats:
    """The mean of the vectors and their first principal components. Shape [1 + J, D].

    Few words have fewer components, so that these do not take the meaning of single words away.
    """
    num = min(vectors_VD.shape[1], len(vectors_VD)) // _COMMON_SHARE
    mean_D = vectors_VD.sum(axis=0) / max(len(vectors_VD), 1)
    centered_VD = (vectors_VD - mean_D).astype(np.float64)
    _, component_DD = np.linalg.eigh(centered_VD.T @ centered_VD)  # by ascending variance
    return np.concatenate([mean_D[None], component_DD.T[::-1][:num]]).astype(np.float32)


def _specific(vectors_BD: Floats, common: Floats) -> Floats:
    """The unit vectors without what words have in common, at unit length again. Shape [B, D]."""
    rest_BD = unit(vectors_BD) - common[0]
    return unit((rest_BD - rest_BD @ common[1:].T @ common[1:]).astype(np.float32))


def _of_two_best(values: Floats, first_J: Ints, length_J: Ints) -> Floats:
    """(a + max(b, a - 0.35)) / 2 of the two highest values of each run; a of a run of one. Shape [J]."""
    best_J = np.maximum.reduceat(values, first_J)
    run = np.repeat(np.arange(len(first_J)), length_J)
    is_best = np.flatnonzero(values == best_J[run])
    _, once = np.unique(run[is_best], return_index=True)
    rest = values.copy()
    rest[is_best[once]] = -np.inf
    second_J = np.maximum.reduceat(rest, first_J)
    second_J = np.where(length_J > 1, np.maximum(second_J, best_J - _MAX_GAP), best_J)
    return ((best_J + second_J) / 2).astype(np.float32)


def _with_exact(word: str, strength_K: Floats, near_K: Floats, whole: frozenset[str] | None) -> Floats:
    """Evidence of one word from its lexical match and from the near words of each item. Shape [K]."""
    meant_K = np.zeros_like(near_K) if word.isdigit() else near_K
    if whole is None:
        is_misspelled_K = (strength_K >= _MIN_STRENGTH_INEXACT) & (len(word) >= _MIN_LETTERS_INEXACT)
    else:
        is_misspelled_K = (strength_K > 0) & (word not in whole) & (not is_segmented(word))
    meant_K = np.maximum(meant_K, np.where(is_misspelled_K, np.float32(_INEXACT_EVIDENCE), meant_K))
    return np.where(strength_K >= 1, np.float32(1), meant_K)


def _word_weights(vectors_QD: Floats, text_D: Floats | None) -> Floats:
    """max(cos(q, q_j), 0.02)^2 of each word, 1 without the vector of the text. Shape [Q]."""
    if text_D is None:
        return np.ones(len(vectors_QD), np.float32)
    cosine_Q: Floats = unit(vectors_QD) @ unit(text_D)
    weight_Q: Floats = np.maximum(cosine_Q, _LEAST) ** _WEIGHT_POWER
    return weight_Q


def _harmonic_mean(evidence_QK: Floats, weight_Q: Floats) -> Floats:
    """The weighted harmonic mean over the words, with evidence of at least 0.02. Shape [K]."""
    mean_K: Floats = weight_Q.sum() / (weight_Q @ (1 / np.maximum(evidence_QK, _LEAST)))
    return mean_K.astype(np.float32)


def _with_rows(
    offsets: Ints, ids: npt.NDArray[np.int32], rows: Mapping[int, npt.NDArray[np.int32]], num_items: int
) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Lists of ids, with `rows` in place of those of some items; items from the last on have none."""
    ends = np.concatenate([offsets, np.full(num_items + 1 - len(offsets), offsets[-1])])
    parts, last = [], 0
    length = np.diff(ends)
    for item in sorted(rows):
        parts += [ids[ends[last] : ends[item]], rows[item]]
        length[item], last = len(rows[item]), item + 1
    parts.append(ids[ends[last] :])
    return np.concatenate([[0], np.cumsum(length)]).astype(np.int64), np.concatenate(parts)


def _is_content(word: str, stemmer: Stemmer) -> bool:
    """Whether the word says what is sought or sold: no stop word, no single letter, no number."""
    is_letter = len(word) == 1 and word.isascii()
    return not (is_letter or word.isdigit() or word in _REQUESTS or stemmer.is_stop_word(word))
