from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.dataset.load import load_dataset
from features.importers import hm
from features.importers.blocks import csv_blocks
from features.importers.hm import import_hm
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import DataError

HEADER = (
    "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,"
    "graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,"
    "perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,"
    "perceived_colour_master_name,department_no,department_name,index_code,index_name,index_group_no,"
    "index_group_name,section_no,section_name,garment_group_no,garment_group_name,detail_desc\n"
)
MIDDLE = (
    "253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,Dark,5,Black,1676,Jersey Basic,A,Ladieswear,1,"
    "Ladieswear,16,Womens Everyday Basics,1002,Jersey Basic"
)
STRAP, SOCKS, CAFE = "0108775015", "0111565001", "0663713001"
CUSTOMERS = "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code\n"
TRANSACTIONS = "t_dat,customer_id,article_id,price,sales_channel_id\n"
C1, C2, C3 = (f"{number}" * 64 for number in "123")


def article(id_: str, name: str = "Strap top", text: str = "Jersey top with narrow straps.") -> str:
    return f"{id_},{id_[:7].lstrip('0')},{name},{MIDDLE},{text}\n"


def release(root: Path, *, articles: str = "", customers: str = "", transactions: str = "") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    articles = articles or article(STRAP) + article(SOCKS, "20 den 1p", "") + article(
        CAFE, '"Caf\u00e9, set"'
    )
    customers = customers or f"{C1},,,ACTIVE,NONE,49.0,hash1\n{C2},1.0,1.0,PRE-CREATE,Regularly,,hash2\n"
    transactions = transactions or (
        f"2018-09-20,{C1},{STRAP},0.0508305084745762,2\n2018-09-20,{C1},{CAFE},0.0305,1\n"
        f"2018-09-20,{C1},{STRAP},0.0508305084745762,2\n2018-09-21,{C2},{SOCKS},0.01,2\n"
    )
    files = (("articles", HEADER, articles), ("customers", CUSTOMERS, customers))
    for name, header, content in (*files, ("transactions_train", TRANSACTIONS, transactions)):
        (root / f"{name}.csv").write_bytes((header + content).encode())
    return root


def rows(out: Path, name: str) -> list[tuple[Any, ...]]:
    return pl.read_parquet(out / f"{name}.parquet").rows()


def test_rows_as_they_are_published(tmp_path: Path) -> None:
    source = release(tmp_path / "source")
    picture = source / "images" / "010" / f"{STRAP}.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"strap")
    report = import_hm(source, tmp_path / "out")
    assert report.counts == {"items": 3, "items with a picture": 1, "customers": 2, "interactions": 4}
    assert report.rejected == []
    assert "evaluate.exclude_seen=false" in report.next_steps[1]
    dataset = load_dataset(tmp_path / "out")
    assert dataset.rejected == ()
    assert dataset.items.select("item_id", "title", "text").rows() == [
        (STRAP, "Strap top", "Jersey top with narrow straps."),
        (SOCKS, "20 den 1p", None),
        (CAFE, "Caf\u00e9, set", "Jersey top with narrow straps."),
    ]
    assert dataset.items["cat:colour_group_name"].to_list() == [["Black"]] * 3
    assert dataset.items["cat:index_group_name"].to_list() == [["Ladieswear"]] * 3
    assert [[Path(path).read_bytes() for path in paths] for paths in dataset.items["image"]] == [
        [b"strap"], [], [],
    ]  # fmt: skip
    columns = ("user_id", "item_id", "timestamp", "event", "positive", "row")
    day = 17794 * 86_400_000_000  # 2018-09-20 in microseconds
    assert dataset.interactions.select(columns).rows() == [
        (C1, STRAP, day, "channel 2", True, 0),
        (C1, CAFE, day, "channel 1", True, 1),
        (C1, STRAP, day, "channel 2", True, 2),
        (C2, SOCKS, day + 86_400_000_000, "channel 2", True, 3),
    ]
    assert dataset.users.rows() == [
        (C1, [], [], ["ACTIVE"], ["NONE"], ["40-49"]),
        (C2, ["yes"], ["yes"], ["PRE-CREATE"], ["REGULARLY"], []),
    ]


def test_ages_become_groups(tmp_path: Path) -> None:
    ages = ["16", "19.0", "20", "24", "25", "59", "60", "99.0", "", "old", "-3"]
    customers = "".join(f"{n},,,,,{age},hash\n" for n, age in enumerate(ages))
    report = import_hm(release(tmp_path / "source", customers=customers), tmp_path / "out")
    assert [row[-1] for row in rows(tmp_path / "out", "users")] == [
        "under 20", "under 20", "20-24", "20-24", "25-29", "50-59", "60 and over", "60 and over", None, None,
        None,
    ]  # fmt: skip
    assert report.counts["customers"] == 11
    (entry,) = report.rejected
    assert (entry["reason"], entry["count"]) == ("not an age; the customer is kept without an age", 2)
    assert (entry["example"]["row"], entry["example"]["value"]) == (9, "old")


def test_lost_leading_zeros_are_restored(tmp_path: Path) -> None:
    transactions = f"2018-09-20,{C1},108775015,0.05,2\n2018-09-21,{C1},{SOCKS},0.05,2\n"
    articles = article("108775015") + article(SOCKS)
    source = release(tmp_path / "source", articles=articles, transactions=transactions)
    assert import_hm(source, tmp_path / "out").counts["ids with restored leading zeros"] == 1
    assert load_dataset(tmp_path / "out").interactions["item_id"].to_list() == [STRAP, SOCKS]


def test_what_cannot_be_used_is_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    transactions = (
        f"2018-09-20,{C1},{STRAP},0.05,2\n2018-09-20,,{STRAP},0.05,2\n2018-09-20,{C1},0999999999,0.05,2\n"
        f"20.09.2018,{C1},{STRAP},0.05,2\n2018-09-20,{C1},,0.05,2\n2018-09-22,{C3},{STRAP},0.0"
    )
    articles = article(STRAP) + article("x") + article(STRAP, "Again") + article("../../../etc")
    source = release(
        tmp_path / "source", articles=articles, transactions=transactions, customers=f"{C1},,,,,,\n,,,,,,\n"
    )
    report = import_hm(source, tmp_path / "out")
    found = [
        (entry["table"], entry["column"], entry["reason"], entry["count"], entry["example"]["row"])
        for entry in report.rejected
    ]
    assert found == [
        ("items", "article_id", "not an id of ten digits", 2, 1),
        ("interactions", "article_id", "an article that is not in articles.csv", 2, 2),
        ("items", "article_id", "id appears twice; the first row was kept", 1, 2),
        ("users", "customer_id", "empty id", 1, 1),
        ("interactions", "customer_id", "empty id", 1, 1),
        ("interactions", "t_dat", "not a date such as 2020-09-22", 1, 3),
        ("interactions", "sales_channel_id", "empty; the row may be incomplete", 1, 5),
    ]
    assert pl.read_parquet(tmp_path / "out" / "rejected.parquet").height == 9
    assert [row[:2] for row in rows(tmp_path / "out", "interactions")] == [(C1, STRAP)]


def test_from_the_import_to_a_split_in_the_order_of_a_basket(tmp_path: Path) -> None:
    basket = "".join(f"2020-09-01,{C1},{id_},0.05,2\n" for id_ in (SOCKS, CAFE, STRAP))
    import_hm(release(tmp_path / "source", transactions=basket), tmp_path / "out")
    split = make_split(load_dataset(tmp_path / "out"), SplitConfig(protocol="leave_one_out"))
    assert [frame["item_id"].to_list() for frame in (split.train, split.validation, split.test)] == [
        [SOCKS], [CAFE], [STRAP],
    ]  # fmt: skip


def test_small_blocks_give_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions and customers are handled a block at a time: no step is ever handed more than one."""
    transactions = "".join(
        f"2020-09-{1 + n % 28:02},{n % 7:064},{(STRAP, SOCKS, CAFE)[n % 3]},0.05,{1 + n % 2}\r\n"
        for n in range(200)
    )
    customers = "".join(f"{n:064},,,ACTIVE,NONE,{20 + n},hash\r\n" for n in range(50))
    source = release(tmp_path / "source", transactions=transactions, customers=customers)
    whole = import_hm(source, tmp_path / "whole")
    heights: list[int] = []

    def spy(*arguments: Any, **options: Any) -> Iterator[pl.DataFrame]:
        for frame in csv_blocks(*arguments, **options):
            heights.append(frame.height)
            yield frame

    monkeypatch.setattr(hm, "csv_blocks", spy)
    parts = import_hm(source, tmp_path / "parts", block_bytes=1000)
    shortest = min(map(len, (transactions + customers).splitlines()))
    assert len(heights) > 15
    assert max(heights) <= 1000 // shortest + 1
    assert sum(heights) == 250
    assert parts.counts == whole.counts
    assert parts.counts["interactions"] == 200
    for name in ("interactions", "users", "items"):
        assert rows(tmp_path / "parts", name) == rows(tmp_path / "whole", name)


def test_without_pictures_no_column_is_named(tmp_path: Path) -> None:
    import_hm(release(tmp_path / "source"), tmp_path / "out")
    assert "image" not in (tmp_path / "out" / "dataset.toml").read_text()


@pytest.mark.parametrize("name", ["articles.csv", "customers.csv", "transactions_train.csv"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    source = release(tmp_path / "source")
    (source / name).unlink()
    with pytest.raises(DataError, match=f"has no {name}; the Kaggle competition 'H&M"):
        import_hm(source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("articles.csv", "article_id,prod_name\n1,x\n", "no column 'detail_desc'"),
        ("articles.csv", HEADER + article("x"), "has no article with an id of ten digits"),
        ("customers.csv", "customer_id,age\n1,20\n", "no column 'club_member_status'"),
        ("customers.csv", CUSTOMERS, "has no valid row"),
        ("transactions_train.csv", "", "has no valid row"),
        ("transactions_train.csv", f"{TRANSACTIONS}2020-09-01,{C1},{STRAP},0.05,2,9\n", "rows 0 to 0 cannot"),
    ],
)
def test_a_source_that_does_not_fit_leaves_nothing_behind(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    source = release(tmp_path / "source")
    (source / name).write_text(content)
    with pytest.raises(DataError, match=expected):
        import_hm(source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [source]
