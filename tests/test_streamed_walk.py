"""One run with its log in memory, one with the log prepared on disk: nothing tells them apart."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from dataset_parts import write
from walk_parts import every_ranker_helps, recsys, write_settings

from features.event_log.dataset import StreamedDataset
from recsys.config import load_config
from training import pipeline
from training.pipeline import Run

NUM_ITEMS, NUM_USERS, LENGTH = 24, 30, 9


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Users who walk from item to item, with ratings, kinds of events, reviews and a few bad rows."""
    rng = np.random.default_rng(0)
    events, reviews = ["user,item,time,kind,rating"], ["user,item,time,text"]
    for user in range(NUM_USERS):
        start = int(rng.integers(NUM_ITEMS))
        for at in range(LENGTH):
            row = f"u{user},{(start + at) % NUM_ITEMS},{1_600_000_000 + 60 * at}"
            events.append(f"{row},{'view' if at % 3 else 'buy'},{rng.integers(1, 6)}")
            if at % 4 == 0:
                reviews.append(f"{row},words number {at}")
        events.append(f"u{user},unknown,1600000000,view,5")
    people = "user,city\n" + "".join(f"u{at},{'Ulm' if at % 2 else 'Bonn'}\n" for at in range(NUM_USERS + 2))
    items = "id,title\n" + "".join(f"{at},Item number {at}\n" for at in range(NUM_ITEMS))
    files: dict[str, str | bytes] = {
        "items.csv": items, "events.csv": "\n".join(events), "reviews.csv": "\n".join(reviews),
        "users.csv": people,
    }  # fmt: skip
    names = {"path": "reviews.csv", "user": "user", "item": "item", "timestamp": "time", "text": "text"}
    (tmp_path / "shop").mkdir()
    return write(
        tmp_path / "shop",
        files,
        interactions={"event": "kind", "value": "rating", "positive": "rating > 1"},
        reviews=dict(names),
        users={"path": "users.csv", "id": "user", "categories": ["city"]},
    )


# What holds all events in memory, or reads all their times, an event log does otherwise or not at all.
ALIKE = ("evaluate.baselines=[]",)


def finished(shop: Path, out: Path, *settings: str) -> Run:
    path = write_settings(shop.parent / "settings.toml", shop.parent / "encoders", "unused")
    config = load_config(path, overrides=["track.enabled=false", "train.epochs=2", *ALIKE, *settings])
    run = Run.create(out, shop, config, cache_dir=shop.parent / "cache")
    with every_ranker_helps():
        run.train()
        run.evaluate()
        run.export()
    return run


@pytest.mark.long
@pytest.mark.usefixtures("one_thread")
def test_a_log_on_disk_gives_the_same_run(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Any] = []  # the graphs say nothing of where the log lay, and take long

    def export_bundle(*arguments: Any, **_: Any) -> Any:
        exported.append(arguments)
        return SimpleNamespace(path=tmp_path, version="0", manifest=SimpleNamespace(parity={}))

    monkeypatch.setattr(pipeline, "export_bundle", export_bundle)
    memory = finished(shop, tmp_path / "memory")
    disk = finished(shop, tmp_path / "disk", "data.stream_above=0")
    assert isinstance(disk.dataset, StreamedDataset)
    assert "interactions" not in vars(disk.dataset), "the log was never whole in memory"
    assert not {"train", "validation", "context"} & set(vars(disk.split))
    assert disk.fitted.retriever.curve == memory.fitted.retriever.curve
    assert disk.fitted.ranker is not None
    assert memory.fitted.ranker is not None
    assert disk.fitted.ranker.num_lists == memory.fitted.ranker.num_lists
    assert disk.fitted.schema == memory.fitted.schema
    metrics = [json.loads((run.directory.path / "metrics.json").read_text()) for run in (memory, disk)]
    assert metrics[1] == metrics[0]
    for name in ("histories.parquet", "split/ground_truth.parquet", "split/history.parquet"):
        expected, found = (pl.read_parquet(run.directory.path / name) for run in (memory, disk))
        if name == "split/history.parquet":
            expected, found = expected.sort("row"), found.sort("row")
        assert found.equals(expected), name
    known = pl.read_parquet(disk.directory.path / "histories.parquet")
    without_events = known.filter(pl.col("item_id").list.len() == 0)
    assert without_events["user_id"].to_list() == [f"u{NUM_USERS}", f"u{NUM_USERS + 1}"]
    assert without_events["cat:city"].to_list() == [["Bonn"], ["Ulm"]]
    (_, refit, _, _, described, checked), (_, other_refit, _, _, other_described, other_checked) = exported
    assert other_refit.retriever.curve == refit.retriever.curve
    assert other_described.refit_description == described.refit_description
    assert "events)" in described.refit_description
    for history, other in zip(checked, other_checked, strict=True):
        np.testing.assert_array_equal(other.item, history.item)
    left = pl.read_csv(disk.directory.path / "rejected_interactions.csv")
    assert left.height == NUM_USERS


def test_prepare_and_check_tell_the_same_of_a_log_on_disk(shop: Path, tmp_path: Path) -> None:
    answer = recsys("prepare", shop, "--out", tmp_path / "log")
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert f"{NUM_USERS * LENGTH} events of {NUM_USERS} users" in said
    assert f"{NUM_USERS} rows are in its rejected.parquet" in said
    assert (tmp_path / "log" / "manifest.json").is_file()
    in_memory = recsys("check", shop)
    options = ("--cache", tmp_path / "cache", "--set", "data.stream_above=0")
    on_disk = recsys("check", shop, *options, "--rejected", tmp_path / "left.csv")
    assert on_disk.code == 0, on_disk.err
    assert in_memory.out in on_disk.out
    assert pl.read_csv(tmp_path / "left_interactions.csv")["value"].unique().to_list() == ["unknown"]
    assert list((tmp_path / "cache" / "prepared").iterdir())
