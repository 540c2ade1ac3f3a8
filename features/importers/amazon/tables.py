"""The tables of Amazon Reviews 2023: paths of the files, and lines to typed columns.

    <Category>.jsonl[.gz]        rating, title, text, images, asin, parent_asin, user_id, timestamp (Unix
                                 milliseconds), helpful_vote, verified_purchase
    meta_<Category>.jsonl[.gz]   main_category, title, average_rating, rating_number, features, description,
                                 price, images, videos, store, categories, details, parent_asin, ...

average_rating and rating_number are computed from the whole log, test events included, and helpful_vote
counts later votes. None of these fields is read, since each would leak test events into the features. The
metadata has URLs of pictures; no picture is downloaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features.importers.blocks import LINE, Schema, check_columns
from features.importers.row_filters import Rule, num_rows
from recsys.errors import DataError, did_you_mean

USER, ITEM, RATING, TIME = "user_id", "parent_asin", "rating", "timestamp"
VERIFIED, TEXT = "verified_purchase", "text"
EVENT_COLUMNS = (USER, ITEM, RATING, TIME, VERIFIED)
ITEM_TEXTS = ("features", "description")
CATEGORIES = ("categories", "store", "main_category")
DATASET = "Amazon Reviews 2023 (McAuley Lab)"

REVIEW_SCHEMA: Schema = dict.fromkeys((USER, ITEM, RATING, TIME, VERIFIED, "title", TEXT), pl.String)
_PICTURE = pl.Struct(dict.fromkeys(("hi_res", "large", "thumb"), pl.String))
ITEM_SCHEMA: Schema = {
    **dict.fromkeys((ITEM, "title", "store", "main_category", "price"), pl.String),
    **dict.fromkeys((*ITEM_TEXTS, "categories"), pl.List(pl.String)),
}
PICTURE_SCHEMA: Schema = {"images": pl.List(_PICTURE)}  # read only if a folder of pictures is given
_FOLDERS = (".", "raw/review_categories", "raw/meta_categories", "review_categories", "meta_categories")
_EXTENSIONS = (".jsonl", ".jsonl.gz")
_ENTITIES = {"&amp;": "&", "&quot;": '"', "&#34;": '"', "&#39;": "'", "&lt;": "<", "&gt;": ">", "&nbsp;": " "}


@dataclass(frozen=True, kw_only=True)
class CategoryFiles:
    category: str
    reviews: Path
    metadata: Path


def find_category(source: Path, category: str | None) -> CategoryFiles:
    """The files of `category`, or of the only category in `source` where `category` is None.

    Raises `DataError` that names the missing file, or the categories to choose from.
    """
    if not source.is_dir():
        raise DataError(
            f"no folder at {source}; give the folder with the two files of a category of {DATASET}"
        )
    found = {path.name: path for path in _files(source)}
    names = sorted({_category(name) for name in found})
    if category is None:
        if len(names) != 1:
            raise DataError(
                f"{source} has the categories {', '.join(names)}; choose one with --category" if names
                else f"{source} has no <Category>.jsonl[.gz] and no meta_<Category>.jsonl[.gz], the raw "
                f"reviews and metadata of {DATASET}"
            )  # fmt: skip
        category = names[0]
    elif category not in names:
        raise DataError(f"{source} has no category {category!r}; {did_you_mean(category, names)}")
    paths = []
    for stem, content in ((category, "reviews"), (f"meta_{category}", "metadata")):
        path = next((found[stem + extension] for extension in _EXTENSIONS if stem + extension in found), None)
        if path is None:
            raise DataError(f"{source} has no {stem}.jsonl or .jsonl.gz: the raw {content} of {DATASET}")
        paths.append(path)
    return CategoryFiles(category=category, reviews=paths[0], metadata=paths[1])


def _files(source: Path) -> Iterable[Path]:
    for folder in _FOLDERS:
        if (source / folder).is_dir():
            yield from (
                path for path in sorted((source / folder).iterdir()) if path.name.endswith(_EXTENSIONS)
            )


def _category(name: str) -> str:
    return name.partition(".jsonl")[0].removeprefix("meta_")


def review_rules() -> tuple[Rule, ...]:
    """The rules that reject raw reviews."""
    rating, time = pl.col(RATING).cast(pl.Float64, strict=False), pl.col(TIME).cast(pl.Int64, strict=False)
    return (
        Rule(USER, "empty id", _stripped(USER).is_null()),
        Rule(ITEM, "empty id", _stripped(ITEM).is_null()),
        Rule(TIME, "not a time in Unix milliseconds", time.is_null() | (time < 0)),
        Rule(RATING, "not a rating from 1 to 5", rating.is_null() | ~rating.is_between(1, 5)),
    )


def reviews_frame(raw: pl.DataFrame) -> pl.DataFrame:
    """`LINE`, `EVENT_COLUMNS` and `text`: the title and the text of the review, null where both are empty."""
    words = pl.concat_str(
        _without_html(pl.col("title")), _without_html(pl.col(TEXT)), separator="\n", ignore_nulls=True
    )
    return raw.select(
        LINE,
        _stripped(USER),
        _stripped(ITEM),
        pl.col(RATING).cast(pl.Float64),
        pl.col(TIME).cast(pl.Int64),
        pl.col(VERIFIED) == "true",
        pl.when(words != "").then(words).alias(TEXT),
    )


def item_rules() -> tuple[Rule, ...]:
    """The rules that reject raw metadata."""
    return (Rule(ITEM, "empty id", _stripped(ITEM).is_null()),)


def items_frame(raw: pl.DataFrame) -> pl.DataFrame:
    """One row an item. `price` is the first number in the raw price, in dollars at the time of the crawl."""
    price = pl.col("price").str.extract(r"(\d[\d,]*(?:\.\d+)?)").str.replace_all(",", "", literal=True)
    return raw.select(
        LINE,
        _stripped(ITEM),
        _without_html(pl.col("title")),
        *(_without_html(pl.col(name).list.drop_nulls().list.join("\n")) for name in ITEM_TEXTS),
        pl.col("categories").fill_null(pl.lit([], dtype=pl.List(pl.String))),
        _stripped("store"),
        _stripped("main_category"),
        price.cast(pl.Float64),
        *(name for name in PICTURE_SCHEMA if name in raw.columns),
    )


def write_split(source: Path, category: str, out: Path) -> dict[str, int]:
    """Write train.parquet and test.parquet from the published files of `category`; returns their row counts.

    The published validation events become training events, so that they are in the history at test time, as
    in the published results. A run selects its own validation events from the training events.
    """
    paths = {part: source / f"{category}.{part}.csv" for part in ("train", "valid", "test")}
    columns, tables = [USER, ITEM, TIME], {}
    for part, path in paths.items():
        if not path.is_file():
            raise DataError(
                f"{source} has no {path.name}: which is part of the published splits of {DATASET}"
            )
        tables[part] = pl.scan_csv(path, infer_schema=False, glob=False)
        check_columns(path, tables[part].collect_schema().names(), columns)
    out.mkdir()
    train = pl.concat([tables["train"].select(columns), tables["valid"].select(columns)])
    counts = {}
    for name, table in (("train", train), ("test", tables["test"].select(columns))):
        table.sink_parquet(out / f"{name}.parquet")
        counts[f"{name} rows of the split"] = num_rows(out / f"{name}.parquet")
    return counts


def _stripped(name: str) -> pl.Expr:
    """The column without surrounding white space, null where the value is empty."""
    text = pl.col(name).str.strip_chars()
    return pl.when(text != "").then(text)


def _without_html(text: pl.Expr) -> pl.Expr:
    """The text without the HTML of reviews and descriptions, null where the result is empty."""
    text = text.str.replace_all(r"(?i)<br\s*/?>", "\n").str.replace_many(_ENTITIES).str.strip_chars()
    return pl.when(text != "").then(text)
