"""Nearest items in the order of a list, searched only as deep as the asked-for length needs.

Legend: B users, L ranks of a list, D width, N items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval.item_lists import ItemLists, sorted_lists
from recsys.retrieval.reranking import tie_groups


@dataclass(frozen=True, kw_only=True)
class Query:
    """Users whose lists are ordered by the same model, and the items that may be recommended to them."""

    histories: Sequence[History]
    user_BD: Floats
    exclude_seen: bool
    allowed: Bools | None  # [N], None: the whole catalogue

    @property
    def excluded(self) -> list[Ints] | None:
        """The seen items of each user; None where seen items may be recommended."""
        return [history.seen for history in self.histories] if self.exclude_seen else None


def nearest_lists(
    search: Callable[[int], tuple[Ints, Floats]], temperature: float, *, need: int, limit: int
) -> ItemLists:
    """The `limit` nearest items in the order of a list, of which at least the first `need` are returned.

    `search` gives that many nearest items and their cosines, best first, and a search for fewer items must
    give the first of a longer one. Twice `need` are searched for. Ties are ordered by id, so where an item
    that was not found could tie with the item at `need`, all `limit` are searched for.
    """
    depth = min(2 * need, limit)
    found_BL, score_BL = _scored(search, depth, temperature)
    if depth < limit:
        tie_BL = tie_groups(score_BL)
        if not ((tie_BL[:, need - 1] < tie_BL[:, -1]) | (found_BL[:, -1] == PAD)).all():
            found_BL, score_BL = _scored(search, limit, temperature)
    return sorted_lists(found_BL, score_BL, score_BL)


def _scored(
    search: Callable[[int], tuple[Ints, Floats]], num: int, temperature: float
) -> tuple[Ints, Floats]:
    found_BL, cosine_BL = search(num)
    return found_BL, (cosine_BL / temperature).astype(np.float32)
