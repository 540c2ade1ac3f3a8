"""Relevance of a catalogue without validation queries, from sentences that it most likely does not answer.

The highest value of each feature over the catalogue, of such a sentence, is the level that chance reaches.
The features are added in units of the standard deviation of these levels, and the relevance of the level
that `empty_share` of the sentences stay below is one half, which is the threshold. Of a text of more than
eight content words an item has a smaller share by chance, and this share varies less. Such texts have a
calibration of their own, from texts of several sentences.

Legend: Q sentences, K candidates.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.search import COVERAGE, Calibration, EncodedQuery, Searcher, features, logits
from training.search.relevance_fit import RelevanceChoice

Features = dict[str, npt.NDArray[np.float64]]  # by name, of the candidates [K]
THRESHOLD: Final = 0.5
_LEAST_DEVIATION: Final = 0.02
_MARGIN: Final = 1e-3  # so that the sentence at the level is below it


def default_relevance(
    searcher: Searcher,
    foreign: Sequence[EncodedQuery],
    long: Sequence[EncodedQuery] = (),
    *,
    empty_share: float = 0.95,
) -> RelevanceChoice:
    """Calibrations of text queries, from sentences of other domains and from `long` texts of several."""
    values, of_long = _values(searcher, foreign), _values(searcher, long)
    if not values:
        reason = "no threshold: no sentence of another domain finds anything"
        return RelevanceChoice(
            calibration={}, min_relevance=0.0, reason=reason, expected_error=float("nan"), empty_share=0.0,
            lost_share=0.0,
        )  # fmt: skip
    reason = (
        f"without validation queries: {empty_share:.0%} of {len(values)} sentences of other domains stay "
        f"below relevance {THRESHOLD:g}"
    )
    return RelevanceChoice(
        calibration={"text": _calibration(values, empty_share)}, min_relevance=THRESHOLD, reason=reason,
        expected_error=float("nan"), empty_share=empty_share, lost_share=0.0,
        long_calibration=_calibration(of_long, empty_share) if of_long else None,
    )  # fmt: skip


def _values(searcher: Searcher, queries: Sequence[EncodedQuery]) -> list[Features]:
    """The features of the candidates of each query that has any."""
    values = []
    for query in queries:
        scores = searcher.scorer.score(query, searcher.settings.num_candidates, None)
        if len(scores.items):
            found = features(scores.clauses[0], searcher.encoder_kinds)
            if searcher.scorer.words is not None:  # a text of which no item has a word sets a level, too
                found.setdefault(COVERAGE, np.zeros(len(scores.items)))
            values.append(found)
    return values


def _calibration(values: Sequence[Features], empty_share: float) -> Calibration:
    """The calibration with a logit of 0 at the level that `empty_share` of the queries stay below."""
    names = sorted({name for each in values for name in each})
    levels = {name: np.array([_highest(each[name]) for each in values if name in each]) for name in names}
    deviation = {name: max(float(level.std()), _LEAST_DEVIATION) for name, level in levels.items()}
    weights = {name: 1.0 / deviation[name] / len(names) ** 0.5 for name in names}
    missing = {name: float(level.mean()) for name, level in levels.items()}
    plain = Calibration(intercept=0.0, weights=weights, missing=missing)
    highest_Q = np.array([logits(plain, each, len(next(iter(each.values())))).max() for each in values])
    level = float(np.quantile(highest_Q, empty_share, method="higher"))
    return plain.model_copy(update={"intercept": -(level + _MARGIN)})


def _highest(value_K: npt.NDArray[np.float64]) -> float:
    known = value_K[~np.isnan(value_K)]
    return float(known.max()) if len(known) else 0.0
