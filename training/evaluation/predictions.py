"""predictions.parquet: every model's lists in an evaluation, so that later metrics need no model.

Shape suffixes: U users, K ranks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import encode_lists
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.files import replacing
from recsys.ids import NUM_RESERVED, PAD, IdMap
from recsys.metrics import IdLists

# Columns of the file; every other column is the lists of a model.
NUM_SEEN, WARM, COLD = "num_seen", "ground_truth_warm", "ground_truth_cold"
_FIXED = (Columns.USER, NUM_SEEN, WARM, COLD)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Lists over the whole catalogue beside the ground truth, by row of `users`.

    `at_k` of a model's rows against `warm` gives the metrics of the view `warm`, against `cold` those of
    `cold_full`; users without ground truth there do not count.
    """

    users: tuple[str, ...]
    num_seen: Ints  # [U] known items of the user at test time
    warm: IdLists  # ground truth on items with a training or validation event
    cold: IdLists  # ground truth on the other items
    models: Mapping[str, Ints]  # name -> [U, K] item ids, best first, 0 after the last

    def ground_truth(self) -> dict[str, Ints]:
        """User -> held-out items, warm and cold."""
        both = zip(self.warm.to_lists(), self.cold.to_lists(), strict=True)
        return {user: np.concatenate(items) for user, items in zip(self.users, both, strict=True)}

    def save(self, path: Path, item_ids: IdMap) -> None:
        """A row for each user: `user_id`, `num_seen`, `ground_truth_warm`, `ground_truth_cold`, each model.

        Items are external ids; an empty list is null. The file is written atomically.
        """
        columns = {WARM: _ragged(self.warm), COLD: _ragged(self.cold)}
        columns |= {name: _ranked(ranked_UK) for name, ranked_UK in self.models.items()}
        table = pl.DataFrame({Columns.USER: list(self.users), NUM_SEEN: self.num_seen})
        rows = pl.DataFrame({"row": np.arange(len(self.users))})
        lists = [
            rows.join(_decoded(*flat, item_ids, name), on="row", how="left", maintain_order="left")[name]
            for name, flat in columns.items()
        ]
        with replacing(path) as temporary:
            table.with_columns(lists).write_parquet(temporary)

    @classmethod
    def load(cls, path: Path, item_ids: IdMap) -> "Predictions":
        """Reads what `save` wrote; raises `DataError` where it names an item that is not in `item_ids`."""
        table = pl.read_parquet(path, glob=False)
        lists = {
            name: encode_lists(table[name].cast(pl.List(pl.String)), item_ids)
            for name in table.columns
            if name not in _FIXED[:2]
        }
        unknown = [name for name, rows in lists.items() if any((row < NUM_RESERVED).any() for row in rows)]
        if unknown:
            raise DataError(
                f"{path}: column {unknown[0]!r} has items that are not in the dataset; evaluate the run again"
            )
        width = max([1, *(len(row) for name, rows in lists.items() if name not in _FIXED for row in rows)])
        return cls(
            users=tuple(table[Columns.USER]),
            num_seen=table[NUM_SEEN].to_numpy(),
            warm=IdLists.from_lists(lists.pop(WARM)),
            cold=IdLists.from_lists(lists.pop(COLD)),
            models={name: _padded(rows, width) for name, rows in lists.items()},
        )


def _ragged(lists: IdLists) -> tuple[Ints, Ints]:
    """Row and id of every entry of `lists`."""
    return np.repeat(np.arange(len(lists)), lists.counts), lists.ids


def _ranked(ranked_UK: Ints) -> tuple[Ints, Ints]:
    """Row and id of every recommended item."""
    row, column = np.nonzero(ranked_UK != PAD)
    return row, ranked_UK[row, column]


def _decoded(row: Ints, item: Ints, item_ids: IdMap, name: str) -> pl.DataFrame:
    """One list of external ids for each row that has an item. An enum stores every id once in the file."""
    codes = pl.Series(name, (item - NUM_RESERVED).astype(np.uint32))
    names = codes.cat.to(pl.Enum(list(item_ids.external)))
    return pl.DataFrame({"row": row, name: names}).group_by("row", maintain_order=True).agg(name)


def _padded(rows: list[Ints], width: int) -> Ints:
    ranked_UK = np.full((len(rows), width), PAD, np.int64)
    for place, row in enumerate(rows):
        ranked_UK[place, : len(row)] = row
    return ranked_UK
