"""The H&M Personalized Fashion competition to a dataset folder.

articles.csv            article_id (10 digits, leading zeros count), prod_name, detail_desc, *_name ...
customers.csv           customer_id, FN, Active, club_member_status, fashion_news_frequency, age, postal_code
transactions_train.csv  t_dat (a date), customer_id, article_id, price, sales_channel_id
images/0XX/<article_id>.jpg   XX: the article's second and third digit; not every article has one

A row of the transactions is one piece bought, so repetitions are kept. A day's purchases have the same
time, and their order is that of the file. Transactions and customers are read block by block.
"""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w

from features.importers.blocks import BLOCK_BYTES, LINE, check_columns, csv_blocks
from features.importers.folder import ImportReport, link, new_folder
from features.importers.sifting import Parts, Rule, Sieve, num_rows
from features.readers import read_file
from features.schema import FILE_NAME
from recsys.errors import DataError
from recsys.progress import Progress, silent

ARTICLE, CUSTOMER, DAY, PRICE, CHANNEL = "article_id", "customer_id", "t_dat", "price", "sales_channel_id"
TITLE, TEXT = "prod_name", "detail_desc"
ITEM_CATEGORIES = (
    "product_type_name", "product_group_name", "graphical_appearance_name", "colour_group_name",
    "perceived_colour_value_name", "perceived_colour_master_name", "department_name", "index_name",
    "index_group_name", "section_name", "garment_group_name",
)  # fmt: skip
USER_CATEGORIES = ("FN", "Active", "club_member_status", "fashion_news_frequency", "age")
AGES = (20, 25, 30, 40, 50, 60)  # where one group ends and the next starts
DATASET = "the Kaggle competition 'H&M Personalized Fashion Recommendations'"
FILES = ("articles.csv", "customers.csv", "transactions_train.csv")


def import_hm(
    source: Path, out: Path, *, progress: Progress = silent, block_bytes: int = BLOCK_BYTES
) -> ImportReport:
    """Write the dataset `out` from the folder `source`. Every purchase is positive.

    An article id of fewer than ten digits lost its leading zeros in other hands and gets them back.
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
        set_aside = importer.sieve.write(folder / "set_aside.parquet")
        shutil.rmtree(importer.work)
    return ImportReport(
        out=out.absolute(),
        name=str(spec["name"]),
        counts=counts,
        set_aside=set_aside,
        next_steps=[
            f"recsys check {out}",
            f"recsys run {out} --out run --set evaluate.exclude_seen=false"
            "   (customers buy an article again: what they have may be recommended)",
        ],
    )


class _Importer:
    """The three tables, each written to `folder`."""

    def __init__(self, source: Path, folder: Path, progress: Progress, block_bytes: int) -> None:
        self.source, self.folder, self.work = source, folder, folder / "unfinished"
        self.progress, self.block_bytes = progress, block_bytes
        self.sieve = Sieve(self.work / "set_aside")
        self.known = pl.Series(dtype=pl.String)  # articles

    def items(self) -> dict[str, int]:
        path = self.source / "articles.csv"
        articles = _read_articles(path)
        no_id = Rule(ARTICLE, "not an id of ten digits", ~_article_id().str.contains(r"^\d{10}$"))
        articles = self.sieve.keep(articles, "items", path, [no_id]).with_columns(_article_id())
        again = Rule(ARTICLE, "id stands twice; the first row was kept", ~pl.col(ARTICLE).is_first_distinct())
        articles = self.sieve.keep(articles, "items", path, [again])
        if not articles.height:
            raise DataError(f"{path} holds no article with an id of ten digits")
        self.known = articles[ARTICLE]
        images = pl.Series("image", self._link_images(), dtype=pl.String)
        columns = (ARTICLE, "product_code", TITLE, TEXT, *ITEM_CATEGORIES)
        articles.select(columns).with_columns(images).write_parquet(self.folder / "items.parquet")
        return {"items": articles.height, "items with a picture": len(images) - images.null_count()}

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
        path = self.source / "customers.csv"
        columns = (CUSTOMER, *USER_CATEGORIES)
        rules = [Rule(CUSTOMER, "empty id", pl.col(CUSTOMER).is_null())]
        return {"customers": self._stream(path, "users", columns, rules, customers_frame)}
