"""The tables of the public MovieLens layouts, with the same column names for every layout."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from features.dataset import read_file
from recsys.errors import DataError

USER, ITEM, RATING, TIME = "userId", "movieId", "rating", "timestamp"
NO_GENRE = "(no genres listed)"
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip

_ARTICLES = (
    "The|A|An|La|Le|Les|L'|Il|Lo|I|Gli|El|Los|Las|Un|Une|Una|Der|Die|Das|Ein|Eine|De|Het|Den|Det|O|Os|As"
)
_TRAILING_ARTICLE = re.compile(rf"(^|(?<=\())([^()]+), ({_ARTICLES})(?=\)|\s*\(|\s*$)")
_YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
_MOVIE_TYPES: Mapping[str, type[pl.DataType]] = {ITEM: pl.Int64, "title": pl.String, "genres": pl.String}
_RATING_TYPES: Mapping[str, type[pl.DataType]] = {
    USER: pl.Int64,
    ITEM: pl.Int64,
    RATING: pl.Float64,
    TIME: pl.Int64,
}


class Layout(Protocol):
    """The files of one MovieLens release."""

    @property
    def root(self) -> Path: ...

    @property
    def name(self) -> str: ...

    def ratings(self) -> pl.DataFrame:
        """userId, movieId, rating, timestamp (Unix seconds), in the file's order."""

    def movies(self) -> pl.DataFrame:
        """movieId, title, year, genres (a list)."""

    def users(self) -> pl.DataFrame | None:
        """userId and the fields of the user, None where the release has no table of users."""


def find_layout(source: Path) -> Layout:
    """The layout of the folder `source`, or of the first folder in it that has a known layout.

    Raises `DataError` where no known layout is found.
    """
    if source.is_file():
        raise DataError(f"{source} is a file; unpack it and give the folder")
    if not source.is_dir():
        raise DataError(f"no folder at {source}")
    for folder in (source, *(path for path in sorted(source.iterdir()) if path.is_dir())):
        for layout, files in _LAYOUTS:
            if all((folder / name).is_file() for name in files):
                return layout(root=folder, name=_dataset_name(folder))
    known = "; ".join(" + ".join(files) for _, files in _LAYOUTS)
    raise DataError(f"{source} has no known MovieLens release; known: {known}")


@dataclass(frozen=True, kw_only=True)
class CsvLayout:
    root: Path
    name: str

    def ratings(self) -> pl.DataFrame:
        return _typed(read_file(self.root / "ratings.csv"), _RATING_TYPES, self.root / "ratings.csv")

    def movies(self) -> pl.DataFrame:
        path = self.root / "movies.csv"
        return _movies(
            _typed(read_file(path), {ITEM: pl.Int64, "title": pl.String, "genres": pl.String}, path)
        )

    def users(self) -> pl.DataFrame | None:
        return None


@dataclass(frozen=True, kw_only=True)
class DatLayout:
    root: Path
    name: str

    def ratings(self) -> pl.DataFrame:
        path = self.root / "ratings.dat"
        return _typed(_read_separated(path, "::", list(_RATING_TYPES)), _RATING_TYPES, path)

    def movies(self) -> pl.DataFrame:
        path = self.root / "movies.dat"
        return _movies(_typed(_read_separated(path, "::", list(_MOVIE_TYPES)), _MOVIE_TYPES, path))

    def users(self) -> pl.DataFrame | None:
        path = self.root / "users.dat"
        if not path.is_file():
            return None
        types = {USER: pl.Int64, "gender": pl.String, "age": pl.String, "occupation": pl.String}
        return _typed(_read_separated(path, "::", [*types, "zip"]), types, path)


@dataclass(frozen=True, kw_only=True)
class Ml100kLayout:
    root: Path
    name: str

    def ratings(self) -> pl.DataFrame:
        path = self.root / "u.data"
        return _typed(_read_separated(path, "\t", list(_RATING_TYPES)), _RATING_TYPES, path)

    def movies(self) -> pl.DataFrame:
        path, genres = self.root / "u.item", self._genres()
        columns = [ITEM, "title", "released", "video", "imdb", *genres]
        frame = _read_separated(path, "|", columns)
        flags = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in genres if name != "unknown"]
        frame = frame.with_columns(genres=pl.concat_list(flags).list.drop_nulls().list.join("|"))
        return _movies(_typed(frame, _MOVIE_TYPES, path))

    def users(self) -> pl.DataFrame | None:
        path = self.root / "u.user"
        if not path.is_file():
            return None
        types = {USER: pl.Int64, "age": pl.Int64, "gender": pl.String, "occupation": pl.String}
        users = _typed(_read_separated(path, "|", [*types, "zip"]), types, path)
        return users.with_columns((pl.col("age") // 10 * 10).cast(pl.String))  # the decade

    def _genres(self) -> Sequence[str]:
        path = self.root / "u.genre"
        if not path.is_file():
            return GENRES_100K
        lines = [line.split("|") for line in path.read_text("latin-1").splitlines() if "|" in line]
        return [name for name, _ in sorted(lines, key=lambda line: int(line[1]))]


_LAYOUTS = (
    (CsvLayout, ("ratings.csv", "movies.csv")),
    (DatLayout, ("ratings.dat", "movies.dat")),
    (Ml100kLayout, ("u.data", "u.item")),
)


def read_plots(path: Path) -> pl.DataFrame:
    """movieId, overview, plot, director and actors, the last two as lists."""
    texts = dict.fromkeys(("overview", "plot", "director", "actors"), pl.String)
    types: dict[str, type[pl.DataType]] = {ITEM: pl.Int64, **texts}
    plots = _typed(read_file(path), types, path).unique(ITEM, keep="first", maintain_order=True)
    names = pl.col("director", "actors").fill_null("").str.split(",")
    return plots.with_columns(
        names.list.eval(pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != ""))
    )


def read_spoken(path: Path) -> pl.DataFrame:
    """The spoken reviews. `spoken_text` is the spoken text, for checks of transcripts; no model reads it."""
    types: dict[str, type[pl.DataType]] = {**_RATING_TYPES, "text": pl.String, "audio": pl.String}
    frame = read_file(path)
    if "text" not in frame.columns:
        del types["text"]
    return _typed(frame, types, path).rename({"text": "spoken_text"}, strict=False)


def clean_title(title: str) -> tuple[str, int | None]:
    """Title and year of a MovieLens title, for example ("The Matrix", 1999) of "Matrix, The (1999)"."""
    found = _YEAR.search(title)
    year = int(found.group(1)) if found else None
    without_year = title[: found.start()] if found else title
    moved = _TRAILING_ARTICLE.sub(
        lambda match: _with_article(match.group(3), match.group(2)), without_year.strip()
    )
    return (moved or title.strip()), year


def _with_article(article: str, rest: str) -> str:
    return article + rest if article.endswith("'") else f"{article} {rest}"


def _movies(frame: pl.DataFrame) -> pl.DataFrame:
    titles = [clean_title(title or "") for title in frame["title"].to_list()]
    genres = pl.col("genres").fill_null("").str.split("|")
    return frame.select(
        ITEM,
        pl.Series("title", [title for title, _ in titles], dtype=pl.String),
        pl.Series("year", [year for _, year in titles], dtype=pl.Int64),
        genres.list.eval(pl.element().filter((pl.element() != "") & (pl.element() != NO_GENRE))),
    )


def _read_separated(path: Path, separator: str, columns: list[str]) -> pl.DataFrame:
    """A file without header and quotes, in UTF-8 (the 10M release) or latin-1 (the older releases)."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode("utf-8")
    # The CSV reader accepts only a separator of one byte. No table contains the byte 0x1f.
    delimiter = "\x1f" if len(separator) > 1 else separator
    content = content.replace(separator.encode(), delimiter.encode())
    try:
        return pl.read_csv(
            content,
            separator=delimiter,
            has_header=False,
            quote_char=None,
            infer_schema=False,
            new_columns=columns,
            glob=False,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _typed(frame: pl.DataFrame, types: Mapping[str, type[pl.DataType]], path: Path) -> pl.DataFrame:
    """The columns of `types`, cast. Raises `DataError` with the first unreadable value of each column."""
    missing = [name for name in types if name not in frame.columns]
    if missing:
        known = ", ".join(frame.columns)
        raise DataError(f"{path} has no MovieLens layout: no column {missing[0]!r}; known: {known}")
    columns = [pl.col(name).str.strip_chars().cast(of, strict=False) for name, of in types.items()]
    cast = frame.select(columns)
    problems = []
    for name in types:
        bad = (cast[name].is_null() & frame[name].is_not_null()).arg_true()
        if len(bad):
            value = frame[name][int(bad[0])]
            problems.append(
                f"column {name!r}, row {bad[0]}: {value!r} is not a number ({len(bad)} such rows)"
            )
    if problems:
        raise DataError(f"{path} has no MovieLens layout:", problems)
    return cast


def _dataset_name(folder: Path) -> str:
    """The name of the folder, in which a prefix "ml-" becomes "movielens-"."""
    return re.sub(r"^ml-", "movielens-", folder.name)
