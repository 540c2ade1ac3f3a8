"""All items of a catalogue as the arrays that the item tower reads. Legend in recsys/arrays.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import PAD, UNKNOWN, IdMap


@dataclass(frozen=True, kw_only=True)
class ItemFeatures:
    """All items of a catalogue as arrays. Row 0 is padding, row 1 unknown, then `item_ids`' order."""

    item_ids: IdMap
    dense: Mapping[str, Floats]  # modality -> [N, D_m], zeros where absent, by `present`
    present: Mapping[str, Bools]  # modality -> [N]
    categories: Mapping[str, Ints]  # field -> [N, C], ids of `category_ids`, 0 where there is none
    category_ids: Mapping[str, IdMap]  # vocabularies, from items with training interactions only
    trained: Bools  # [N]: has training interactions, and so an id row of its own
    popularity: Floats  # [N]: positive training interactions
    # Replacements in `dense` and `present` for an item that is shown as new: the reviews of authors without
    # an event on it, as a new item has them.
    dense_as_new: Mapping[str, Floats] = field(default_factory=dict)
    present_as_new: Mapping[str, Bools] = field(default_factory=dict)

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
        """Inputs of the item tower for `rows`, but for the id embedding."""
        inputs: dict[str, npt.NDArray[np.generic]] = {}
        for name, vectors in self.dense.items():
            inputs[f"dense_{name}"] = vectors[rows]
            inputs[f"has_{name}"] = self.present[name][rows]
        for name, ids in self.categories.items():
            inputs[f"cat_{name}"] = ids[rows]
        return inputs
