"""All items of a catalogue as arrays: inputs of the item tower, and inputs of retrieval and ranking.

Legend in recsys/arrays.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN, IdMap


@dataclass(frozen=True, kw_only=True)
class ItemFeatures:
    """All items of a catalogue as arrays. Row 0 is padding, row 1 unknown, then `item_ids`' order."""

    item_ids: IdMap
    dense: Mapping[str, Floats]  # modality -> [N, D_m], zeros where absent, by `present`
    present: Mapping[str, Bools]  # modality -> [N]: there is a vector, of the item's own medium or imputed
    categories: Mapping[str, Ints]  # field -> [N, C], ids of `category_ids`, 0 where there is none
    category_ids: Mapping[str, IdMap]  # vocabularies, from items with training interactions only
    trained: Bools  # [N]: has training interactions, and so an id row of its own
    popularity: Floats  # [N]: positive training interactions
    # Replacements in `dense` and `present` for an item that is read as a cold item: only the reviews of
    # authors without an event on it, the only reviews that a cold item has.
    dense_as_cold: Mapping[str, Floats] = field(default_factory=dict)
    present_as_cold: Mapping[str, Bools] = field(default_factory=dict)
    imputed: Mapping[str, Bools] = field(default_factory=dict)  # modality -> [N]: the vector is imputed
    owners: tuple[str | None, ...] = ()  # of the items without the reserved rows; empty: nobody owns any

    def observed(self, modality: str) -> Bools:
        """The items that have the medium itself. Shape [N]."""
        present = self.present[modality]
        return present & ~self.imputed[modality] if modality in self.imputed else present

    @property
    def size(self) -> int:
        """N: rows of every array, the two reserved ones included."""
        return self.item_ids.size

    def id_rows(self) -> Ints:
        """Row of the id table for each item: its own where trained, else `UNKNOWN`. Shape [N]."""
        rows = np.where(self.trained, np.arange(self.size), UNKNOWN)
        rows[PAD] = PAD
        return rows.astype(np.int64)

    def graph_inputs(self, rows: Ints) -> dict[str, npt.NDArray[np.generic]]:
        """Inputs of the item tower for `rows`, without the id embedding."""
        inputs: dict[str, npt.NDArray[np.generic]] = {}
        for name, vectors in self.dense.items():
            inputs[f"dense_{name}"] = vectors[rows]
            inputs[f"has_{name}"] = self.present[name][rows]
        for name, ids in self.categories.items():
            inputs[f"cat_{name}"] = ids[rows]
        return inputs


@dataclass(frozen=True, kw_only=True)
class ItemArrays:
    """Inputs of retrieval and ranking for all items; row 0 is padding, row 1 unknown."""

    vectors: Floats  # [N, D], of unit length; vectors of the cold-start head have any length
    tokens: npt.NDArray[np.float16]  # [N, T, D]
    token_mask: Bools  # [N, T]
    trained: Bools  # [N]
    popularity: Floats  # [N]
    recent_popularity: Floats | None = None  # [N], a decayed sum of training events; None: without decay

    @property
    def log_popularity(self) -> Floats:
        """log(1 + training events), scaled to at most 1. Shape [N].

        An item without training events has the mean of the others: its popularity is unknown, not zero.
        """
        return self._known_or_mean(_log_scaled(self.popularity))

    @property
    def popularity_now(self) -> Floats:
        """What orders items for users of whom nothing is known: `recent_popularity`, else `popularity`."""
        return self.popularity if self.recent_popularity is None else self.recent_popularity

    @property
    def log_popularity_now(self) -> Floats:
        """As `log_popularity`, of `popularity_now`."""
        return self._known_or_mean(_log_scaled(self.popularity_now))

    @property
    def popularity_rank(self) -> Floats:
        """Rank of each item by popularity, 1 for the most popular, ties by id; the mean where unknown."""
        order = np.argsort(-self.popularity[NUM_RESERVED:], kind="stable")
        rank = np.zeros(len(self.popularity), np.float32)
        rank[order + NUM_RESERVED] = np.arange(1, len(order) + 1)
        return self._known_or_mean(rank)

    def _known_or_mean(self, value_N: Floats) -> Floats:
        mean = value_N[self.trained].mean() if self.trained.any() else 1.0
        return np.where(self.trained, value_N, mean).astype(np.float32)


def _log_scaled(count_N: Floats) -> Floats:
    logged = np.log1p(count_N)
    scaled: Floats = (logged / max(float(logged.max()), 1.0)).astype(np.float32)
    return scaled
