"""The order of a list's head for a known user: the recommender's scores beside the fused scores.

    final = (1 - personal) * z(fused) + personal * z(recommender's score)        over the head

Legend: H items of the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.arrays import Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval import AnsweredBy, Recommender, reason_of
from recsys.search.fusion import standardized

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PersonalScores:
    """The recommender's scores of given items, and the past item behind each."""

    scores: Floats  # [H]
    past_items: Ints  # [H], 0 where there is none


# History and items [H] -> scores; None for a user of whom the recommender knows nothing.
Personalizer = Callable[[History, Ints], PersonalScores | None]


def personalizer(recommender: Recommender, modalities: Sequence[str]) -> Personalizer:
    """A `Personalizer` over `recommender`; `modalities` are the tokens of the manifest."""

    def scores_of(history: History, items: Ints) -> PersonalScores | None:
        ranked = recommender.rank([history], items[None])
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


def personal_order(items: Ints, fused: Doubles, recommended: Floats, personal: float) -> tuple[Ints, Doubles]:
    """The order of the head [H] as positions, ties by lowest id, and the final scores in that order."""
    everyone = np.ones(len(items), np.bool_)
    final = (1.0 - personal) * standardized(fused, everyone) + personal * standardized(recommended, everyone)
    order = np.lexsort((items, -final))
    return order, final[order]
