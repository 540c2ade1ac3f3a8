import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.dataset.load import load_dataset
from features.importers.amazon import REPEATED_REVIEW, import_amazon, importer
from features.importers.blocks import Block, Schema, json_lines
from features.importers.folder import ImportReport
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import DataError

T = 1588687728923  # milliseconds


def review(user: str | None, item: str | None, time: Any = T, **fields: Any) -> dict[str, Any]:
    """A line as it is published."""
    return {
        "rating": 5.0, "title": "Lovely", "text": "I like it.", "images": [], "asin": f"{item}-blue",
        "parent_asin": item, "user_id": user, "timestamp": time, "helpful_vote": 3, "verified_purchase": True,
    } | fields  # fmt: skip


def product(item: str | None, **fields: Any) -> dict[str, Any]:
    url = f"https://m.media-amazon.com/images/I/{item}"
    image = {"thumb": f"{url}._SS40_.jpg", "large": f"{url}.jpg", "variant": "MAIN", "hi_res": None}
    return {
        "main_category": "All Beauty", "title": f"Product {item}", "average_rating": 4.3, "rating_number": 9,
        "features": [], "description": [], "price": None, "images": [image],
        "videos": [{"title": "v", "url": "https://x/vdp", "user_id": ""}], "store": "Herbivore",
        "categories": [], "details": {"Hair Type": "Wavy", "Package": {"Weight": 3}}, "parent_asin": item,
        "bought_together": None,
    } | fields  # fmt: skip


def release(
    root: Path, reviews: list[Any], products: list[Any], *, category: str = "All_Beauty", end: str = "\n"
) -> Path:
    """The two files; strings are written as they are."""
    root.mkdir(parents=True, exist_ok=True)
    for name, lines in ((f"{category}.jsonl", reviews), (f"meta_{category}.jsonl", products)):
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        (root / name).write_bytes((text + end).encode())
    return root


def rows(out: Path, name: str) -> list[tuple[Any, ...]]:
    return pl.read_parquet(out / f"{name}.parquet").rows()


def reasons(report: ImportReport) -> list[tuple[str, str, str, int, int]]:
    return [
        (entry["table"], entry["column"], entry["reason"], entry["count"], entry["example"]["row"])
        for entry in report.rejected
    ]


def test_rows_as_they_are_published(tmp_path: Path) -> None:
    source = release(
        tmp_path / "source",
        [
            review("U1", "B1", text="First line<br />second &#34;quoted&#34;\r\nthird", title=""),
            review("U2", "B1", T + 1, rating=2.0, verified_purchase=False, text="sch\u00f6n \U0001f600"),
            review("U1", "B2", T + 2, title="", text=""),
        ],
        [
            product("B1", price=12.99, features=["Soft", "Wavy"], description=["One.", "Two."]),
            product("B2", price="from $1,299.50", categories=["Beauty", "Hair"], store=None),
            product("B3", price="\u2014", main_category=None, title=None),
        ],
    )
    report = import_amazon(source, tmp_path / "out")
    assert report.name == "amazon-2023-All_Beauty"
    assert report.rejected == []
    assert report.counts == {
        "lines of reviews": 3, "interactions": 3, "users": 2, "written reviews": 2, "items": 3,
        "items without metadata": 0,
    }  # fmt: skip
    assert rows(tmp_path / "out", "interactions") == [
        ("U1", "B1", 5.0, T, True),
        ("U2", "B1", 2.0, T + 1, False),
        ("U1", "B2", 5.0, T + 2, True),
    ]
    assert rows(tmp_path / "out", "reviews") == [
        ("U1", "B1", 5.0, T, 'First line\nsecond "quoted"\r\nthird'),
        ("U2", "B1", 2.0, T + 1, "Lovely\nsch\u00f6n \U0001f600"),
    ]
    assert rows(tmp_path / "out", "items") == [
        ("B1", "Product B1", "Soft\nWavy", "One.\nTwo.", [], "Herbivore", "All Beauty", 12.99),
        ("B2", "Product B2", None, None, ["Beauty", "Hair"], None, "All Beauty", 1299.5),
        ("B3", None, None, None, [], "Herbivore", None, None),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dataset.toml", "interactions.parquet", "items.parquet", "reviews.parquet",
    ]  # fmt: skip


def test_what_the_future_says_of_an_item_is_in_no_file(tmp_path: Path) -> None:
    source = release(tmp_path / "source", [review("U1", "B1")], [product("B1")])
    import_amazon(source, tmp_path / "out")
    columns = {name for path in (tmp_path / "out").glob("*.parquet") for name in pl.read_parquet_schema(path)}
    assert columns >= {"parent_asin", "rating", "price"}
    assert columns.isdisjoint({"average_rating", "rating_number", "helpful_vote"})


def test_what_cannot_be_used_is_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = release(
        tmp_path / "source",
        [
            review("U1", "B1", T + 5, text="later"),
            review(None, "B1"),
            review("U1", " "),
            review("U1", "B2", "yesterday"),
            review("U1", "B2", -1),
            review("U1", "B2", rating="five"),
            review("U1", "B2", rating=0.0),
            "",
            "null",
            review("U1", "B1", T, text="earlier"),
            review("U1", "B1", T, text="earlier"),
            review("U2", "B9"),
            json.dumps(review("U3", "B1"))[:70],
        ],
        [product("B1"), product(None), product("B1", title="Again"), "{", product("B2")],
        end="",
    )
    report = import_amazon(source, tmp_path / "out")
    assert reasons(report) == [
        ("interactions", "timestamp", "not a time in Unix milliseconds", 2, 3),
        ("interactions", "rating", "not a rating from 1 to 5", 2, 5),
        ("interactions", "parent_asin", REPEATED_REVIEW, 2, 0),
        ("interactions", "", "not a JSON object", 1, 8),
        ("interactions", "user_id", "empty id", 1, 1),
        ("interactions", "parent_asin", "empty id", 1, 2),
        ("interactions", "", "not JSON; the line may be incomplete", 1, 12),
        ("items", "", "not JSON; the line may be incomplete", 1, 3),
        ("items", "parent_asin", "empty id", 1, 1),
        ("items", "parent_asin", "id appears twice; the first row was kept", 1, 2),
    ]
    assert [entry["example"]["value"] for entry in report.rejected[:3]] == ["yesterday", "five", "B1"]
    assert pl.read_parquet(tmp_path / "out" / "rejected.parquet").height == 13
    assert report.counts["lines of reviews"] == 13
    assert rows(tmp_path / "out", "interactions") == [("U1", "B1", 5.0, T, True), ("U2", "B9", 5.0, T, True)]
    assert rows(tmp_path / "out", "reviews")[0][-1] == "Lovely\nearlier"
    dataset = load_dataset(tmp_path / "out")
    assert dataset.rejected == ()
    assert dataset.items.select("item_id", "title").rows() == [
        ("B1", "Product B1"), ("B2", "Product B2"), ("B9", None),
    ]  # fmt: skip
    assert report.counts["items without metadata"] == 1


def many(num_users: int) -> list[dict[str, Any]]:
    """A log in which user n reviews items n to n + 4 of eight, in time."""
    return [
        review(f"U{user}", f"B{(user + step) % 8}", T + 1000 * step + user, text=f"step {step}")
        for step in range(5)
        for user in range(num_users)
    ]


def test_from_the_import_to_a_split(tmp_path: Path) -> None:
    source = release(tmp_path / "source", many(6), [product(f"B{number}") for number in range(8)])
    report = import_amazon(source, tmp_path / "out")
    assert report.next_steps[0] == f"recsys check {tmp_path / 'out'}"
    dataset = load_dataset(tmp_path / "out")
    assert (dataset.interactions.height, dataset.users.height, dataset.rejected) == (30, 6, ())
    assert dataset.interactions["timestamp"][0] == T * 1000
    split = make_split(dataset, SplitConfig(protocol="leave_one_out"))
    test = split.test.sort("user_id").select("user_id", "item_id").rows()
    assert test == [(f"U{user}", f"B{(user + 4) % 8}") for user in range(6)]
    assert split.reviews.height == 18, "three training reviews a user"


@pytest.mark.parametrize(
    ("positive", "expected"),
    [
        (None, [True, False, True]),
        ("", [True, True, True]),
        ("true", [True, True, True]),
        ("verified_purchase", [True, True, False]),
    ],
)
def test_what_is_positive(tmp_path: Path, positive: str | None, expected: list[bool]) -> None:
    log = [review("U1", "B1"), review("U2", "B1", rating=3.0), review("U3", "B1", verified_purchase=False)]
    import_amazon(release(tmp_path / "source", log, [product("B1")]), tmp_path / "out", positive=positive)
    assert load_dataset(tmp_path / "out").interactions["positive"].to_list() == expected


@pytest.mark.parametrize("packed", [False, True])
def test_small_blocks_and_buckets_give_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """The log is handled a block at a time: no step is ever handed more than one."""
    log = [*many(8), "not JSON", *many(3), review("U9", "B1")]
    source = release(tmp_path / "source", log, [product(f"B{number}") for number in range(8)])
    whole = import_amazon(source, tmp_path / "whole", core=4)
    if packed:
        for path in list(source.iterdir()):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    sizes: list[int] = []

    def spy(block: Block, schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
        sizes.append(len(block.content))
        return json_lines(block, schema)

    monkeypatch.setattr(importer, "json_lines", spy)
    longest = max(len(json.dumps(line)) for line in (*log, product("B1"))) + 1
    parts = import_amazon(source, tmp_path / "parts", core=4, block_bytes=1000, rows_per_bucket=4)
    assert len(sizes) > 10
    assert max(sizes) < 1000 + longest
    assert parts.counts == whole.counts
    assert [entry["count"] for entry in parts.rejected] == [entry["count"] for entry in whole.rejected]
    for name in ("interactions", "reviews", "items"):
        assert rows(tmp_path / "parts", name) == rows(tmp_path / "whole", name)
    assert not list(tmp_path.glob(".*")), "no unfinished folder stays"


def test_a_core_leaves_out_its_rows_and_the_items_of_others(tmp_path: Path) -> None:
    square = [review(user, item) for user in ("U1", "U2") for item in ("B1", "B2")]
    source = release(
        tmp_path / "source",
        [*square, review("U3", "B1"), review("U1", "B3")],
        [product(f"B{number}") for number in range(1, 5)],
    )
    report = import_amazon(source, tmp_path / "out", core=2)
    assert [row[:2] for row in rows(tmp_path / "out", "interactions")] == [
        ("U1", "B1"), ("U1", "B2"), ("U2", "B1"), ("U2", "B2"),
    ]  # fmt: skip
    assert [row[0] for row in rows(tmp_path / "out", "items")] == ["B1", "B2"]
    assert (report.counts["interactions"], report.counts["written reviews"]) == (4, 4)
    with pytest.raises(DataError, match="no user and no item is left in the 5-core"):
        import_amazon(source, tmp_path / "none", core=5)
    assert not (tmp_path / "none").exists()


def test_pictures_by_id_or_by_url(tmp_path: Path) -> None:
    names = ("B1.png", "B2.jpg", "B2-back._SL1500_.jpg", "stranger.jpg", "B4.txt")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in names:
        (pictures / name).write_bytes(name.encode())
    back = {"thumb": None, "large": None, "variant": "PT01", "hi_res": "https://x/B2-back._SL1500_.jpg"}
    front = {"thumb": None, "large": "https://x/B2.jpg", "variant": "MAIN", "hi_res": "https://x/gone.jpg"}
    source = release(
        tmp_path / "source",
        [review("U1", "B1")],
        [
            product("B1"), product("B9", images=[front, back]), product("B3"), product("B4", images=[]),
            product("B5", images=None),
        ],
    )  # fmt: skip
    report = import_amazon(source, tmp_path / "out", images=pictures)
    assert report.counts["items with a picture"] == 2
    dataset = load_dataset(tmp_path / "out")
    assert [[Path(path).name for path in paths] for paths in dataset.items["image"]] == [
        ["B1.png"], ["B2.jpg", "B2-back._SL1500_.jpg"], [], [], [],
    ]  # fmt: skip
    assert Path(dataset.items["image"][0][0]).read_bytes() == b"B1.png"
    assert not list((tmp_path / "out" / "images").glob("stranger*"))
    with pytest.raises(DataError, match="no folder of pictures"):
        import_amazon(source, tmp_path / "none", images=tmp_path / "gone")


def test_the_published_splits(tmp_path: Path) -> None:
    source = release(tmp_path / "source", many(4), [product(f"B{number}") for number in range(8)])
    published = tmp_path / "last_out"
    published.mkdir()
    for part, steps in (("train", range(3)), ("valid", [3]), ("test", [4])):
        lines = [f"U{u},B{(u + s) % 8},5.0,{T + 1000 * s + u},B1 B2" for u in range(4) for s in steps]
        header = "user_id,parent_asin,rating,timestamp,history\n"
        (published / f"All_Beauty.{part}.csv").write_text(header + "\n".join(lines) + "\n")
    report = import_amazon(source, tmp_path / "out", split=published)
    assert (report.counts["train rows of the split"], report.counts["test rows of the split"]) == (16, 4)
    split = make_split(load_dataset(tmp_path / "out"), SplitConfig())
    assert split.protocol == "predefined"
    assert "16 of 16 training rows are events of the dataset, 4 of 4 test rows" in split.description
    assert sorted(split.test.select("user_id", "item_id").rows()) == [
        (f"U{u}", f"B{u + 4}") for u in range(4)
    ]
    (published / "All_Beauty.valid.csv").unlink()
    with pytest.raises(DataError, match=r"has no All_Beauty\.valid\.csv"):
        import_amazon(source, tmp_path / "none", split=published)


def test_the_folders_of_the_download_and_a_choice_of_category(tmp_path: Path) -> None:
    for category in ("All_Beauty", "Appliances"):
        release(tmp_path / "flat", [review("U1", category)], [product(category)], category=category)
    for path in (tmp_path / "flat").iterdir():
        kind = "meta_categories" if path.name.startswith("meta_") else "review_categories"
        target = tmp_path / "source" / "raw" / kind / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    with pytest.raises(DataError, match="has the categories All_Beauty, Appliances; choose one"):
        import_amazon(tmp_path / "source", tmp_path / "out")
    with pytest.raises(DataError, match="no category 'Applianses'; did you mean 'Appliances'"):
        import_amazon(tmp_path / "source", tmp_path / "out", category="Applianses")
    report = import_amazon(tmp_path / "source", tmp_path / "out", category="Appliances")
    assert report.name == "amazon-2023-Appliances"
    assert rows(tmp_path / "out", "items")[0][0] == "Appliances"


@pytest.mark.parametrize(
    ("files", "positive", "expected"),
    [
        ({}, None, r"has no <Category>\.jsonl\[\.gz\] and no meta_<Category>"),
        ({"Books.jsonl": "{}"}, None, r"no meta_Books\.jsonl or \.jsonl\.gz: the raw metadata of Amazon Rev"),
        ({"meta_Books.jsonl": "{}"}, None, r"no Books\.jsonl or \.jsonl\.gz: the raw reviews of Amazon Rev"),
        ({"Books.jsonl": "", "meta_Books.jsonl": ""}, None, r"Books\.jsonl has no valid review"),
        ({"Books.jsonl": "[]\n1\n", "meta_Books.jsonl": "{}"}, None, r"Books\.jsonl has no valid review"),
        ({"Books.jsonl": json.dumps(review("U", "B")), "meta_Books.jsonl": ""}, None, "has no valid item"),
        ({"Books.jsonl": "{}", "meta_Books.jsonl": "{}"}, "stars > 3", "no column 'stars'"),
        ({"Books.jsonl": "{}", "meta_Books.jsonl": "{}"}, "rating >", "not an SQL expression"),
    ],
)
def test_a_source_that_does_not_fit_leaves_nothing_behind(
    tmp_path: Path, files: dict[str, str], positive: str | None, expected: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_text(content)
    with pytest.raises(DataError, match=expected):
        import_amazon(source, tmp_path / "out", positive=positive)
    assert list(tmp_path.iterdir()) == [source]


def test_a_download_that_broke_off_leaves_nothing_behind(tmp_path: Path) -> None:
    source = release(tmp_path / "source", many(6), [product("B1")])
    path = source / "All_Beauty.jsonl"
    (source / "All_Beauty.jsonl.gz").write_bytes(gzip.compress(path.read_bytes())[:-30])
    path.unlink()
    with pytest.raises(DataError, match=r"All_Beauty\.jsonl\.gz is damaged or incomplete"):
        import_amazon(source, tmp_path / "out", block_bytes=500)
    assert list(tmp_path.iterdir()) == [source]


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    source = release(tmp_path / "source", [review("U1", "B1")], [product("B1")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not empty"):
        import_amazon(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
