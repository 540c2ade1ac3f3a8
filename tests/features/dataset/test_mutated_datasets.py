"""Whatever is done to a dataset's files: it is read, or refused by a message that names a file."""

import tomllib
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tomli_w
from dataset_parts import write
from prepared_parts import streamed

from features.dataset.files.readers import read_file
from features.dataset.load import load_dataset
from features.dataset.tables import Dataset
from features.event_log.report import all_reasons
from recsys.errors import DataError, RecsysError

SECTIONS: dict[str, dict[str, object]] = {
    "items": {
        "text": ["plot"],
        "image": "image",
        "categories": ["kinds"],
        "numeric": ["year"],
        "created_at": "since",
    },
    "interactions": {
        "path": "events.parquet",
        "value": "stars",
        "event": "kind",
        "positive": "stars >= 2 AND kind <> 'view'",
    },
    "reviews": {"path": "reviews.jsonl", "user": "user", "item": "item", "text": "text", "timestamp": "when"},
    "users": {"path": "users.csv", "id": "id", "categories": ["jobs"]},
}
ITEMS = "id,title,plot,image,kinds,year,since\n" + "".join(
    f'{at},Title {at},"A plot, with\na line",a.jpg,kind {at % 3},{1990 + at},{1_000_000_000 + at}\n'
    for at in range(8)
)
REVIEWS = "".join(
    f'{{"user": "u{at % 4}", "item": {at}, "text": "Fine {at}", "when": {1_600_000_000 + at}}}\n'
    for at in range(8)
)
FILES = ("items.csv", "events.parquet", "reviews.jsonl", "users.csv", "dataset.toml")
OTHER = "other.parquet"
# Values that are put among those of a column of the interactions.
STRANGE: tuple[object, ...] = (
    float("nan"),
    float("inf"),
    "N/A",
    "nan",
    "1.0",
    "1e3",
    " ",
    "2020/09/23",
    "2020-09-23T16:01Z",
    "1600000000000000000",
    str(2**53 + 1),
    2**53 + 1,
    Decimal(2**53 + 1),
    -1,
    True,
    '["a", "b"]',
)
Random = np.random.Generator
Values = list[object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    files: dict[str, str | bytes] = {
        "items.csv": ITEMS, "reviews.jsonl": REVIEWS, "users.csv": "id,jobs\nu0,cook\nu1,\n", "a.jpg": b"a",
    }  # fmt: skip
    write(root, files, **SECTIONS)
    at = np.arange(24)
    events = pl.DataFrame(
        {
            "user": [f"u{row % 4}" for row in at],
            "item": at % 8,
            "time": 1_600_000_000 + at,
            "stars": at % 5,
            "kind": ["buy", "view"] * 12,
        }
    )
    events.write_parquet(root / "events.parquet")
    assert load_dataset(root).interactions.height == 24
    return root


def flip_bytes(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(len(changed), size=int(rng.integers(1, 6))):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def cut_off(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(len(content)))]


def insert_bytes(content: bytes, rng: Random) -> bytes:
    strange = (
        b'"',
        b"\n",
        b"\r",
        b",",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"[",
        b"{",
        b"1e999",
        b"-",
        b"\xc3\xa9",
    )
    place = int(rng.integers(len(content)))
    return content[:place] + strange[int(rng.integers(len(strange)))] + content[place:]


def repeat_a_part(content: bytes, rng: Random) -> bytes:
    start, stop = sorted(rng.integers(len(content), size=2).tolist())
    return content[:stop] + content[start:]


MUTATIONS = (flip_bytes, cut_off, insert_bytes, repeat_a_part)
KINDS: tuple[Callable[[Values], Values], ...] = (
    lambda values: [None] * len(values),
    lambda values: [True] * len(values),
    lambda values: [float(at) + 0.5 for at, _ in enumerate(values)],
    lambda values: [float("nan")] * len(values),
    lambda values: [-(2**62)] * len(values),
    lambda values: [str(value) for value in values],
    lambda values: [str(value).encode() + b"\xff" for value in values],
    lambda values: [[value] for value in values],
    lambda values: [{"a": value} for value in values],
    lambda values: ["\0", " ", "\u0301", "😀", *values][: len(values)],
)


def is_read(root: Path) -> bool:
    """The property: no other error, no panic, and every problem names a file of the dataset."""
    try:
        load_dataset(root)
    except RecsysError as error:
        refusal = error
    else:
        return True
    assert "dataset.toml" in str(refusal)
    if "dataset.toml breaks" not in str(refusal):  # whose problems are keys of that file
        for problem in getattr(refusal, "problems", ()):
            assert any(name in problem for name in (*FILES, OTHER)), problem
    return False


def copied(whole: Path, root: Path) -> Path:
    root.mkdir()
    for path in whole.iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    return root


def test_bytes_changed(whole: Path, tmp_path: Path) -> None:
    root, rng, num_read = copied(whole, tmp_path / "set"), np.random.default_rng(0), 0
    for number in range(100):
        name = FILES[number % len(FILES)]
        content = (whole / name).read_bytes()
        mutate = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        (root / name).write_bytes(mutate(content, rng))
        num_read += is_read(root)
        (root / name).write_bytes(content)
    assert 0 < num_read < 100
    assert load_dataset(root).rejected == load_dataset(whole).rejected


def test_a_column_is_gone_or_of_another_kind(whole: Path, tmp_path: Path) -> None:
    root, rng, num_read = copied(whole, tmp_path / "set"), np.random.default_rng(0), 0
    spec = tomllib.loads((whole / "dataset.toml").read_text("utf-8"))
    for _ in range(60):
        section = ("items", "interactions", "reviews", "users")[int(rng.integers(4))]
        frame = read_file(whole / spec[section]["path"])
        column = frame.columns[int(rng.integers(frame.width))]
        kind = int(rng.integers(len(KINDS) + 1))
        changed = frame.drop(column) if kind == len(KINDS) else frame.with_columns(
            pl.Series(column, KINDS[kind](frame[column].to_list()), strict=False)
        )  # fmt: skip
        changed.write_parquet(root / OTHER)
        changed_spec = spec | {section: spec[section] | {"path": OTHER}}
        (root / "dataset.toml").write_text(tomli_w.dumps(changed_spec), "utf-8")
        num_read += is_read(root)
    assert 0 < num_read < 60


def outcome(read: Callable[[Path], Dataset], root: Path) -> object:
    """Events and counts of the reasons, or the problems, of the interactions."""
    try:
        dataset = read(root)
    except DataError as error:
        return error.problems
    reasons = Counter({entry["reason"]: entry["count"] for entry in all_reasons(dataset)})
    rounded = pl.col("value").cast(pl.Float32)  # as the log keeps it
    return dataset.interactions.with_columns(rounded).rows(), reasons, dataset.warnings


@pytest.mark.parametrize("unit", ["unix_s", "unix_ns", "iso"])
def test_strange_values_among_others_are_read_alike_in_memory_and_in_parts(
    whole: Path, tmp_path: Path, unit: str
) -> None:
    root, rng, num_read = copied(whole, tmp_path / "set"), np.random.default_rng(1), 0
    spec = tomllib.loads((whole / "dataset.toml").read_text("utf-8"))
    scale = {"unix_s": 1, "unix_ns": 10**9, "iso": 1}[unit]
    frame = read_file(whole / "events.parquet").with_columns(pl.col("time") * scale)
    if unit == "iso":
        frame = frame.with_columns(pl.from_epoch("time").dt.to_string("%Y-%m-%d %H:%M:%S UTC"))
    spec["interactions"] |= {"path": OTHER, "time": unit}
    spec["reviews"]["time"] = "unix_s"
    del spec["items"]["created_at"]
    for _ in range(20):
        name = frame.columns[int(rng.integers(frame.width))]
        values: Values = frame[name].to_list()
        strange = STRANGE[int(rng.integers(len(STRANGE)))]
        for place in rng.integers(len(values), size=int(rng.integers(1, 3))).tolist():
            values[place] = strange
        mixed = len({type(value) for value in values}) > 1 and not isinstance(strange, float | Decimal)
        column = pl.Series(name, [str(value) for value in values] if mixed else values, strict=False)
        frame.with_columns(column).write_parquet(root / OTHER)
        (root / "dataset.toml").write_text(tomli_w.dumps(spec), "utf-8")
        found = outcome(load_dataset, root)
        assert outcome(streamed, root) == found, (name, strange)
        num_read += isinstance(found, tuple) and not isinstance(found[0], str)
    assert num_read > 10
