"""The upper end of the scale on generated data: the true utilities by which its shoppers chose."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.splits import Split
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.errors import DataError, RequestError, did_you_mean
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from recsys.metrics import IdLists
from recsys.retrieval import top_k
from training.evaluation.ground_truth import seen_lists

VECTOR: Final = "vector"
SINCE: Final = "since"  # optional, of users: unix seconds from which the vector holds
FAMILY: Final = "family"  # optional, of items; with `BONUS`, utility where another of the family was taken
BONUS: Final = "family_bonus"
RETIRED: Final = "retired"  # optional, of items: unix seconds from which nobody chooses the item


class Oracle:
    """Ranks by the true utility of an item for a user, which no trained model has.

    It is the dot product of the true factors. Where the files have times, factors and retired items are those
    of the middle one of the user's test events (`times`, unix seconds; the latest without one). `known` are
    the items of each user's history, for the families that the user knows.
    """

    name = "oracle"

    def __init__(
        self,
        dataset: Dataset,
        items: ItemFeatures,
        *,
        seen: Mapping[str, Ints] | None,
        known: Mapping[str, Ints] | None = None,
        times: Mapping[str, int] | None = None,
    ) -> None:
        if dataset.oracle_files is None:
            raise DataError(
                f"dataset {dataset.name!r} has no true factors; a generated one names them under [oracle]"
            )
        user_path, item_path = dataset.oracle_files
        users, self._vector_VD = _read(user_path, Columns.USER, (SINCE,))
        self._versions = _versions(users, user_path)
        table, vectors = _read(item_path, Columns.ITEM, (FAMILY, BONUS, RETIRED))
        row_of_item = {name: row for row, name in enumerate(table[Columns.ITEM])}
        missing = [name for name in items.item_ids.external if name not in row_of_item]
        if missing:
            raise DataError(f"{item_path}: {len(missing)} items have no true factors", missing[:10])
        if vectors.shape[1] != self._vector_VD.shape[1]:
            raise DataError(
                f"{item_path}: vectors of {vectors.shape[1]} numbers, "
                f"where {user_path} has {self._vector_VD.shape[1]}"
            )
        rows = [row_of_item[name] for name in items.item_ids.external]
        self._vector_ND = np.zeros((items.size, vectors.shape[1]), np.float32)
        self._vector_ND[items.item_ids.encode(items.item_ids.external)] = vectors[rows]
        self._families = _Families.of(table[rows], items.size)
        self._seen, self._known, self._times = seen, known or {}, times or {}

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        unknown = next((user for user in users if user not in self._versions), None)
        if unknown is not None:
            near = did_you_mean(unknown, self._versions)
            raise RequestError("users", f"{unknown!r} has no true factors; {near}")
        score_UN = self._vector_VD[[self._version(user) for user in users]] @ self._vector_ND.T
        if self._families is not None:
            for user, score_N in zip(users, score_UN, strict=True):
                self._families.add(score_N, self._known.get(user), self._times.get(user))
        seen: IdLists | None = None if self._seen is None else seen_lists(self._seen, users)
        return top_k(score_UN, k, allowed=allowed, excluded=seen)[0]

    def _version(self, user: str) -> int:
        """The row of the user's factors at the time of the test."""
        since, rows = self._versions[user]
        time = self._times.get(user)
        at = len(rows) if time is None else int(np.searchsorted(since, time, side="right"))
        return int(rows[max(at - 1, 0)])


def times_of_tests(split: Split) -> dict[str, int]:
    """The time of the middle one of each user's test events, in unix seconds."""
    middle = split.test.group_by(Columns.USER).agg(pl.col(Columns.TIMESTAMP).median())
    return {
        user: int(time // 1_000_000) for user, time in middle.select(Columns.USER, Columns.TIMESTAMP).rows()
    }


class _Families:
    """The family of every item (N), the bonus for a known one, and the times when items are retired."""

    def __init__(self, family_N: Ints, bonus_N: Floats, retired_N: Floats) -> None:
        self.family_N, self.bonus_N, self.retired_N = family_N, bonus_N, retired_N

    @classmethod
    def of(cls, table: pl.DataFrame, size: int) -> "_Families | None":
        """From the rows of the items in the order of their ids; None for a file without families."""
        if not {FAMILY, BONUS, RETIRED} <= set(table.columns):
            return None
        family_N = np.full(size, -1)
        bonus_N, retired_N = np.zeros(size, np.float32), np.full(size, np.inf)
        family_N[NUM_RESERVED:] = table[FAMILY]
        bonus_N[NUM_RESERVED:] = table[BONUS]
        retired_N[NUM_RESERVED:] = table[RETIRED].cast(pl.Float64).fill_null(np.inf)
        return cls(family_N, bonus_N, retired_N)

    def add(self, score_N: Floats, known: Ints | None, time: int | None) -> None:
        """Add the bonus to the items of known families; retired items come after all others."""
        if known is not None and len(known):
            score_N += self.bonus_N * np.isin(self.family_N, self.family_N[known])
        if time is not None:
            score_N[self.retired_N <= time] -= 1e6


def _versions(table: pl.DataFrame, path: Path) -> dict[str, tuple[Ints, Ints]]:
    """User -> start times of the user's vectors, ascending, and their rows."""
    since = table[SINCE] if SINCE in table.columns else pl.Series(SINCE, np.zeros(len(table), np.int64))
    rows = table.select(Columns.USER).with_columns(since).with_row_index("row").sort(SINCE, "row")
    if rows.select(Columns.USER, SINCE).is_duplicated().any():
        raise DataError(f"{path}: a user has two vectors from the same time; each needs a time of its own")
    grouped = rows.group_by(Columns.USER, maintain_order=True).agg(SINCE, "row")
    return {user: (np.array(since), np.array(at)) for user, since, at in grouped.rows()}


def _read(path: Path, key: str, optional: Sequence[str]) -> tuple[pl.DataFrame, Floats]:
    """The rows of a Parquet file with the columns `key` and `vector`, and the vectors [rows, D]."""
    try:
        table = pl.read_parquet(path, glob=False)
        table = table.select(key, VECTOR, *(name for name in optional if name in table.columns))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not Parquet with the columns {key!r} and {VECTOR!r}: {error}") from None
    lengths = table[VECTOR].list.len() if table.schema[VECTOR] == pl.List else None
    if lengths is not None and lengths.n_unique() > 1:
        raise DataError(
            f"{path}: vectors of lengths {sorted(lengths.unique())}; all must have the same length"
        )
    vectors: Floats = np.array(table[VECTOR].to_list(), dtype=np.float32)
    if vectors.ndim != 2:
        raise DataError(f"{path}: no vectors; each row needs a list of numbers in {VECTOR!r}")
    return table.with_columns(pl.col(key).cast(pl.String)), vectors
