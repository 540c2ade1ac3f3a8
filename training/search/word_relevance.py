"""Relevance of short texts, which are judged word by word, from words that the catalogue does not have.

Queries without an answer are made of words of other domains that no item has: each alone, and each with a
word of a drawn item. Their level is the highest evidence of all their words that any candidate reaches. The
relevance of a candidate grows with its evidence in units of the levels' standard deviation, and has the
threshold where `empty_share` of these queries stay below.

Legend: Q queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.arrays import Floats
from recsys.ids import NUM_RESERVED
from recsys.search import WORDS, Calibration, EncodedQuery, ItemWords, Searcher, parse_words
from training.search.fusion_fit import RankedQuery
from training.search.no_answer import FOREIGN

MIN_UNANSWERED: Final = 30
MIN_ANSWERS: Final = 30  # known answers of short queries, for the share that is lost
LEAST_EMPTY_SHARE: Final = 0.5  # a threshold that leaves more of the queries with results is of no use
_LEAST_DEVIATION: Final = 0.02
_MARGIN: Final = 1e-3  # so that the query at the level is below it


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

    The threshold is lower where more than `max_lost` of the found answers of `answered` would fall below it.
    """
    words = searcher.scorer.item_words
    if words is None:
        return WordRelevance(calibration=None, reason="")
    queries = unanswered_texts(words, searcher, np.random.default_rng(seed))
    level_Q = np.array([_highest(searcher, encode(each)) for each in queries])
    level_Q = level_Q[~np.isnan(level_Q)]
    if len(level_Q) < MIN_UNANSWERED:
        return WordRelevance(calibration=None, reason="no words of other domains to judge short texts by")
    wanted = float(np.quantile(level_Q, empty_share, method="higher")) + _MARGIN
    answer_A = _of_answers(answered)
    least, lost = wanted, ""
    if len(answer_A) >= MIN_ANSWERS:
        least = min(wanted, float(np.quantile(answer_A, max_lost, method="lower")))
        lost = f", {(answer_A < least).mean():.0%} of {len(answer_A)} found answers are lost"
    empty = float((level_Q < least).mean())
    reason = (
        f"texts of few words, word by word: {empty:.0%} of {len(level_Q)} queries with a word that no item "
        f"has end empty (evidence of at least {least:.2f}){lost}"
    )
    if empty < LEAST_EMPTY_SHARE:
        return WordRelevance(calibration=None, reason=f"{reason}; too few, so they are judged as a whole")
    scale = max(float(level_Q.std()), _LEAST_DEVIATION)
    offset = float(np.log(threshold / (1 - threshold)))
    calibration = Calibration(intercept=offset - least / scale, weights={WORDS: 1 / scale})
    return WordRelevance(calibration=calibration, reason=reason)


def unanswered_texts(words: ItemWords, searcher: Searcher, rng: np.random.Generator) -> list[str]:
    """Words of other domains that no item has, each alone and with a word of a drawn item."""
    index = searcher.scorer.words
    assert index is not None, "items with words have an index of them"
    foreign = dict.fromkeys(word for each in FOREIGN for word in words.content_words(parse_words(each)))
    absent = [word for word in foreign if not len(index.search(parse_words(word), 1)[0])]
    items = NUM_RESERVED + np.flatnonzero(words.has_words(np.arange(NUM_RESERVED, searcher.scorer.num_items)))
    pairs = []
    for word in absent:
        own = words.words_of(int(rng.choice(items)))
        pairs.append(f"{own[int(rng.integers(len(own)))]} {word}")
    return [*absent, *pairs]


def _highest(searcher: Searcher, query: EncodedQuery) -> float:
    """The highest evidence of any candidate, NaN where the query is not judged word by word."""
    scores = searcher.scorer.score(query, searcher.settings.num_candidates, None)
    words_K = scores.clauses[0].words_K
    if words_K is None:
        return float("nan")
    known = words_K[~np.isnan(words_K)]
    return float(known.max()) if len(known) else 0.0


def _of_answers(answered: Sequence[RankedQuery]) -> Floats:
    """The evidence of all found answers of queries that are judged word by word."""
    empty = np.empty(0, np.float32)
    found = [each.clause.words_K[each.answers] for each in answered if each.clause.words_K is not None]
    evidence: Floats = np.concatenate([empty, *found])
    return evidence[~np.isnan(evidence)]
