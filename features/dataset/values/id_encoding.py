"""Columns of external ids to arrays of integer ids."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.arrays import Ints
from recsys.ids import UNKNOWN, IdMap


@dataclass(frozen=True, kw_only=True)
class IdMaps:
    """Id maps of event kinds and user fields, built from training events."""

    kinds: IdMap  # kinds of events
    profiles: Mapping[str, IdMap]  # user field -> its values


def encode(names: pl.Series, ids: IdMap) -> Ints:
    """The ids of `names`, `UNKNOWN` for null and for unknown names. Shape [len(names)]."""
    unique = names.unique().drop_nulls()
    table = pl.DataFrame({"name": unique, "id": ids.encode(unique.to_list())})
    frame = pl.DataFrame({"name": names.cast(pl.String)})
    found = frame.join(table, on="name", how="left", maintain_order="left")["id"]
    return found.fill_null(UNKNOWN).to_numpy(writable=True)


def encode_lists(lists: pl.Series, ids: IdMap) -> list[Ints]:
    """The ids of a List(String) column: one array for each row."""
    lengths = lists.list.len().fill_null(0)
    flat = encode(lists.filter(lengths > 0).explode(), ids)
    return split_by(flat, lengths.cast(pl.Int64).cum_sum().to_numpy())


def split_by(flat: np.ndarray, ends: Ints) -> list[np.ndarray]:
    """Slices of `flat` that end at `ends`."""
    starts = [0, *ends[:-1].tolist()]
    return [flat[start:end] for start, end in zip(starts, ends.tolist(), strict=False)]
