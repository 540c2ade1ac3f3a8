"""`histories.parquet`: histories under their external ids, beside a bundle and never in it.

One row a user, sorted by user id, so that a look-up reads few row groups:
    user_id      String
    item_id      List(String)   oldest first; null for an item that the catalogue did not have
    timestamp    List(Int64)    microseconds since the epoch, or positions
    event        List(String)
    value        List(Float32)  null where there is none
    seen         List(String)   every item of any event
    cat:<field>  List(String)   the user's own fields; null for a value that training did not have
    review_position  List(Int64)          positions of the events with a review
    review_text      List(List(Float32))  one entry a position, null where only the other is there
    review_audio     List(List(Float32))
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from features.dataset import POLARS_ERRORS, IdMaps, encode, encode_lists, split_by
from recsys.arrays import Floats, Ints
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.files import replacing
from recsys.history import EVENT_NUMBERS, REVIEW_FIELDS, History
from recsys.ids import NUM_RESERVED, IdMap

SEEN, REVIEW_POSITION = "seen", "review_position"
_VECTORS = pl.List(pl.List(pl.Float32))
_FIXED = {
    Columns.USER: pl.String,
    Columns.ITEM: pl.List(pl.String),
    Columns.TIMESTAMP: pl.List(pl.Int64),
    Columns.EVENT: pl.List(pl.String),
    **dict.fromkeys(EVENT_NUMBERS, pl.List(pl.Float32)),
    SEEN: pl.List(pl.String),
    REVIEW_POSITION: pl.List(pl.Int64),
    **dict.fromkeys(REVIEW_FIELDS, _VECTORS),
}
_USERS_AT_ONCE = 16_384
_ROW_GROUP = 4_096


def save_histories(histories: Mapping[str, History], path: Path, item_ids: IdMap, maps: IdMaps) -> None:
    """Write `histories` to `path`, which appears whole or not at all."""
    users = sorted(histories)
    with replacing(path) as unfinished:
        if len(users) <= _USERS_AT_ONCE:
            _to_frame(users, histories, item_ids, maps).write_parquet(unfinished, row_group_size=_ROW_GROUP)
        else:
            _write_in_parts(users, histories, item_ids, maps, unfinished)


def _write_in_parts(
    users: Sequence[str], histories: Mapping[str, History], item_ids: IdMap, maps: IdMaps, path: Path
) -> None:
    """No more than `_USERS_AT_ONCE` users in memory."""
    with TemporaryDirectory(dir=path.parent, prefix=".histories-", suffix=".tmp") as folder:
        parts = []
        for start in range(0, len(users), _USERS_AT_ONCE):
            parts.append(Path(folder) / f"{start:012}.parquet")
            frame = _to_frame(users[start : start + _USERS_AT_ONCE], histories, item_ids, maps)
            frame.write_parquet(parts[-1])
        pl.scan_parquet(parts, glob=False).sink_parquet(path, row_group_size=_ROW_GROUP)


def load_histories(
    path: Path,
    item_ids: IdMap,
    kinds: IdMap,
    profiles: Mapping[str, IdMap],
    *,
    users: Sequence[str] | None = None,
) -> dict[str, History]:
    """Histories of `users` (default: all). A user without a row is absent; an unknown item is `UNKNOWN`.

    Raises `DataError` where the file is missing or is no table of histories.
    """
    rows = _scan(path)
    if users is not None:
        rows = rows.filter(pl.col(Columns.USER).is_in(list(users)))
    return _decoded_rows(rows, path, item_ids, IdMaps(kinds=kinds, profiles=profiles))


def iter_histories(
    path: Path, item_ids: IdMap, kinds: IdMap, profiles: Mapping[str, IdMap], *, batch_size: int = 1024
) -> Iterator[tuple[str, History]]:
    """All users and their histories, with no more than `batch_size` of them in memory.

    Raises `DataError` where the file is missing or damaged, or where none of its items is in the catalogue,
    since the histories are then of another dataset.
    """
    maps = IdMaps(kinds=kinds, profiles=profiles)
    rows = _scan(path)
    num_events = num_known = 0
    for start in range(0, count_histories(path), batch_size):
        histories = _decoded_rows(rows.slice(start, batch_size), path, item_ids, maps)
        for history in histories.values():
            num_events += len(history)
            num_known += int((history.item >= NUM_RESERVED).sum())
        yield from histories.items()
    if num_events and not num_known:
        raise DataError(
            f"{path}: none of its {num_events} events is on an item of the catalogue; "
            "they are histories of another dataset; name the histories of this bundle's run"
        )


def count_histories(path: Path) -> int:
    """Users in the file."""
    try:
        return int(_scan(path).select(pl.len()).collect().item())
    except (*POLARS_ERRORS, OSError) as error:
        raise _damaged(path, error) from None


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise DataError(f"no histories at {path}; name the histories.parquet of the run")
    rows = pl.scan_parquet(path, glob=False)
    try:
        schema = rows.collect_schema()
    except (*POLARS_ERRORS, OSError) as error:
        raise _damaged(path, error) from None
    wrong = [
        f"column {name!r} must be {dtype}" for name, dtype in _FIXED.items() if schema.get(name) != dtype
    ]
    if wrong:
        raise DataError(f"{path} is not a table of histories:", wrong)
    return rows


def _decoded_rows(rows: pl.LazyFrame, path: Path, item_ids: IdMap, maps: IdMaps) -> dict[str, History]:
    """Users and their histories; `DataError` where pages are damaged or lists do not fit together."""
    try:
        frame = rows.collect()
        twice = frame.filter(pl.col(Columns.USER).is_duplicated())
        if twice.height:
            raise DataError(f"{path}: user {twice[Columns.USER][0]!r} has two rows; export it again")
        return _from_frame(frame, item_ids, maps)
    except DataError:
        raise
    except (*POLARS_ERRORS, OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> DataError:
    first_line = str(error).partition("\n")[0]
    return DataError(
        f"{path} is no Parquet file, or cut off or damaged; copy or export it again ({first_line})"
    )


def _to_frame(
    users: Sequence[str], histories: Mapping[str, History], item_ids: IdMap, maps: IdMaps
) -> pl.DataFrame:
    chosen = [histories[user] for user in users]
    columns = [
        pl.Series(Columns.USER, users, dtype=pl.String),
        _decoded(Columns.ITEM, [history.item for history in chosen], item_ids),
        _lists(Columns.TIMESTAMP, [history.timestamp for history in chosen], pl.Int64),
        _decoded(Columns.EVENT, [history.event for history in chosen], maps.kinds),
        *(_lists(name, [history.events[name] for history in chosen], pl.Float32) for name in EVENT_NUMBERS),
        _decoded(SEEN, [history.seen for history in chosen], item_ids),
    ]
    columns += [
        _decoded(
            Columns.CATEGORY_PREFIX + field,
            [history.profile.get(field, np.empty(0, np.int64)) for history in chosen],
            ids,
        )
        for field, ids in maps.profiles.items()
    ]
    positions = [sorted(set().union(*history.reviews.values())) for history in chosen]
    columns.append(pl.Series(REVIEW_POSITION, positions, dtype=pl.List(pl.Int64)))
    for name in REVIEW_FIELDS:
        vectors = [
            [_as_list(history.reviews[name].get(at)) for at in where]
            for history, where in zip(chosen, positions, strict=True)
        ]
        columns.append(pl.Series(name, vectors, dtype=_VECTORS))
    return pl.DataFrame(columns)


def _as_list(vector: Floats | None) -> list[float] | None:
    return None if vector is None else vector.tolist()


def _decoded(name: str, arrays: Sequence[Ints], ids: IdMap) -> pl.Series:
    """External ids, null for the reserved ones."""
    external = pl.Series([None] * NUM_RESERVED + list(ids.external), dtype=pl.String)
    flat = np.concatenate([np.empty(0, np.int64), *arrays])
    return _grouped(name, external.gather(flat), arrays)


def _lists(name: str, arrays: Sequence[np.ndarray], dtype: type[pl.DataType]) -> pl.Series:
    """The arrays' values; null where one is NaN."""
    flat = pl.Series(np.concatenate(arrays) if arrays else [], dtype=dtype)
    return _grouped(name, flat.fill_nan(None) if flat.dtype.is_float() else flat, arrays)


def _grouped(name: str, flat: pl.Series, arrays: Sequence[np.ndarray]) -> pl.Series:
    """`flat` cut into lists as long as `arrays`."""
    row = np.repeat(np.arange(len(arrays)), np.array([len(array) for array in arrays], np.int64))
    lists = pl.DataFrame({"row": row, name: flat}).group_by("row", maintain_order=True).agg(name)
    every = pl.DataFrame({"row": np.arange(len(arrays))})
    empty = pl.lit([], dtype=pl.List(flat.dtype))
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.col(name).fill_null(empty)).to_series()


def _from_frame(frame: pl.DataFrame, item_ids: IdMap, maps: IdMaps) -> dict[str, History]:
    lengths = frame[Columns.ITEM].list.len()
    ends = lengths.cast(pl.Int64).cum_sum().to_numpy()
    columns = [Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT, *EVENT_NUMBERS]
    flat = frame.filter(lengths > 0).select(columns).explode(columns)
    arrays = {
        "item": encode(flat[Columns.ITEM], item_ids),
        "event": encode(flat[Columns.EVENT], maps.kinds),
        "timestamp": flat[Columns.TIMESTAMP].to_numpy(writable=True),
    }
    for name in EVENT_NUMBERS:
        arrays[name] = flat[name].fill_null(float("nan")).to_numpy(writable=True)
    events = {name: split_by(array, ends) for name, array in arrays.items()}
    seen = encode_lists(frame[SEEN], item_ids)
    profiles = {
        field: encode_lists(frame[Columns.CATEGORY_PREFIX + field], ids)
        for field, ids in maps.profiles.items()
        if Columns.CATEGORY_PREFIX + field in frame.columns
    }
    reviews = {name: _reviews(frame, name) for name in REVIEW_FIELDS}
    return {
        user: History.of(
            {name: parts[row] for name, parts in events.items()},
            reviews={name: by_event[row] for name, by_event in reviews.items() if row in by_event},
            seen=seen[row][seen[row] >= NUM_RESERVED],
            profile={field: lists[row] for field, lists in profiles.items()},
        )
        for row, user in enumerate(frame[Columns.USER].to_list())
    }


def _reviews(frame: pl.DataFrame, column: str) -> dict[int, dict[int, Floats]]:
    """Row -> position -> vector."""
    by_event = frame.with_row_index("row").filter(pl.col(REVIEW_POSITION).list.len() > 0)
    flat = by_event.select("row", REVIEW_POSITION, column).explode(REVIEW_POSITION, column).drop_nulls(column)
    if not flat.height:
        return {}
    vectors = np.asarray(flat[column].to_list(), np.float32)
    found: dict[int, dict[int, Floats]] = {}
    rows = zip(flat["row"].to_list(), flat[REVIEW_POSITION].to_list(), vectors, strict=True)
    for row, position, vector in rows:
        found.setdefault(row, {})[position] = vector
    return found
