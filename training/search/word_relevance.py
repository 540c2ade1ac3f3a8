"""Relevance of short texts, which are judged word by word, from words that the catalogue does not have.

Queries without an answer are made of words of other domains that no item has: each alone, each with a word of
a drawn item, and each with a word that many items have and that says most of a drawn one (a near miss, "mug
mortgage"); and of sentences of other domains. The value of an item is

    evidence for the words (`ItemWords.text_evidence`) + 0.5 cosine of the query and the item's nearest text

and the level of a query is the highest value of any candidate. The relevance of a candidate grows with its
value in units of the levels' standard deviation, and has the threshold where `empty_share` of the short
queries stay below. Of a text of more than three content words some may always be missing, so that its values
are lower: its threshold is midway between that and the level that as many of the sentences stay below.

Legend: Q queries, K candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.ids import NUM_RESERVED
from recsys.search import (
    LONG,
    MAX_SHORT_WORDS,
    WORDS,
    Calibration,
    ClauseScores,
    EncodedQuery,
    ItemWords,
    Searcher,
    parse_words,
    word_features,
)
from training.search.fusion_fit import RankedQuery
from training.search.known_item import kind_word
from training.search.no_answer import FOREIGN

Doubles = npt.NDArray[np.float64]
MIN_UNANSWERED: Final = 30
MIN_ANSWERS: Final = 30  # known answers of short queries, for the share that is lost
LEAST_EMPTY_SHARE: Final = 0.5  # a threshold that leaves more of the queries with results is of no use
COSINE: Final = "own:text"  # the feature of `recsys.search.features`
COSINE_WEIGHT: Final = 0.5
_LEAST_DEVIATION: Final = 0.02
_MARGIN: Final = 1e-3  # so that the query at the level is below it
_OF_ALL_WORDS: Final = 0.99  # evidence 1, less rounding errors


@dataclass(frozen=True, kw_only=True)
class WordRelevance:
    """The calibration, None where there is none, and the reason in words."""

    calibration: Calibration | None
    reason: str


def word_relevance(
    searcher: Searcher,
    encode: Callable[[str], EncodedQuery],
    answered: Sequence[RankedQuery] = (),
    *,
    threshold: float,
    empty_share: float = 0.95,
    max_lost: float = 0.1,
    seed: int = 0,
) -> WordRelevance:
    """The calibration of texts that are judged word by word; `threshold` is the relevance that ends a list.

    The threshold is lower where more than `max_lost` of the found answers of `answered` would fall below it,
    unless more than half of the queries without an answer would then have results: such texts are of another
    kind than what people type, as reviews are, and are ignored.
    """
    words = searcher.scorer.item_words
    if words is None:
        return WordRelevance(calibration=None, reason="")
    made = _levels(searcher, encode, unanswered_texts(words, searcher, np.random.default_rng(seed)))
    sentences = _levels(searcher, encode, FOREIGN)
    short_Q = np.concatenate([made[False], sentences[False]])
    if len(short_Q) < MIN_UNANSWERED:
        return WordRelevance(calibration=None, reason="no words of other domains to judge short texts by")
    answers = {is_long: _of_answers(answered, searcher.encoder_kinds, is_long) for is_long in sentences}
    short = _threshold(_least(short_Q, empty_share), short_Q, answers[False], max_lost)
    # A near miss in a sentence is below a near miss, since words are missing, and above another domain.
    long_Q = sentences[True] if len(sentences[True]) else short_Q
    between = (short.least + _least(long_Q, empty_share)) / 2
    long = _threshold(between, long_Q, answers[True], max_lost)
    reason = f"texts of few words, word by word: {short.reason}; of more words: {long.reason}"
    if short.empty < LEAST_EMPTY_SHARE:
        return WordRelevance(calibration=None, reason=f"{reason}; too few, so they are judged as a whole")
    scale = max(float(short_Q.std()), _LEAST_DEVIATION)
    offset = float(np.log(threshold / (1 - threshold)))
    calibration = Calibration(
        intercept=offset - short.least / scale,
        weights={
            WORDS: 1 / scale,
            COSINE: COSINE_WEIGHT / scale,
            LONG: max(short.least - long.least, 0.0) / scale,
        },
        missing={COSINE: 0.0},
    )
    return WordRelevance(calibration=calibration, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _Threshold:
    least: float  # value
    empty: float  # share of the queries without an answer
    reason: str


def _least(level_Q: Doubles, empty_share: float) -> float:
    """The value that `empty_share` of the levels stay below; at most that of an item that has all words."""
    return min(float(np.quantile(level_Q, empty_share, method="higher")) + _MARGIN, _OF_ALL_WORDS)


def _threshold(least: float, level_Q: Doubles, answer_A: Doubles, max_lost: float) -> _Threshold:
    """The value `least`, or less to keep the answers."""
    lost = ""
    if len(answer_A) >= MIN_ANSWERS:
        lower = min(least, float(np.quantile(answer_A, max_lost, method="lower")))
        is_of_use = (level_Q < lower).mean() >= LEAST_EMPTY_SHARE
        least = lower if is_of_use else least
        lost = f", {(answer_A < least).mean():.0%} of {len(answer_A)} found answers are lost"
        if not is_of_use:
            lost += f", since to keep {1 - max_lost:.0%} would fill most of these lists"
    empty = float((level_Q < least).mean())
    reason = (
        f"{empty:.0%} of {len(level_Q)} queries with a word that no item has end empty (value of at least "
        f"{least:.2f}){lost}"
    )
    return _Threshold(least=least, empty=empty, reason=reason)


def unanswered_texts(words: ItemWords, searcher: Searcher, rng: np.random.Generator) -> list[str]:
    """Words of other domains that no item has: each alone, with a word of a drawn item, as a near miss."""
    index = searcher.scorer.words
    assert index is not None, "items with words have an index of them"
    foreign = dict.fromkeys(word for each in FOREIGN for word in words.content_words(parse_words(each)))
    absent = [word for word in foreign if not len(index.search(parse_words(word), 1)[0])]
    items = NUM_RESERVED + np.flatnonzero(words.has_words(np.arange(NUM_RESERVED, searcher.scorer.num_items)))
    pairs, near = [], []
    for word in absent:
        own = words.words_of(int(rng.choice(items)))
        pairs.append(f"{own[int(rng.integers(len(own)))]} {word}")
        said = kind_word(int(rng.choice(items)), searcher)
        near += [] if said is None else [f"{said} {word}"]
    return [*absent, *pairs, *near]


def _levels(
    searcher: Searcher, encode: Callable[[str], EncodedQuery], texts: Sequence[str]
) -> dict[bool, Doubles]:
    """The highest value of any candidate for each short, and each long text, that is judged by its words."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for text in texts:
        scores = searcher.scorer.score(encode(text), searcher.settings.num_candidates, None)
        clause = scores.clauses[0]
        if clause.words_K is not None:
            value_K = _values(clause, searcher.encoder_kinds)
            known = value_K[~np.isnan(value_K)]
            highest = float(known.max()) if len(known) else 0.0
            found[clause.num_words > MAX_SHORT_WORDS].append(highest)
    return {is_long: np.array(each) for is_long, each in found.items()}


def _of_answers(answered: Sequence[RankedQuery], kinds: dict[str, str], is_long: bool) -> Doubles:
    """The values of all found answers of the short or the long queries that are judged word by word."""
    found = [np.empty(0)]
    for each in answered:
        if each.clause.words_K is not None and (each.clause.num_words > MAX_SHORT_WORDS) == is_long:
            found.append(_values(each.clause, kinds)[each.answers])
    values = np.concatenate(found)
    return values[~np.isnan(values)]


def _values(clause: ClauseScores, kinds: dict[str, str]) -> Doubles:
    """The values of the candidates of a clause that is judged word by word [K], NaN without words."""
    found = word_features(clause, kinds)
    cosine_K = found.get(COSINE, np.zeros(len(found[WORDS])))
    value_K: Doubles = found[WORDS] + COSINE_WEIGHT * np.nan_to_num(cosine_K)
    return value_K
