"""The share of the recommender in the order of a list's head, chosen on queries of known users.

With log-linear models of both, an item answers the query of a user with the probability

    P(item | query, user) = exp(a * fused + b * recommended) / sum of the same over the head's items

(conditional logit, McFadden 1974). The order is that of (1 - share) * fused + share * recommended with
share = b / (a + b). a and b, at least 0, maximise the likelihood of the answers. Every query with an answer
in the head takes part, while NDCG@10 changes only where an answer crosses one of the first ranks, so that its
maximum over a grid of shares is far less certain.

Legend: Q queries, H items of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.search import Searcher, fuse, in_deviations, personal_order
from training.search.fusion_fit import RankedQuery, ndcg_of
from training.search.known_item import LabelledQuery
from training.search.listwise import Lists, minimize

Doubles = npt.NDArray[np.float64]
MIN_QUERIES: Final = 50  # of known users
MIN_ANSWERED: Final = 20  # of these, with an answer in the head
# Words of reviews say less of an item than what people type: the likeliest share is too large for the latter.
MAX_SHARE: Final = 0.5
# Least gain of the log-likelihood by the recommender: b = 0 is refused at 5% where its square root is normal
# and one-sided (half of the 90% point of the chi-square distribution with one degree of freedom).
MIN_GAIN: Final = 1.35


@dataclass(frozen=True, kw_only=True)
class PersonalTask:
    """The queries that choose the share, with searchers whose recommenders have not learned their answers."""

    folds: tuple[tuple[Searcher, Sequence[LabelledQuery]], ...]  # queries without a history are left out
    note: str = ""  # on the texts, for the reason


@dataclass(frozen=True, kw_only=True)
class PersonalQuery:
    """A query of a user, and a searcher whose recommender has not learned its answer."""

    searcher: Searcher
    ranked: RankedQuery
    history: History


@dataclass(frozen=True, kw_only=True)
class PersonalChoice:
    """The chosen share, the reason, and NDCG@10 of the impersonal order and of the fitted share."""

    personal: float
    reason: str
    ndcg: dict[float, float]


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The first items of an impersonal list: their positions among the candidates, and both scores."""

    place: Ints
    items: Ints
    fused: Doubles  # in deviations over the candidates
    recommended: Floats
    is_answer: Bools
    score_K: Doubles  # of all candidates


def choose_personal(queries: Sequence[PersonalQuery]) -> PersonalChoice:
    """The share of highest likelihood, at most `MAX_SHARE`.

    0 where it is not above chance, or where it lowers NDCG@10.
    """
    heads = [(_head(each), each) for each in queries]
    known = [(head, each.ranked) for head, each in heads if head is not None]
    counted = f"{len(known)} validation queries of known users"
    if len(known) < MIN_QUERIES:
        return PersonalChoice(personal=0.0, reason=f"0: {counted}, fewer than {MIN_QUERIES}", ndcg={})
    answered = [head for head, _ in known if head.is_answer.any()]
    if len(answered) < MIN_ANSWERED:
        reason = f"0: {counted}, fewer than {MIN_ANSWERED} of them with an answer among the first hits"
        return PersonalChoice(personal=0.0, reason=reason, ndcg={})
    likeliest, gain = _fitted(answered)
    share = round(min(likeliest, MAX_SHARE), 2)
    ndcg = {
        each: float(np.mean([ndcg_of(_reordered(head, each), query) for head, query in known]))
        for each in (0.0, share)
    }
    words = (
        f"{counted}, {len(answered)} with an answer among the first hits: "
        f"likeliest share {likeliest:.2f}, at most {MAX_SHARE:g} is taken, log-likelihood +{gain:.1f}, "
        f"NDCG@10 {ndcg[0.0]:.3f} -> {ndcg[share]:.3f}"
    )
    if gain < MIN_GAIN or ndcg[share] < ndcg[0.0]:
        return PersonalChoice(personal=0.0, reason=f"0; {words}", ndcg=ndcg)
    return PersonalChoice(personal=share, reason=f"{share:g}; {words}", ndcg=ndcg)


def _head(query: PersonalQuery) -> _Head | None:
    """None for a user of whom the recommender knows nothing."""
    searcher, scores = query.searcher, query.ranked.scores
    fused_K, _ = fuse(scores, searcher.settings)
    score_K = in_deviations(fused_K)
    place = np.lexsort((scores.items, -score_K))[: searcher.settings.personal_head]
    items = scores.items[place]
    if searcher.personalizer is None or not len(items):
        return None
    found = searcher.personalizer(query.history, items)
    if found is None:
        return None
    return _Head(
        place=place,
        items=items,
        fused=score_K[place],
        recommended=found.scores,
        is_answer=np.isin(place, query.ranked.answers),
        score_K=score_K,
    )


def _fitted(heads: Sequence[_Head]) -> tuple[float, float]:
    """The share of highest likelihood, and how much higher its log-likelihood is than that of b = 0."""
    lists = Lists.of(
        [np.stack([head.fused, head.recommended.astype(np.float64)], axis=1) for head in heads],
        [head.is_answer for head in heads],
    )
    weights, loss = _minimized(lists, 2)
    _, loss_alone = _minimized(lists.first_feature(), 1)
    total = float(weights.sum())
    return (float(weights[1]) / total if total > 0 else 0.0), (loss_alone - loss) * len(heads)


def _minimized(lists: Lists, num_features: int) -> tuple[Doubles, float]:
    """The weights of at least 0 with the lowest listwise loss, and that loss."""
    weights = minimize(lists, np.zeros(num_features), strength=0.0, start_F=np.full(num_features, 0.5))
    return weights, lists.loss(weights)[0]


def _reordered(head: _Head, share: float) -> Doubles:
    """Scores of all candidates in whose order the head is personal."""
    score_K = head.score_K.copy()
    order, final = personal_order(head.items, head.fused, head.recommended, share)
    score_K[head.place[order]] = head.score_K.max() + 1.0 + final - final.min()
    return score_K
