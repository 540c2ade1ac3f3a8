"""The importer of MovieLens, of any release, with posters, plots and spoken reviews where they exist.

ratings.csv + movies.csv                     latest, latest-small, 20M, 25M, 32M
ratings.dat + movies.dat (+ users.dat)       1M, 10M
u.data + u.item (+ u.user, u.genre)          100k
posters/<movieId>.jpg                        pictures
plots.csv                                    movieId, overview, plot, director, actors
spoken_reviews/reviews.csv                   userId, movieId, rating, timestamp, text, audio
"""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl
import tomli_w

from features.dataset import FILE_NAME, MediaFolder
from features.importers.folder import PICTURE_SUFFIXES, ImportReport, check_positive, link, new_folder
from features.importers.movielens_tables import (
    ITEM,
    RATING,
    TIME,
    USER,
    Layout,
    find_layout,
    read_plots,
    read_spoken,
)
from recsys.progress import Progress, silent

POSTERS, SPOKEN = "posters", "spoken_reviews"


def import_movielens(
    source: Path, out: Path, *, positive: str | None = "rating >= 3.5", progress: Progress = silent
) -> ImportReport:
    """Write the dataset `out` from the MovieLens folder `source`.

    Media are hard links where the file system supports them, else copies. `positive` is the SQL expression
    of dataset.toml over userId, movieId, rating and timestamp; with None or "" every rating is positive. If
    the import fails, `out` is not created. Raises `DataError` where `source` has no known layout, `out`
    exists and is not empty, or `positive` is invalid.
    """
    layout = find_layout(source.resolve())
    if positive:
        check_positive(positive, (USER, ITEM, RATING, TIME))
    with new_folder(out) as folder:
        counts = _write(layout, folder, positive, progress)
    return ImportReport(
        out=out.absolute(), name=layout.name, counts=counts, next_steps=[f"recsys check {quote(str(out))}"]
    )


def _write(layout: Layout, out: Path, positive: str | None, progress: Progress) -> dict[str, int]:
    items, users = layout.movies(), layout.users()
    counts: dict[str, int] = {}
    if (layout.root / "plots.csv").is_file():
        items = items.join(read_plots(layout.root / "plots.csv"), on=ITEM, how="left", maintain_order="left")
        counts["plots"] = items.filter(pl.any_horizontal(pl.col("overview", "plot").is_not_null())).height
    posters = _link_posters(layout.root / POSTERS, out / POSTERS, progress)
    if posters.height:
        items = items.join(posters, on=ITEM, how="left", maintain_order="left")
        counts["posters"] = items.height - items["poster"].null_count()
    ratings = layout.ratings()
    items.write_parquet(out / "items.parquet")
    ratings.write_parquet(out / "interactions.parquet")
    counts |= {"items": items.height, "interactions": ratings.height, "users": ratings[USER].n_unique()}
    if users is not None:
        users.write_parquet(out / "users.parquet")
    has_reviews = (layout.root / SPOKEN / "reviews.csv").is_file()
    if has_reviews:
        reviews = read_spoken(layout.root / SPOKEN / "reviews.csv")
        reviews = reviews.with_columns((pl.lit(f"{SPOKEN}/") + pl.col("audio")).alias("audio"))
        reviews.write_parquet(out / "reviews.parquet")
        counts |= {
            "spoken_reviews": reviews.height,
            "recordings": _link_recordings(layout.root, out, reviews),
        }
    spec = _spec(layout, items, users, positive, has_reviews=has_reviews)
    (out / FILE_NAME).write_text(tomli_w.dumps(spec), "utf-8")
    return counts


def _spec(
    layout: Layout,
    items: pl.DataFrame,
    users: pl.DataFrame | None,
    positive: str | None,
    *,
    has_reviews: bool,
) -> Mapping[str, Any]:
    """The content of dataset.toml."""

    def present(*names: str) -> list[str]:
        return [name for name in names if name in items.columns]

    table: dict[str, Any] = {"path": "items.parquet", "id": ITEM, "title": "title"}
    table |= {"text": present("overview", "plot")} if present("overview", "plot") else {}
    table |= {"image": "poster"} if "poster" in items.columns else {}
    table |= {"categories": present("genres", "director", "actors"), "numeric": ["year"]}
    interactions = {
        "path": "interactions.parquet",
        "user": USER,
        "item": ITEM,
        "timestamp": TIME,
        "time": "unix_s",
        "value": RATING,
    }
    spec: dict[str, Any] = {"name": layout.name, "items": table, "interactions": interactions}
    if positive:
        interactions["positive"] = positive
    if has_reviews:
        spec["reviews"] = {
            "path": "reviews.parquet",
            "user": USER,
            "item": ITEM,
            "timestamp": TIME,
            "audio": "audio",
            "value": RATING,
        }
    if users is not None:
        categories = [name for name in users.columns if name != USER]
        spec["users"] = {"path": "users.parquet", "id": USER, "categories": categories}
    return spec


def _link_posters(folder: Path, out: Path, progress: Progress) -> pl.DataFrame:
    """Link the files `<movieId>.<suffix>`. Returns the columns movieId and poster, a path in the dataset."""
    found: dict[int, str] = {}
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    for done, path in enumerate(paths, 1):
        progress("posters", done, len(paths))
        if path.suffix.lower() in PICTURE_SUFFIXES and path.stem.isdecimal() and path.is_file():
            link(path, out / path.name)
            found[int(path.stem)] = f"{POSTERS}/{path.name}"
    return pl.DataFrame(
        {ITEM: list(found), "poster": list(found.values())}, schema={ITEM: pl.Int64, "poster": pl.String}
    )


def _link_recordings(root: Path, out: Path, reviews: pl.DataFrame) -> int:
    """Link the recordings that exist; `recsys check` reports the others. Returns the number of links."""
    found = MediaFolder(root).check(reviews["audio"]).drop_nulls("absolute")
    for path, absolute in found.select("path", "absolute").iter_rows():
        link(Path(absolute), out / path)
    return found.height
