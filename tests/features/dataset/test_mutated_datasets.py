"""Whatever is done to a dataset's files: it is read, or refused by a message that names a file."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tomli_w
from dataset_parts import write

from features.dataset.load import load_dataset
from features.dataset.readers import read_file
from recsys.errors import RecsysError

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
