"""The importer of the H&M Personalized Fashion competition.

articles.csv            article_id (10 digits, with leading zeros), prod_name, detail_desc, *_name ...
customers.csv           customer_id, FN, Active, club_member_status, fashion_news_frequency, age, postal_code
transactions_train.csv  t_dat (a date), customer_id, article_id, price, sales_channel_id
images/0XX/<article_id>.jpg   0XX: the first three digits of the id; not every article has a picture

A row of the transactions is the purchase of one piece, so repeated rows are kept. Purchases of one day have
the same time and are in the order of the file. Transactions and customers are read block by block.
"""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl
import tomli_w

from features.dataset import DUPLICATE_ID, FILE_NAME, read_file
from features.importers.blocks import BLOCK_BYTES, LINE, check_columns, csv_blocks
from features.importers.folder import ImportReport, link, new_folder
from features.importers.row_filters import RowFilter, Rule, TableParts
from recsys.errors import DataError
from recsys.progress import Progress, silent

ARTICLE, CUSTOMER, DAY, PRICE, CHANNEL = "article_id", "customer_id", "t_dat", "price", "sales_channel_id"
TITLE, TEXT = "prod_name", "detail_desc"
ITEM_CATEGORIES = (
    "product_type_name", "product_group_name", "graphical_appearance_name", "colour_group_name",
    "perceived_colour_value_name", "perceived_colour_master_name", "department_name", "index_name",
    "index_group_name", "section_name", "garment_group_name",
)  # fmt: skip
FLAGS = ("FN", "Active")
USER_CATEGORIES = (*FLAGS, "club_member_status", "fashion_news_frequency", "age")
AGES = (20, 25, 30, 40, 50, 60)  # lower bounds of the age groups but the first
DATASET = "the Kaggle competition 'H&M Personalized Fashion Recommendations'"
FILES = ("articles.csv", "customers.csv", "transactions_train.csv")


def import_hm(
    source: Path, out: Path, *, progress: Progress = silent, block_bytes: int = BLOCK_BYTES
) -> ImportReport:
    """Write the dataset `out` from the folder `source`. Every purchase is positive.

    An article id of fewer than ten digits has lost its leading zeros in another program; they are restored.
    Pictures are hard links where the file system supports them, else copies. If the import fails, `out` is
    not created. Raises `DataError` where a file or column is missing, a table has no valid row, or `out`
    exists and is not empty.
    """
    for name in FILES:
        if not (source / name).is_file():
            raise DataError(f"{source} has no {name}; {DATASET} has {', '.join(FILES)} and images/")
    with new_folder(out) as folder:
        importer = _Importer(source, folder, progress, block_bytes)
        counts = importer.items() | importer.users() | importer.interactions()
        spec = _spec(has_images=counts["items with a picture"] > 0)
        (folder / FILE_NAME).write_text(tomli_w.dumps(spec), "utf-8")
        rejected = importer.row_filter.write(folder / "rejected.parquet")
        shutil.rmtree(importer.work)
    return ImportReport(
        out=out.absolute(),
        name=str(spec["name"]),
        counts=counts,
        rejected=rejected,
        next_steps=[
            f"recsys check {quote(str(out))}",
            f"recsys run {quote(str(out))} --out run --set evaluate.exclude_seen=false"
            "   (customers buy an article again, so articles that they already bought may be recommended)",
        ],
    )


class _Importer:
    """Writes items, users and interactions to `folder`."""

    def __init__(self, source: Path, folder: Path, progress: Progress, block_bytes: int) -> None:
        self.source, self.folder, self.work = source, folder, folder / "unfinished"
        self.progress, self.block_bytes = progress, block_bytes
        self.row_filter = RowFilter(self.work / "rejected")
        self.known = pl.Series(dtype=pl.String)  # articles

    def items(self) -> dict[str, int]:
        path = self.source / "articles.csv"
        articles = _read_articles(path)
        invalid_id = Rule(ARTICLE, "not an id of ten digits", ~_article_id().str.contains(r"^\d{10}$"))
        articles = self.row_filter.keep(articles, "items", path, [invalid_id])
        num_restored = int((articles[ARTICLE].str.strip_chars().str.len_chars() < 10).sum())
        articles = articles.with_columns(_article_id())
        repeated = Rule(ARTICLE, DUPLICATE_ID, ~pl.col(ARTICLE).is_first_distinct())
        articles = self.row_filter.keep(articles, "items", path, [repeated])
        if not articles.height:
            raise DataError(f"{path} has no article with an id of ten digits")
        self.known = articles[ARTICLE]
        images = pl.Series("image", self._link_images(), dtype=pl.String)
        columns = (ARTICLE, "product_code", TITLE, TEXT, *ITEM_CATEGORIES)
        articles.select(columns).with_columns(images).write_parquet(self.folder / "items.parquet")
        counts = {"items": articles.height, "items with a picture": len(images) - images.null_count()}
        return counts | ({"ids with restored leading zeros": num_restored} if num_restored else {})

    def _link_images(self) -> list[str | None]:
        """The path of each article's picture in the dataset, the same as in the source; None without one."""
        paths: list[str | None] = []
        for done, article in enumerate(self.known, 1):
            path = f"images/{article[:3]}/{article}.jpg"
            exists = (self.source / path).is_file()
            if exists:
                link(self.source / path, self.folder / path)
            paths.append(path if exists else None)
            self.progress("pictures", done, len(self.known))
        return paths

    def users(self) -> dict[str, int]:
        path, parts = self.source / "customers.csv", TableParts(self.work / "users")
        age = pl.col("age").cast(pl.Float64, strict=False)
        for rows in self._read(path, "users", (CUSTOMER, *USER_CATEGORIES)):
            rows = self.row_filter.keep(
                rows, "users", path, [Rule(CUSTOMER, "empty id", pl.col(CUSTOMER).is_null())]
            )
            invalid_age = rows.filter(pl.col("age").is_not_null() & ~age.is_between(0, 120).fill_null(False))
            self.row_filter.reject(
                invalid_age, "users", path, "age", "not an age; the customer is kept without an age"
            )
            parts.add(customers_frame(rows))
        return {"customers": self._finish(parts, path, "users.parquet")}

    def interactions(self) -> dict[str, int]:
        path, parts = self.source / "transactions_train.csv", TableParts(self.work / "interactions")
        rules = [
            Rule(CUSTOMER, "empty id", pl.col(CUSTOMER).is_null()),
            Rule(ARTICLE, "an article that is not in articles.csv", ~self._is_known()),
            Rule(DAY, "not a date such as 2020-09-22", _day().is_null()),
            Rule(CHANNEL, "empty; the row may be incomplete", pl.col(CHANNEL).is_null()),
        ]
        for rows in self._read(path, "interactions", (DAY, CUSTOMER, ARTICLE, PRICE, CHANNEL)):
            parts.add(transactions_frame(self.row_filter.keep(rows, "interactions", path, rules)))
        return {"interactions": self._finish(parts, path, "interactions.parquet")}

    def _is_known(self) -> pl.Expr:
        return pl.col(ARTICLE).is_not_null() & _article_id().is_in(self.known.implode())

    def _read(self, path: Path, table: str, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        return csv_blocks(path, columns, step=table, progress=self.progress, block_bytes=self.block_bytes)

    def _finish(self, parts: TableParts, path: Path, name: str) -> int:
        """Write the table; returns its number of rows."""
        if not parts.num_rows:
            raise DataError(f"{path} has no valid row in the layout of {DATASET}")
        parts.scan().sink_parquet(self.folder / name)
        return parts.num_rows


def customers_frame(raw: pl.DataFrame) -> pl.DataFrame:
    """The customers. `age` becomes an age group, null outside 0 to 120; a flag becomes "yes" or null."""
    age = pl.col("age").cast(pl.Float64, strict=False)
    bounds = [(AGES[0], f"under {AGES[0]}"), *((high, f"{low}-{high - 1}") for low, high in pairwise(AGES))]
    groups = [pl.when(age < end).then(pl.lit(label)) for end, label in bounds]
    group = pl.coalesce(*groups, pl.lit(f"{AGES[-1]} and over"))
    flags = [pl.when(pl.col(name).cast(pl.Float64, strict=False) == 1).then(pl.lit("yes")) for name in FLAGS]
    return raw.select(
        CUSTOMER,
        *(flag.alias(name) for name, flag in zip(FLAGS, flags, strict=True)),
        "club_member_status",
        pl.col("fashion_news_frequency").str.to_uppercase(),  # the file has NONE and None
        pl.when(age.is_between(0, 120)).then(group).alias("age"),
    )


def transactions_frame(raw: pl.DataFrame) -> pl.DataFrame:
    """The purchases. The kind of an event is its sales channel."""
    channel = pl.concat_str(pl.lit("channel "), pl.col(CHANNEL)).alias(CHANNEL)
    return raw.select(CUSTOMER, _article_id(), _day(), pl.col(PRICE).cast(pl.Float64, strict=False), channel)


def _article_id() -> pl.Expr:
    return pl.col(ARTICLE).str.strip_chars().str.zfill(10)


def _day() -> pl.Expr:
    return pl.col(DAY).str.to_date("%Y-%m-%d", strict=False)


def _read_articles(path: Path) -> pl.DataFrame:
    try:
        articles = read_file(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    check_columns(path, articles.columns, (ARTICLE, "product_code", TITLE, TEXT, *ITEM_CATEGORIES))
    return articles.with_row_index(LINE)


def _spec(*, has_images: bool) -> dict[str, Any]:
    """The content of dataset.toml."""
    items: dict[str, Any] = {"path": "items.parquet", "id": ARTICLE, "title": TITLE, "text": TEXT}
    items |= {"image": "image"} if has_images else {}
    return {
        "name": "hm",
        "items": items | {"categories": list(ITEM_CATEGORIES)},
        "interactions": {
            "path": "interactions.parquet",
            "user": CUSTOMER,
            "item": ARTICLE,
            "timestamp": DAY,
            "time": "iso",
            "event": CHANNEL,
        },
        "users": {"path": "users.parquet", "id": CUSTOMER, "categories": list(USER_CATEGORIES)},
    }
