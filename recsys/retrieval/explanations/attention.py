"""Explanations in words: the past item and the modality with the largest attention weight of the ranker."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.ids import NUM_RESERVED
from recsys.modalities import BY_NAME
from recsys.retrieval.recommendations import Recommendations

ID_PHRASE = "who else chose it"
# Value of the column `Columns.REVIEWERS` -> words of an explanation.
REVIEWERS: Mapping[str, str] = {"praise": "reviewers praise it", "enthusiasm": "reviewers sound enthusiastic"}


@dataclass(frozen=True, kw_only=True)
class Reason:
    """The past item and the modality that the ranker attended to most; either may be missing."""

    past_item: int | None
    modality: str | None
    text: str


def explain(
    *,
    token_attention: Floats | None,
    history_attention: Floats | None,
    history_items: Ints | None,
    modalities: Sequence[str],
    name_of: Callable[[int], str],
    reviewers: str | None = None,
    imputed: Collection[str] = (),
) -> Reason | None:
    """The reason for one candidate; None where all attention weights are 0.

    `token_attention` [T] is over `modalities`, `history_attention` [H] over `history_items` [H], and
    `name_of` gives the name of a past item by its id; `reviewers` is a key of `REVIEWERS`. The modalities
    `imputed` are never named: the item has no such medium.
    """
    if token_attention is not None and imputed:
        token_attention = np.where([name in imputed for name in modalities], 0.0, token_attention)
    modality = _most_attended_modality(token_attention, modalities)
    past = _most_attended_item(history_attention, history_items)
    if modality is None and past is None:
        return None
    parts = []
    if past is not None:
        parts.append(f'because you chose "{name_of(past)}"')
    if modality is not None:
        parts.append(f"most telling: {phrase(modality)}")
    if reviewers is not None:
        parts.append(REVIEWERS[reviewers])
    return Reason(past_item=past, modality=modality, text="; ".join(parts))


def reason_of(
    ranked: Recommendations,
    row: int,
    place: int,
    modalities: Sequence[str],
    name_of: Callable[[int], str],
    reviewers: str | None = None,
    imputed: Collection[str] = (),
) -> Reason | None:
    """The reason for the item at `place` of list `row`; None where no ranker ran."""
    tokens, attention, past = ranked.token_attention, ranked.history_attention, ranked.history_items
    return explain(
        token_attention=None if tokens is None else tokens[row, place],
        history_attention=None if attention is None else attention[row, place],
        history_items=None if past is None else past[row],
        modalities=modalities,
        name_of=name_of,
        reviewers=reviewers,
        imputed=imputed,
    )


def phrase(modality: str) -> str:
    """A modality in words; for a category field, its name."""
    if modality == "id":
        return ID_PHRASE
    known = BY_NAME.get(modality)
    return known.phrase if known else f"its {modality}"


def _most_attended_modality(attention: Floats | None, modalities: Sequence[str]) -> str | None:
    if attention is None or not len(attention) or attention.max() <= 0:
        return None
    return modalities[int(attention.argmax())]


def _most_attended_item(attention: Floats | None, items: Ints | None) -> int | None:
    """The catalogue item with the largest attention weight, summed over its events."""
    if attention is None or items is None:
        return None
    known = (items >= NUM_RESERVED) & (attention > 0)
    if not known.any():
        return None
    distinct, place = np.unique(items[known], return_inverse=True)
    return int(distinct[np.bincount(place, weights=attention[known]).argmax()])
