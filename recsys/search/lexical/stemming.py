"""Words to stems, by language. Chinese, Japanese and other scripts without a stemmer stay as they are."""

from collections.abc import Iterable, Sequence
from typing import Final

import tantivy

from recsys.search.lexical.settings import WITHOUT_STOP_WORDS, Language
from recsys.search.lexical.tokens import fold, parts

_MAX_CACHED: Final = 500_000  # words per language; the cache of a server must not grow without limit
_LATIN: Final = "latin"
# First and last character of a script with a stemmer.
_SCRIPTS: Final = (
    ("latin", 0x0000, 0x024F), ("greek", 0x0370, 0x03FF), ("cyrillic", 0x0400, 0x052F),
    ("arabic", 0x0600, 0x06FF), ("tamil", 0x0B80, 0x0BFF), ("latin", 0x1E00, 0x1EFF),
    ("greek", 0x1F00, 0x1FFF),
)  # fmt: skip
_SCRIPT_OF: Final = {"greek": "greek", "russian": "cyrillic", "arabic": "arabic", "tamil": "tamil"}


class Stemmer:
    """Stems of words in several languages; all stems are folded."""

    def __init__(self, languages: Sequence[Language]) -> None:
        self._by_script: dict[str, list[Language]] = {}
        for language in dict.fromkeys(languages):
            self._by_script.setdefault(_SCRIPT_OF.get(language, _LATIN), []).append(language)
        self._stemmers = {language: _analyzer(tantivy.Filter.stemmer(language)) for language in languages}
        self._stop_words = {
            language: _analyzer(tantivy.Filter.stopword(language))
            for language in languages
            if language not in WITHOUT_STOP_WORDS
        }
        self._chosen: dict[tuple[Language, ...], DocumentStemmer] = {}
        self._stem_of: dict[Language, dict[str, str]] = {language: {} for language in languages}

    def of_document(self, words: Sequence[str]) -> "DocumentStemmer":
        """The stemmer of a document with these words: in each script, the likeliest language."""
        return self._of(
            {
                script: languages[0] if len(languages) == 1 else self._likeliest(languages, words)
                for script, languages in self._by_script.items()
            }
        )

    def all_stems(self, word: str) -> list[str]:
        """The stems of a word in all languages of its script, each once."""
        languages = self._by_script.get(script_of(word), [])
        if not languages:
            return [fold(word)]
        return list(dict.fromkeys(self.stems([word], language)[0] for language in languages))

    def for_each_language(self) -> list["DocumentStemmer"]:
        """Stemmers that together try every language; just one where each script has one language."""
        depth = max((len(languages) for languages in self._by_script.values()), default=1)
        return [
            self._of({script: of[min(at, len(of) - 1)] for script, of in self._by_script.items()})
            for at in range(depth)
        ]

    def stems(self, words: Iterable[str], language: Language) -> list[str]:
        """The stem of each word, in one language."""
        known = self._stem_of[language]
        if len(known) > _MAX_CACHED:  # other threads may be reading the former one
            known = self._stem_of[language] = {}
        words = list(words)
        if new := list(dict.fromkeys(word for word in words if word not in known)):
            # Snowball's rules for English know no accents, those for other languages do.
            asked = [fold(word) if language == "english" else word.casefold() for word in new]
            found = self._stemmers[language].analyze(" ".join(asked))
            assert len(found) == len(new), "a word has one stem"
            known |= dict(zip(new, map(fold, found), strict=True))
        return [known[word] for word in words]

    def is_stop_word(self, word: str) -> bool:
        """Whether the word is too common, in a language of its script, to be suggested."""
        languages = self._by_script.get(script_of(word), [])
        lists = [self._stop_words[language] for language in languages if language in self._stop_words]
        return any(not words.analyze(word) for words in lists)

    def _of(self, language_of: dict[str, Language]) -> "DocumentStemmer":
        return self._chosen.setdefault(tuple(language_of.values()), DocumentStemmer(language_of, self))

    def _likeliest(self, languages: Sequence[Language], words: Sequence[str]) -> Language:
        """The language with most stop words among the words, the first one on a tie."""
        text = " ".join(words)
        left = {language: len(known.analyze(text)) for language, known in self._stop_words.items()}
        return min(languages, key=lambda language: left.get(language, len(words)))


class DocumentStemmer:
    """One language per script, for the words of one document."""

    def __init__(self, language_of: dict[str, Language], stemmer: Stemmer) -> None:
        self._language_of, self._stemmer = language_of, stemmer
        self._terms_of: dict[str, str] = {}

    def terms(self, words: Sequence[str]) -> str:
        """The indexed terms of words in lower case, separated by spaces: each stem, then the word's parts."""
        known = self._terms_of
        new = set(words).difference(known)
        if len(known) + len(new) > _MAX_CACHED:  # other threads may be reading the former one
            known = self._terms_of = {}
            new = set(words)
        if new:
            known |= self._new_terms(new)
        return " ".join([known[word] for word in words])

    def _new_terms(self, words: set[str]) -> dict[str, str]:
        by_script: dict[str, list[str]] = {}
        for word in words:
            by_script.setdefault(script_of(word), []).append(word)
        found: dict[str, str] = {}
        for script, own in by_script.items():
            language = self._language_of.get(script)
            stems = self._stemmer.stems(own, language) if language else map(fold, own)
            found |= {word: " ".join([stem, *parts(word)]) for word, stem in zip(own, stems, strict=True)}
        return found


def script_of(word: str) -> str:
    """The script of a word by its first character; "" for one without a stemmer."""
    if word.isascii():
        return _LATIN
    code = ord(word[0])
    return next((name for name, first, last in _SCRIPTS if first <= code <= last), "")


def _analyzer(last: tantivy.Filter) -> tantivy.TextAnalyzer:
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).filter(last).build()
