"""Datasets so small that nothing can be measured still end in a bundle, and the report says why.

Each walk is the whole one of `recsys run`, with a model that trains in a second.
"""

import json
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import write
from tiny_encoders import write_tiny_text
from walk_parts import recsys

pytestmark = pytest.mark.long  # a whole walk a dataset

Events = list[tuple[str, str]]
TINY: dict[str, Events] = {
    "3 items and 60 users": [(f"u{user}", f"i{(user + at) % 3}") for user in range(60) for at in range(6)],
    "one user": [("u0", f"i{at % 2}") for at in range(8)],
    "one item": [(f"u{user}", "i0") for user in range(12) for _ in range(3)],
    "one event a user": [(f"u{user}", f"i{user % 3}") for user in range(9)],
    "one event": [("u0", "i0")],
    "everybody buys the same again": [(f"u{user}", f"i{user % 5}") for user in range(20) for _ in range(4)],
}
REPEATS, NO_TEST = "repeats of items that their users had seen", "the split has no test event"
REASONS = {
    "3 items and 60 users": REPEATS,
    "one user": REPEATS,
    "one item": REPEATS,
    "one event a user": NO_TEST,
    "one event": NO_TEST,
    "everybody buys the same again": REPEATS,
}
SETTINGS = (
    "model.dim=8", "model.user.num_heads=2", "model.item.num_heads=2", "model.user.num_blocks=1",
    "train.epochs=1", "train.steps_per_epoch=1", "train.num_threads=1", "track.enabled=false",
    "encoders.transcriber=none",
)  # fmt: skip


def shop(root: Path, events: Events) -> Path:
    items = sorted({item for _, item in events})
    rows = [f"{user},{item},{1_600_000_000 + at * 1000}" for at, (user, item) in enumerate(events)]
    files: dict[str, str | bytes] = {
        "items.csv": "\n".join(["id,title", *(f"{item},Title {item}" for item in items)]),
        "events.csv": "\n".join(["user,item,time", *rows]),
    }
    write(root, files)
    return root


@pytest.mark.parametrize("name", TINY)
def test_a_bundle_is_made_and_the_report_says_what_could_not_be_measured(tmp_path: Path, name: str) -> None:
    data = shop(tmp_path / "shop", TINY[name])
    out = tmp_path / "run"
    settings = [*SETTINGS, f"encoders.text={write_tiny_text(tmp_path / 'text')}"]
    options = [word for each in settings for word in ("--set", each)]
    answer = recsys("run", data, "--out", out, "--cache", tmp_path / "cache", *options)
    assert answer.code == 0, answer.err
    assert (out / "bundle" / "manifest.json").exists()
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    assert metrics["counts"]["users_counted"] == 0
    assert REASONS[name] in metrics["not_measured"]
    assert f"Nothing could be measured: {metrics['not_measured']}" in " ".join(answer.out.split())
    page = (out / "report.html").read_text("utf-8")
    assert metrics["not_measured"] in page
    shown = recsys("recommend", out / "bundle", "--out", tmp_path / "lists.parquet")
    assert shown.code == 0, shown.err


def test_interactions_alone_are_a_dataset(tmp_path: Path) -> None:
    """No table of items and no times: the whole walk, and what is lost is said."""
    order = [(f"u{user}", f"i{user * (at + 3) % 23}") for at in range(8) for user in range(30)]
    rows = [f"{user},{item}" for user, item in order]
    alone: dict[str, str | bytes] = {"log.csv": "\n".join(["user,item", *rows])}
    untimed: dict[str, object] = {"path": "log.csv", "timestamp": None, "time": None}
    data, out = write(tmp_path / "shop", alone, items=None, interactions=untimed), tmp_path / "run"
    options = [word for each in SETTINGS for word in ("--set", each)]
    answer = recsys("run", data, "--out", out, "--cache", tmp_path / "cache", *options)
    assert answer.code == 0, answer.err
    assert "no cold start" in " ".join(answer.out.split())
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    assert metrics["counts"]["users_counted"] > 10
    lists = tmp_path / "lists.parquet"
    shown = recsys("recommend", out / "bundle", "--out", lists)
    assert shown.code == 0, shown.err
    recommended = pl.read_parquet(lists)
    assert recommended["user_id"].n_unique() == 30
    seen = pl.DataFrame(order, schema=["user_id", "item_id"], orient="row")
    assert recommended.join(seen, on=["user_id", "item_id"], how="semi").height == 0
