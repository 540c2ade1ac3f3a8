"""The H&M Personalized Fashion competition to a dataset folder.

articles.csv            article_id (10 digits, leading zeros count), prod_name, detail_desc, *_name ...
customers.csv           customer_id, FN, Active, club_member_status, fashion_news_frequency, age, postal_code
transactions_train.csv  t_dat (a date), customer_id, article_id, price, sales_channel_id
images/0XX/<article_id>.jpg   XX: the article's second and third digit; not every article has one

A row of the transactions is one piece bought, so repetitions are kept. A day's purchases have the same
time, and their order is that of the file. Transactions and customers are read block by block.
"""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl
import tomli_w

from features.dataset import FILE_NAME, read_file
from features.importers.blocks import BLOCK_BYTES, LINE, check_columns, csv_blocks
from features.importers.folder import ImportReport, link, new_folder
from features.importers.row_filters import Parts, Rule, Sieve
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
AGES = (20, 25, 30, 40, 50, 60)  # where one group ends and the next starts
DATASET = "the Kaggle competition 'H&M Personalized Fashion Recommendations'"
FILES = ("articles.csv", "customers.csv", "transactions_train.csv")


def import_hm(
    source: Path, out: Path, *, progress: Progress = silent, block_bytes: int = BLOCK_BYTES
) -> ImportReport:
    """Write the dataset `out` from the folder `source`. Every purchase is positive.

    An article id of fewer than ten digits has lost leading zeros in another program; they are restored.
    Pictures are hard links where the file system allows, else copies. `out` appears whole or not at all.
    Raises `DataError` where a file or column is missing, nothing is left, or `out` exists and is not empty.
    """
    for name in FILES:
        if not (source / name).is_file():
            raise DataError(f"{source} has no {name}; {DATASET} has {', '.join(FILES)} and images/")
    with new_folder(out) as folder:
        importer = _Importer(source, folder, progress, block_bytes)
        counts = importer.items() | importer.users() | importer.interactions()
        spec = _spec(has_images=counts["items with a picture"] > 0)
        (folder / FILE_NAME).write_text(tomli_w.dumps(spec), "utf-8")
        rejected = importer.sieve.write(folder / "rejected.parquet")
        shutil.rmtree(importer.work)
    return ImportReport(
        out=out.absolute(),
        name=str(spec["name"]),
        counts=counts,
        rejected=rejected,
        next_steps=[
            f"recsys check {quote(str(out))}",
            f"recsys run {quote(str(out))} --out run --set evaluate.exclude_seen=false"
            "   (customers buy an article again: what they have may be recommended)",
        ],
    )


class _Importer:
    """The three tables, each written to `folder`."""

    def __init__(self, source: Path, folder: Path, progress: Progress, block_bytes: int) -> None:
        self.source, self.folder, self.work = source, folder, folder / "unfinished"
        self.progress, self.block_bytes = progress, block_bytes
        self.sieve = Sieve(self.work / "rejected")
        self.known = pl.Series(dtype=pl.String)  # articles

    def items(self) -> dict[str, int]:
        path = self.source / "articles.csv"
        articles = _read_articles(path)
        no_id = Rule(ARTICLE, "not an id of ten digits", ~_article_id().str.contains(r"^\d{10}$"))
        articles = self.sieve.keep(articles, "items", path, [no_id])
        num_restored = int((articles[ARTICLE].str.strip_chars().str.len_chars() < 10).sum())
        articles = articles.with_columns(_article_id())
        again = Rule(
            ARTICLE, "id appears twice; the first row was kept", ~pl.col(ARTICLE).is_first_distinct()
        )
        articles = self.sieve.keep(articles, "items", path, [again])
        if not articles.height:
            raise DataError(f"{path} holds no article with an id of ten digits")
        self.known = articles[ARTICLE]
        images = pl.Series("image", self._link_images(), dtype=pl.String)
        columns = (ARTICLE, "product_code", TITLE, TEXT, *ITEM_CATEGORIES)
        articles.select(columns).with_columns(images).write_parquet(self.folder / "items.parquet")
        counts = {"items": articles.height, "items with a picture": len(images) - images.null_count()}
        return counts | ({"ids given back their leading zeros": num_restored} if num_restored else {})

    def _link_images(self) -> list[str | None]:
        """Path in the dataset of each article's picture, as in the source."""
        paths: list[str | None] = []
        for done, article in enumerate(self.known, 1):
            path = f"images/{article[:3]}/{article}.jpg"
            is_there = (self.source / path).is_file()
            if is_there:
                link(self.source / path, self.folder / path)
            paths.append(path if is_there else None)
            self.progress("pictures", done, len(self.known))
        return paths

    def users(self) -> dict[str, int]:
        path, parts = self.source / "customers.csv", Parts(self.work / "users")
        age = pl.col("age").cast(pl.Float64, strict=False)
        for rows in self._read(path, "users", (CUSTOMER, *USER_CATEGORIES)):
            rows = self.sieve.keep(
                rows, "users", path, [Rule(CUSTOMER, "empty id", pl.col(CUSTOMER).is_null())]
            )
            no_age = rows.filter(pl.col("age").is_not_null() & ~age.is_between(0, 120).fill_null(False))
            self.sieve.drop(no_age, "users", path, "age", "not an age; the customer is kept without one")
            parts.add(customers_frame(rows))
        return {"customers": self._finish(parts, path, "users.parquet")}

    def interactions(self) -> dict[str, int]:
        path, parts = self.source / "transactions_train.csv", Parts(self.work / "interactions")
        rules = [
            Rule(CUSTOMER, "empty id", pl.col(CUSTOMER).is_null()),
            Rule(ARTICLE, "an article that articles.csv does not have", ~self._is_known()),
            Rule(DAY, "not a date such as 2020-09-22", _day().is_null()),
            Rule(CHANNEL, "empty; the row may be cut off", pl.col(CHANNEL).is_null()),
        ]
        for rows in self._read(path, "interactions", (DAY, CUSTOMER, ARTICLE, PRICE, CHANNEL)):
            parts.add(transactions_frame(self.sieve.keep(rows, "interactions", path, rules)))
        return {"interactions": self._finish(parts, path, "interactions.parquet")}

    def _is_known(self) -> pl.Expr:
        return pl.col(ARTICLE).is_not_null() & _article_id().is_in(self.known.implode())

    def _read(self, path: Path, table: str, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        return csv_blocks(path, columns, step=table, progress=self.progress, block_bytes=self.block_bytes)

    def _finish(self, parts: Parts, path: Path, name: str) -> int:
        """Write the table; returns its rows."""
        if not parts.num_rows:
            raise DataError(f"{path} holds no row that can be used, in the form of {DATASET}")
        parts.scan().sink_parquet(self.folder / name)
        return parts.num_rows


def customers_frame(raw: pl.DataFrame) -> pl.DataFrame:
    """The customers: their age as an age group, null outside 0 to 120; their flags as "yes" or null."""
    age = pl.col("age").cast(pl.Float64, strict=False)
    ends = [(AGES[0], f"under {AGES[0]}"), *((high, f"{low}-{high - 1}") for low, high in pairwise(AGES))]
    groups = [pl.when(age < end).then(pl.lit(label)) for end, label in ends]
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
    """The purchases; the sales channel becomes the kind of the event."""
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
