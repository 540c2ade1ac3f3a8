"""A table of who looked at which picture when, to the interactions of a photo library."""

from pathlib import Path

import polars as pl

from features.dataset import Rejected, read_file
from features.importers.blocks import check_columns
from features.importers.photos.tables import ID
from recsys.errors import DataError

COLUMNS = USER, PATH, TIME = "user", "path", "time"


def read_views(path: Path, root: Path, known: pl.Series) -> tuple[pl.DataFrame, str, list[Rejected]]:
    """The views of pictures in `known`, the unit of their times, and the other rows.

    A path is relative to the folder `root` of the pictures, or absolute. Times are Unix seconds, or ISO.
    Raises `DataError` where the file has not the columns user, path and time, or no row of a known picture.
    """
    try:
        raw = read_file(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    check_columns(path, raw.columns, COLUMNS)
    raw = raw.select(pl.col(COLUMNS).cast(pl.String)).with_row_index("row")
    prefixes = (f"{root}/", "./")
    photo = pl.col(PATH).str.strip_chars()
    for prefix in prefixes:
        photo = photo.str.strip_prefix(prefix)
    views = raw.with_columns(photo.alias(ID))
    is_known = pl.col(ID).is_in(known.implode()).fill_null(False)
    rejected = [
        Rejected(
            table="interactions",
            path=str(path),
            row=row["row"],
            column=PATH,
            value=row[PATH] or "",
            reason="no picture of the library; write the path below its folder, as in items.parquet",
        )
        for row in views.filter(~is_known).iter_rows(named=True)
    ]
    kept = views.filter(is_known).select(USER, ID, TIME)
    if not kept.height:
        raise DataError(
            f"{path}: none of its {raw.height:,} rows is of a picture in {root}; the first has "
            f"{raw[PATH].first()!r}, the first picture is {known.first()!r}"
        )
    return kept, time_unit(kept[TIME]), rejected


def time_unit(times: pl.Series) -> str:
    """unix_s where most times are numbers of at least nine digits, else iso."""
    numbers = times.str.strip_chars().str.contains(r"^\d{9,11}(\.\d+)?$")
    return "unix_s" if 2 * int(numbers.sum()) > len(numbers) else "iso"
