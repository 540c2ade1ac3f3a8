"""Relevance: a calibrated probability that an item answers the query, from absolute features.

Features of an item for one clause, the best over the legs:

    own:text, own:image, own:audio    cosine in the own space of the encoder
    shared                            cosine in the shared space
    coverage                          share of the clause's words that the item has

A text of few content words (`ItemWords`), alone in its query, has three features instead, so that an item is
relevant where it covers the words that the text is about, not where it is near in some of them:

    words                             the evidence for its content words
    own:text                          as above
    long                              1 with more than three content words, else 0

Of a text of more than eight content words an item has a smaller share by chance, so that it has a calibration
of its own.

Unlike z-scores, features do not depend on the other candidates, so that a query with no answer has low
values. Weights are not negative: relevance never falls where a feature rises. The logits of several clauses
of positive weight are averaged by their weights.

Legend: K candidates.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.search.item_words import MAX_CONTENT_WORDS, MAX_SHORT_WORDS
from recsys.search.scoring import ClauseScores, QueryScores
from recsys.search.settings import Calibration, SearchSettings

Doubles = npt.NDArray[np.float64]
COVERAGE: Final = "coverage"
SHARED: Final = "shared"
WORDS: Final = "words"
LONG: Final = "long"
_TEXTS: Final = ("text", "audio")  # kinds of clauses that have words


def features(clause: ClauseScores, kinds: dict[str, str]) -> dict[str, Doubles]:
    """Features of all candidates [K] by name, NaN where a candidate has none.

    `kinds` maps the name of a leg to the kind of its encoder.
    """
    found: dict[str, Doubles] = {}
    for name, leg in clause.legs.items():
        if leg.space not in ("own", "shared"):
            continue
        feature = SHARED if leg.space == "shared" else f"own:{kinds[name]}"
        value_K = np.where(leg.has_K, leg.score_K.astype(np.float64), np.nan)
        found[feature] = np.fmax(found.get(feature, np.full(len(value_K), np.nan)), value_K)
    if clause.coverage_K is not None:
        found[COVERAGE] = clause.coverage_K.astype(np.float64)
    return found


def word_features(clause: ClauseScores, kinds: dict[str, str]) -> dict[str, Doubles]:
    """Features of all candidates [K] of a clause that is judged word by word."""
    assert clause.words_K is not None, "the clause has evidence for its words"
    is_long = np.full(len(clause.words_K), float(clause.num_words > MAX_SHORT_WORDS))
    return features(clause, kinds) | {WORDS: clause.words_K.astype(np.float64), LONG: is_long}


def logits(calibration: Calibration, values: dict[str, Doubles], num: int) -> Doubles:
    """The logits of `num` candidates; a missing feature has the value of `calibration.missing`."""
    logit_K = np.full(num, calibration.intercept)
    for name, weight in calibration.weights.items():
        neutral = calibration.missing.get(name, 0.0)
        value_K = values.get(name, np.full(num, neutral))
        logit_K += weight * np.where(np.isnan(value_K), neutral, value_K)
    return logit_K


def relevance(scores: QueryScores, settings: SearchSettings, kinds: dict[str, str]) -> Doubles:
    """The relevance of each candidate in [0, 1]; 1 where no clause has a calibration. Shape [K]."""
    num = len(scores.items)
    total_K, weight = np.zeros(num), 0.0
    positive = [clause for clause in scores.clauses if clause.weight > 0]
    if len(positive) > 1:  # "like this, but red": a picture may show what no text says
        settings = settings.model_copy(update={"word_calibration": None})
    for clause in positive:
        logit_K = _clause_logits(clause, settings, kinds, num)
        if logit_K is not None:
            total_K += clause.weight * logit_K
            weight += clause.weight
    if weight == 0:
        return np.ones(num)
    return probability(total_K / weight)


def _clause_logits(
    clause: ClauseScores, settings: SearchSettings, kinds: dict[str, str], num: int
) -> Doubles | None:
    """The logits of one clause [K], None without a calibration.

    Word by word where that is possible; items without words are judged like those of a longer text.
    """
    whole = settings.calibration.get(clause.kind)
    if clause.kind in _TEXTS and clause.num_words > MAX_CONTENT_WORDS:
        whole = settings.long_calibration or whole
    logit_K = None if whole is None else logits(whole, features(clause, kinds), num)
    by_word = settings.word_calibration
    if by_word is None or clause.words_K is None or clause.kind not in _TEXTS:
        return logit_K
    word_K = logits(by_word, word_features(clause, kinds), num)
    return word_K if logit_K is None else np.where(np.isnan(clause.words_K), logit_K, word_K)


def probability(logit_K: Doubles) -> Doubles:
    """1 / (1 + exp(-logit)), without overflow."""
    found: Doubles = 1.0 / (1.0 + np.exp(-logit_K.clip(-50, 50)))
    return found
