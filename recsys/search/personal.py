"""The order of a list's head for a known user: the recommender's scores beside the fused scores.

    final = (1 - personal) * fused + personal * score of the recommender        over the head

The fused score is in standard deviations over all candidates of the query, the recommender's in standard
deviations over the catalogue (`Recommender.rank_standardized`). Neither depends on the other items of the
head. So taste does not lift an item above hits that fit far better, and decides where all fit alike; an item
that the user likes as much as any other is moved neither up nor down.

Legend: K candidates, H items of the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval import AnsweredBy, Recommender, reason_of

Doubles = npt.NDArray[np.float64]
LEAST_DEVIATION: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class PersonalScores:
    """The recommender's scores of given items, and the past item behind each."""

    scores: Floats  # [H], in standard deviations over the catalogue
    past_items: Ints  # [H], 0 where there is none


# History and items [H] -> scores; None for a user of whom the recommender knows nothing.
Personalizer = Callable[[History, Ints], PersonalScores | None]


def personalizer(recommender: Recommender, modalities: Sequence[str]) -> Personalizer:
    """A `Personalizer` over `recommender`; `modalities` are the tokens of the manifest."""

    def scores_of(history: History, items: Ints) -> PersonalScores | None:
        ranked = recommender.rank_standardized([history], items[None])
        if ranked.answered_by[0] is AnsweredBy.POPULARITY:
            return None
        place_of = {int(item): place for place, item in enumerate(ranked.items[0]) if item != PAD}
        lowest = min((float(ranked.scores[0, place]) for place in place_of.values()), default=0.0)
        scores, past = np.full(len(items), lowest, np.float32), np.zeros(len(items), np.int64)
        for column, item in enumerate(items.tolist()):
            if item in place_of:
                place = place_of[item]
                scores[column] = ranked.scores[0, place]
                reason = reason_of(ranked, 0, place, modalities, str)
                past[column] = PAD if reason is None or reason.past_item is None else reason.past_item
        return PersonalScores(scores=scores, past_items=past)

    return scores_of


def in_deviations(fused_K: Doubles) -> Doubles:
    """The fused scores of all candidates in standard deviations; unchanged where all are equal."""
    deviation = float(fused_K.std()) if len(fused_K) else 0.0
    return fused_K / deviation if deviation > LEAST_DEVIATION else fused_K


def personal_order(items: Ints, fused: Doubles, recommended: Floats, personal: float) -> tuple[Ints, Doubles]:
    """The order of the head [H] as positions, ties by lowest id, and the final scores in that order.

    `fused` are those of the head, of `in_deviations`.
    """
    final = (1.0 - personal) * fused + personal * recommended.astype(np.float64)
    order = np.lexsort((items, -final))
    return order, final[order]
