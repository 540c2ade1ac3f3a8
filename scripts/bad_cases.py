"""Bad datasets, each as a difference from one good dataset."""

import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w

HEADER = "user,item,time\n"
FILES: dict[str, bytes] = {
    "items.csv": b"id,title\n1,One\n2,Two\n3,Three\n",
    "events.csv": (HEADER + "a,1,1600000000\na,2,1600000060\nb,3,1600000120\n").encode(),
}
SPEC: dict[str, dict[str, Any]] = {
    "items": {"path": "items.csv", "id": "id", "title": "title"},
    "interactions": {
        "path": "events.csv", "user": "user", "item": "item", "timestamp": "time", "time": "unix_s",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One bad dataset, as a difference from the good one of `FILES` and `SPEC`."""

    label: str
    files: dict[str, bytes | str] = field(default_factory=dict)
    spec: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # None leaves a section or key out

    def write(self, root: Path) -> None:
        for name, content in {**FILES, **self.files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        sections = {
            name: {
                key: value
                for key, value in {**SPEC.get(name, {}), **(self.spec.get(name) or {})}.items()
                if value is not None
            }
            for name in {**SPEC, **self.spec}
            if self.spec.get(name, {}) is not None
        }
        (root / "dataset.toml").write_text(tomli_w.dumps({"name": "shop", **sections}), "utf-8")


def events(*rows: str) -> dict[str, bytes | str]:
    return {"events.csv": HEADER + "\n".join([*rows, "b,3,1600000120"]) + "\n"}


def items(text: bytes | str) -> dict[str, bytes | str]:
    return {"items.csv": text}


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def listed(text: str, **more: Any) -> Case:
    """Items whose column `genres` has `text` in every row."""
    rows = "".join(f"{at},Title,{text}\n" for at in range(1, 4))
    files: dict[str, bytes | str] = {"items.csv": f"id,title,genres\n{rows}"}
    shown = text.removeprefix('"').removesuffix('"').replace('""', '"').replace("|", "\\|")
    label = f"lists written `{shown}`" + (", named in `lists`" if more else "")
    return Case(label, files, {"items": {"categories": "genres", **more}})


def rated(label: str, text: str, **more: Any) -> Case:
    """An event with the rating `text`; 4 stars and more are positive."""
    log = f"user,item,time,stars\na,1,1600000000,{text}\nb,2,1600000000,5\n"
    return Case(label, {"events.csv": log}, {"interactions": {"positive": "stars >= 4", **more}})


def timed(label: str, text: str, time: str = "iso") -> Case:
    return Case(label, {"events.csv": f"{HEADER}a,1,{text}\nb,2,{text}\n"}, {"interactions": {"time": time}})


IN_PARQUET = {"items": {"path": "items.parquet"}}
IN_GZIP = {"items": {"path": "items.csv.gz"}}
DECIMALS = pl.Series([2**53, 2**53 + 1]).cast(pl.Decimal(38, 0))
PACKED = gzip.compress(FILES["items.csv"])
LONG = "x" * 10_000_000
IN_JSON = {"items": {"path": "items.jsonl"}}
TABLES = (
    Case("the same item id twice", items("id,title\n1,One\n1,Again\n2,Two\n3,Three\n")),
    Case("an event on an item that is not there", events("a,9,1600000000")),
    Case("times that are empty, NaN, words", events("a,1,", "a,1,nan", "a,2,yesterday")),
    Case("a negative time", events("a,1,-5")),
    Case("milliseconds among seconds", events("a,1,1600000000", "a,2,1600000000000")),
    Case(
        "seconds among milliseconds",
        {"events.csv": HEADER + "a,1,1600000000000\na,2,1600000000\nb,3,1600000001000\n"},
        {"interactions": {"time": "unix_ms"}},
    ),
    Case("a column of milliseconds, declared as seconds", {"events.csv": HEADER + "a,1,1600000000000\n"}),
    Case("a time in the year 2125", events("a,1,4900000000")),
    Case(
        "`9999-12-31` for an unknown date",
        {"events.csv": HEADER + "a,1,9999-12-31\nb,2,2024-05-01\n"},
        {"interactions": {"time": "iso"}},
    ),
    Case("times that are booleans", {"e.parquet": parquet(user=["a"], item=[1], time=[True])},
         {"interactions": {"path": "e.parquet"}}),
    Case("a header and no rows", items("id,title\n")),
    Case("a file of 0 bytes", items("")),
    Case("a misspelt column", items("id,tilte\n1,One\n")),
    Case("a column in other letters", items("ID,title\n1,One\n")),
    Case("a column that appears twice", items("id,title,title\n1,One,Uno\n")),
    Case(
        "a word where a number is meant",
        {"events.csv": "user,item,time,stars\na,1,1600000000,many\nb,2,1600000000,5\n"},
        {"interactions": {"value": "stars"}},
    ),
    Case("ids written `1.0` in the log", {"events.csv": HEADER + "a,1.0,1600000000\nb,2.0,1600000000\n"}),
    Case("ids that are booleans", {"items.parquet": parquet(id=[True, False], title=["a", "b"])}, IN_PARQUET),
    Case("large ids as floats", {"items.parquet": parquet(id=[1.2e18], title=["a"])}, IN_PARQUET),
    Case("lists where one value is meant", {"items.parquet": parquet(id=[["1"]], title=["a"])}, IN_PARQUET),
    Case(
        "decimals as ids",
        {"e.parquet": parquet(user=DECIMALS, item=["1", "2"], time=[1_600_000_000] * 2)},
        {"interactions": {"path": "e.parquet"}},
    ),
    Case(
        "an id with a fraction",
        {"e.parquet": parquet(user=[1.0, 1.5], item=["1", "2"], time=[1_600_000_000] * 2)},
        {"interactions": {"path": "e.parquet"}},
    ),
    Case(
        "a table of users whose ids lost their leading zeros",
        {"users.csv": "id,town\n7,Bonn\n8,Rom\n"} | events("007,1,1600000000", "008,1,1600000000"),
        {"users": {"path": "users.csv", "id": "id", "categories": "town"}},
    ),
    Case(
        "a table of users who have no events",
        {"users.csv": "id,town\nx,Bonn\ny,Rom\n"},
        {"users": {"path": "users.csv", "id": "id", "categories": "town"}},
    ),
    Case("ids that a spreadsheet shortened", events("1.23457E+18,1,1600000000")),
    Case("an empty id", events(",1,1600000000")),
    Case("an id of 10 MB", events(f"a,{LONG},1600000000")),
    Case("`A` and `A ` as two items", items("id,title\nA,One\nA ,Padded\n1,x\n2,x\n3,x\n")),
    Case(
        "an item id in another Unicode normalisation",
        items("id,title\ncaf\u00e9,One\n3,x\n") | events("a,cafe\u0301,1600000000"),
    ),
    Case(
        "ids of emoji, a byte order mark, CRLF, a line break in quotes",
        items('\ufeffid,title\r\n🎸,"two\r\nlines"\r\n3,x\r\n') | events("a,🎸,1600000000"),
    ),
    Case("Latin-1 bytes", items(b"id,title\n1,One\n2,caf\xe9\n")),
    Case("UTF-16", items("id,title\n1,One\n".encode("utf-16"))),
    Case("a zip archive named .csv", items(b"PK\x03\x04\x14\x00\x00\x00\xff\n")),
    Case("an Excel workbook", {"items.xlsx": b"PK\x03\x04"}, {"items": {"path": "items.xlsx"}}),
    Case("semicolons in a .csv", items("id;title\n1;One\n")),
    Case("a row with more fields than the header", items("id,title\n1,One\n2,Two, or three\n")),
    Case("a row with fewer fields than the header", items("id,title\n1,One\n2\n3,Three\n")),
    Case("a quote that never closes", items('id,title\n1,One\n2,"Two\n3,Three\n')),
    Case("a gzip file, whole", {"items.csv.gz": PACKED}, IN_GZIP),
    Case("a gzip file, cut off", {"items.csv.gz": PACKED[:-9]}, IN_GZIP),
    Case("a Parquet file, cut off", {"items.parquet": parquet(id=[1], title=["a"])[:-20]}, IN_PARQUET),
    Case("a broken line of JSON", {"items.jsonl": '{"id": 1, "title": "One"}\n{"id": 2,\n'}, IN_JSON),
    Case("NaN in JSON", {"items.jsonl": '{"id": NaN, "title": "One"}\n'}, IN_JSON),
    Case("a text of 10 MB in CSV", items(f"id,title\n1,{LONG}\n2,b\n3,c\n")),
    Case(
        "the same in JSON Lines",
        {"items.jsonl": f'{{"id": 1, "title": "{LONG}"}}\n{{"id": 2}}\n{{"id": 3}}\n'},
        IN_JSON,
    ),
    Case("the same in Parquet", {"items.parquet": parquet(id=[1, 2, 3], title=[LONG, "", ""])}, IN_PARQUET),
    Case("a file that is not there", {}, {"items": {"path": "itmes.csv"}}),
    Case("a folder where a file is meant", {"parts/a.csv": "id\n"}, {"items": {"path": "parts"}}),
    Case("a glob that matches nothing", {}, {"items": {"path": "items-*.csv"}}),
    Case(
        "a glob over files with different columns",
        {"p/a.csv": "id,title\n1,One\n", "p/b.csv": "id,name\n2,Two\n"},
        {"items": {"path": "p/*.csv"}},
    ),
    Case("a glob over files with different kinds of a column", {
        "p/a.parquet": parquet(id=[1], title=["a"]), "p/b.parquet": parquet(id=[2], title=[["b"]]),
    }, {"items": {"path": "p/*.parquet"}}),
    Case("two roles for one column", {}, {"interactions": {"item": "user"}}),
    rated("a rating that is NaN", "nan"),
    rated("a rating that is infinite", "inf"),
    rated("`N/A` in a column that `positive` reads", "N/A"),
    listed("a|b"),
    listed("a|b", lists={"genres": "|"}),
    Case(
        "lists of two forms",
        items("id,title,genres\n1,One,a|b\n2,Two,\"['a', 'b']\"\n3,Three,b|c\n"),
        {"items": {"categories": "genres"}},
    ),
    listed('"a, b"'),
    listed("\"['a', 'b']\""),
    listed('"[""a"", ""b""]"'),
    listed('"[""a"", ""b""]"', lists={"genres": "json"}),
    listed("[a", lists={"genres": "json"}),
    Case(
        "in JSON, a list in one row and a text in the next",
        {
            "items.jsonl": '{"id": 1, "title": "a", "of": ["x", "y"]}\n'
            '{"id": 2, "title": "b", "of": "x"}\n{"id": 3}\n'
        },
        {"items": {"path": "items.jsonl", "categories": "of"}},
    ),
    Case(
        "a list in one row and an object in the next",
        {"items.jsonl": '{"id": 1, "title": "a", "of": ["x"]}\n{"id": 2, "title": "b", "of": {"x": 1}}\n'},
        {"items": {"path": "items.jsonl", "categories": "of"}},
    ),
    Case("a title that is a list", {"items.parquet": parquet(id=[1], title=[["a", "b"]])}, IN_PARQUET),
    timed("times such as `2020-09-23T16:01Z`", "2020-09-23T16:01Z"),
    timed("times such as `2019-10-01 00:00:00 UTC`", "2019-10-01 00:00:00 UTC"),
    timed("times such as `2020/09/23`", "2020/09/23"),
    timed("times such as `20200923`", "20200923"),
    timed("a day or a month first", "03/04/2020"),
    timed("words as times", "yesterday"),
    timed("dates, declared as seconds", "2020-09-23", "unix_s"),
    timed("seconds, declared as dates", "1600000000"),
    Case(
        "a number among dates",
        {"events.csv": f"{HEADER}a,1,2020-09-23\na,2,1600000000\nb,3,2020-09-24\n"},
        {"interactions": {"time": "iso"}},
    ),
    timed("nanoseconds, declared as milliseconds", "1600000000000000000", "unix_ms"),
    timed("nanoseconds, declared as such", "1600000000000000000", "unix_ns"),
    Case("`positive` names an unknown column", {}, {"interactions": {"positive": "stars >= 3"}}),
    Case("`positive` is no condition", {}, {"interactions": {"positive": "item + 1"}}),
    Case("`positive` is no SQL", {}, {"interactions": {"positive": "item >>"}}),
    Case("`positive` is true of no row", {}, {"interactions": {"positive": "item > 5"}}),
    Case("an unknown key in dataset.toml", {}, {"items": {"titel": "title"}}),
    Case("no `[items]`", {}, {"items": None}),
    Case("no times", {}, {"interactions": {"timestamp": None, "time": None}}),
    Case("a unit, and no column of times", {}, {"interactions": {"timestamp": None}}),
    Case("a column of times, and no unit", {}, {"interactions": {"time": None}}),
    Case("no `[interactions]`", {}, {"interactions": None}),
    Case("neither `[items]` nor `[interactions]`", {}, {"items": None, "interactions": None}),
    Case("no `[interactions]`, and times without a unit", {},
         {"items": {"created_at": "added"}, "interactions": None}),
    Case("no `[interactions]`, and a split", {},
         {"interactions": None, "split": {"train": "a.csv", "test": "b.csv"}}),
    Case("a folder of media that is not there", {}, {"media": {"roots": ["../pictures"]}}),
    Case("a folder of media on another machine", {}, {"media": {"roots": ["smb://host/pictures"]}}),
    Case("the whole file system as a folder of media", {}, {"media": {"roots": ["/"]}}),
    Case("items with times, events without", {},
         {"items": {"created_at": "added"}, "interactions": {"timestamp": None, "time": None}}),
    Case("several problems at once", {"items.csv": "id,tilte\n1,One\n", "events.csv": "user,item\na,1\n"}),
)  # fmt: skip
