"""The upper end of the scale on generated data: the true scores by which its shoppers chose."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import Dataset
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.errors import DataError, RequestError, did_you_mean
from recsys.item_features import ItemFeatures
from recsys.metrics import IdLists
from recsys.retrieval import top_k
from training.evaluation.ground_truth import seen_lists

VECTOR = "vector"


class Oracle:
    """Ranks by the dot product of the true factors of user and item, which no trained model has."""

    name = "oracle"

    def __init__(self, dataset: Dataset, items: ItemFeatures, *, seen: Mapping[str, Ints] | None) -> None:
        if dataset.oracle_files is None:
            raise DataError(
                f"dataset {dataset.name!r} has no true factors; a generated one names them under [oracle]"
            )
        user_path, item_path = dataset.oracle_files
        names, self._vector_UD = _read(user_path, Columns.USER)
        self._row_of = {name: row for row, name in enumerate(names)}
        item_names, vectors = _read(item_path, Columns.ITEM)
        row_of_item = {name: row for row, name in enumerate(item_names)}
        missing = [name for name in items.item_ids.external if name not in row_of_item]
        if missing:
            raise DataError(f"{item_path}: {len(missing)} items have no true factors", missing[:10])
        if vectors.shape[1] != self._vector_UD.shape[1]:
            raise DataError(
                f"{item_path}: vectors of {vectors.shape[1]} numbers, "
                f"where {user_path} has {self._vector_UD.shape[1]}"
            )
        self._vector_ND = np.zeros((items.size, vectors.shape[1]), np.float32)
        rows = [row_of_item[name] for name in items.item_ids.external]
        self._vector_ND[items.item_ids.encode(items.item_ids.external)] = vectors[rows]
        self._seen = seen

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        unknown = next((user for user in users if user not in self._row_of), None)
        if unknown is not None:
            near = did_you_mean(unknown, self._row_of)
            raise RequestError("users", f"{unknown!r} has no true factors; {near}")
        score_UN = self._vector_UD[[self._row_of[user] for user in users]] @ self._vector_ND.T
        seen: IdLists | None = None if self._seen is None else seen_lists(self._seen, users)
        return top_k(score_UN, k, allowed=allowed, excluded=seen)[0]


def _read(path: Path, key: str) -> tuple[list[str], Floats]:
    """Ids and their vectors [rows, D] from a Parquet file with the columns `key` and `vector`."""
    try:
        table = pl.read_parquet(path, columns=[key, VECTOR], glob=False)
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
    return table[key].cast(pl.String).to_list(), vectors
