"""Datasets that lack some or all modalities, from files to a fitted model."""

from pathlib import Path

import numpy as np
import pytest
from dataset_parts import write
from fit_parts import fit_split
from fitting_parts import config
from PIL import Image
from tiny_encoders import write_tiny_image, write_tiny_text

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset
from features.extraction.extract import extract
from features.splits.make import make_split
from recsys.config import EncoderConfig

NUM_ITEMS, NUM_USERS = 12, 16
COLOURS = ("red", "green", "blue")


def logged(root: Path, *, title: bool, image: bool) -> Dataset:
    """Users with events on items whose ids are emoji, spaces and signs; one user has a single event."""
    names = [f"🎸 {at}/é" for at in range(NUM_ITEMS)]
    header = ["id", *(["title"] if title else []), *(["image"] if image else [])]
    rows = [",".join(header)]
    for at, name in enumerate(names):
        rows.append(
            ",".join([name, *([COLOURS[at % 3]] if title else []), *([f"{at}.png"] if image else [])])
        )
    events = ["user,item,time"]
    for user in range(NUM_USERS):
        events += [f"u{user},{names[(user + at) % NUM_ITEMS]},{1_600_000_000 + at}" for at in range(6)]
    events.append(f"visitor,{names[0]},1600000000")
    files: dict[str, str | bytes] = {"items.csv": "\n".join(rows), "events.csv": "\n".join(events)}
    items = {"title": "title"} if title else {}
    write(root, files, items=items | ({"image": "image"} if image else {}))
    if not title:
        text = (root / "dataset.toml").read_text("utf-8").replace('title = "title"\n', "")
        (root / "dataset.toml").write_text(text, "utf-8")
    for at in range(NUM_ITEMS if image else 0):
        Image.new("RGB", (8, 8), COLOURS[at % 3]).save(root / f"{at}.png")
    return load_dataset(root)


@pytest.mark.parametrize(("title", "image"), [(False, False), (True, False), (False, True)])
def test_a_dataset_without(tmp_path: Path, title: bool, image: bool) -> None:
    data = logged(tmp_path / "data", title=title, image=image)
    encoders = EncoderConfig(
        text=str(write_tiny_text(tmp_path / "text"))
        if title
        else "nowhere",  # a needless encoder is never opened
        image=str(write_tiny_image(tmp_path / "image")) if image else "nowhere",
        audio="nowhere",
        transcriber="none",
    )
    vectors = extract(data, encoders, cache_dir=tmp_path / "cache")
    assert set(vectors.items) == {name for name, has in (("title", title), ("image", image)) if has}
    settings = config(model={"ranker": {"num_epochs": 1}}, train={"epochs": 1})
    split = make_split(data, settings.split)
    assert "visitor" not in split.test["user_id"].to_list(), "one event is training alone"
    assert "visitor" in split.train["user_id"].to_list()
    fitted = fit_split(data, vectors, split, settings)
    assert set(fitted.features.dense) == set(vectors.items)
    found = fitted.recommender.recommend([fitted.builder.build(split.train)["visitor"]], 5)
    assert np.isfinite(found.scores).all()
    names = fitted.features.item_ids.decode(found.items[0])
    assert len(set(names)) == 5
    assert "🎸 0/é" not in names, "it was seen"
