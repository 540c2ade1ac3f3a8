import dataclasses
from pathlib import Path

import numpy as np
import pytest
from prepared_parts import CONFIGS, nasty, streamed

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset, MediumVectors, Split
from features.inputs.histories import (
    HistoryBuilder,
    ReviewVectors,
    build_maps,
    build_schema,
)
from features.inputs.split_view import SeenItems, all_histories, view_of
from features.splits.make import make_split, write_split
from features.splits.streamed import make_streamed_split
from recsys.config import SplitConfig, UserTowerConfig
from recsys.history import History
from recsys.ids import IdMap


def builder_of(dataset: Dataset, split: Split) -> HistoryBuilder:
    """With a text vector for every review, and a voice for every second."""
    number = dataset.reviews.height
    vectors = np.arange(number * 2, dtype=np.float32).reshape(number, 2)
    owner = np.arange(number)
    reviews = ReviewVectors(
        text=MediumVectors(owner=owner, vectors=vectors),
        audio=MediumVectors(owner=owner[::2], vectors=-vectors[::2]),
    )
    return HistoryBuilder(
        dataset,
        item_ids=IdMap(dataset.items["item_id"].to_list()),
        maps=build_maps(dataset, view_of(split).facts),
        reviews=reviews,
        allowed_reviews=split.reviews,
    )


def same(found: History, expected: History) -> None:
    for field in dataclasses.fields(History):
        mine, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(mine, other, err_msg=field.name)
            assert mine.dtype == other.dtype, field.name
        else:
            assert list(mine) == list(other), field.name
            for key in other:
                np.testing.assert_array_equal(mine[key], other[key], err_msg=field.name)


@pytest.mark.parametrize("protocol", CONFIGS)
def test_a_log_on_disk_reads_as_frames_in_memory(tmp_path: Path, protocol: str) -> None:
    root, config = nasty(tmp_path, 4), CONFIGS[protocol]
    frames, log = load_dataset(root), streamed(root)
    splits = make_split(frames, config), make_streamed_split(log, config, root / "split")
    views = [view_of(split) for split in splits]
    builders = [builder_of(dataset, split) for dataset, split in zip((frames, log), splits, strict=True)]
    num_reviews = 0
    for name in ("before_validation", "before_test"):
        expected, found = (getattr(v, name)(b) for v, b in zip(views, builders, strict=True))
        assert list(found) == list(expected)
        for user in expected:
            same(found[user], expected[user])
            num_reviews += len(found[user].review_text)
    assert num_reviews > 0
    (expected, positive), (found, is_positive) = (
        view.training(builder) for view, builder in zip(views, builders, strict=True)
    )
    assert list(found) == list(expected)
    for user in expected:
        same(found[user], expected[user])
        np.testing.assert_array_equal(is_positive(user), positive(user))
    assert "nobody" not in found
    with pytest.raises(KeyError):
        found["nobody"]
    truths = [view.validation_items(builders[0].item_ids) for view in views]
    assert list(truths[0]) == list(truths[1])
    for user, items in truths[0].items():
        np.testing.assert_array_equal(truths[1][user], items)
    with_event = [view.facts.has_event(frames.reviews) for view in views]
    assert 0 < with_event[0].sum() < frames.reviews.height
    np.testing.assert_array_equal(with_event[1], with_event[0])
    known = [view.known_items(builders[0].item_ids) for view in views]
    np.testing.assert_array_equal(known[1], known[0])
    config_of_tower = UserTowerConfig()
    schemas = [
        build_schema(dataset, view.facts, b.maps, b.reviews, config_of_tower)
        for dataset, view, b in zip((frames, log), views, builders, strict=True)
    ]
    assert schemas[1] == dataclasses.replace(
        schemas[0],
        value_mean=pytest.approx(schemas[0].value_mean),  # type: ignore[arg-type]
        value_std=pytest.approx(schemas[0].value_std),  # type: ignore[arg-type]
    )


def test_all_histories_and_what_was_seen(tmp_path: Path) -> None:
    root = nasty(tmp_path, 5)
    frames, log = load_dataset(root), streamed(root)
    split = make_split(frames, SplitConfig(protocol="leave_one_out"))
    expected = all_histories(builder_of(frames, split), frames)
    found = all_histories(builder_of(log, split), log)
    assert list(found) == list(expected)
    for user in expected:
        same(found[user], expected[user])
    seen = SeenItems(found)
    assert len(seen) == len(expected)
    np.testing.assert_array_equal(seen["u1"], expected["u1"].seen)
    assert seen.get("nobody") is None


def test_the_split_on_disk_is_that_of_the_frames(tmp_path: Path) -> None:
    import polars as pl

    root, config = nasty(tmp_path, 6), CONFIGS["user_temporal"]
    write_split(make_split(load_dataset(root), config), root / "frames")
    view_of(make_streamed_split(streamed(root), config, root / "parts")).write(root / "log")
    for name in ("history", "truth"):
        expected, found = (
            pl.read_parquet(root / kind / f"{name}.parquet").with_columns(pl.col("value").cast(pl.Float32))
            for kind in ("frames", "log")
        )
        assert found.sort("row").equals(expected.sort("row"))
    assert sorted(path.name for path in (root / "log").iterdir()) == ["history.parquet", "truth.parquet"]
