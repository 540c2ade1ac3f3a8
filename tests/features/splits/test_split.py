import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prepared_parts import CONFIGS, nasty, streamed

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset, MediumVectors
from features.inputs.histories import HistoryBuilder, ReviewVectors, SeenItems, build_maps, build_schema
from features.splits.make import make_split
from features.splits.split import Split
from recsys.config import SplitConfig, UserTowerConfig
from recsys.errors import ConfigError
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
        maps=build_maps(dataset, split.statistics),
        reviews=reviews,
        allowed_reviews=split.reviews,
    )


def same(found: History, expected: History) -> None:
    for field in dataclasses.fields(History):
        mine, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(mine, other, err_msg=field.name)
            assert mine.dtype == other.dtype, field.name
        elif field.name == "asked_at":
            assert mine == other
        else:
            assert list(mine) == list(other), field.name
            for key in other:
                np.testing.assert_array_equal(mine[key], other[key], err_msg=field.name)


@pytest.mark.parametrize("protocol", CONFIGS)
def test_a_log_on_disk_reads_as_frames_in_memory(tmp_path: Path, protocol: str) -> None:
    root, config = nasty(tmp_path, 4), CONFIGS[protocol]
    frames, log = load_dataset(root), streamed(root)
    splits = make_split(frames, config), make_split(log, config, root / "split")
    builders = [builder_of(dataset, split) for dataset, split in zip((frames, log), splits, strict=True)]
    num_reviews = 0
    for name in ("before_validation", "before_test"):
        expected, found = (getattr(split, name)(b) for split, b in zip(splits, builders, strict=True))
        assert list(found) == list(expected)
        for user in expected:
            same(found[user], expected[user])
            num_reviews += len(found[user].review_text)
    assert num_reviews > 0
    (expected, positive), (found, is_positive) = (
        split.training(builder) for split, builder in zip(splits, builders, strict=True)
    )
    assert list(found) == list(expected)
    for user in expected:
        same(found[user], expected[user])
        np.testing.assert_array_equal(is_positive(user), positive(user))
    assert "nobody" not in found
    with pytest.raises(KeyError):
        found["nobody"]
    ground_truths = [split.validation_items(builders[0].item_ids) for split in splits]
    assert list(ground_truths[0]) == list(ground_truths[1])
    for user, items in ground_truths[0].items():
        np.testing.assert_array_equal(ground_truths[1][user], items)
    with_event = [split.statistics.has_event(frames.reviews) for split in splits]
    assert 0 < with_event[0].sum() < frames.reviews.height
    np.testing.assert_array_equal(with_event[1], with_event[0])
    known = [split.items_before_test(builders[0].item_ids) for split in splits]
    np.testing.assert_array_equal(known[1], known[0])
    config_of_tower = UserTowerConfig()
    schemas = [
        build_schema(dataset, split.statistics, b.maps, b.reviews, config_of_tower)
        for dataset, split, b in zip((frames, log), splits, builders, strict=True)
    ]
    assert schemas[1] == dataclasses.replace(
        schemas[0],
        number_scales={name: pytest.approx(scale) for name, scale in schemas[0].number_scales.items()},
    )


@pytest.mark.parametrize("protocol", ["user_temporal", "global_temporal"])
def test_users_ask_at_one_time_or_each_after_their_history(tmp_path: Path, protocol: str) -> None:
    root, config = nasty(tmp_path, 4), CONFIGS[protocol]
    frames, log = load_dataset(root), streamed(root)
    for data, split in ((frames, make_split(frames, config)), (log, make_split(log, config, root / "split"))):
        builder = builder_of(data, split)
        for histories in (split.before_validation(builder), split.before_test(builder)):
            assert histories
            for history in histories.values():
                newest = None if protocol == "global_temporal" else history.timestamp[-1]
                assert history.asked_at == newest
                assert history.last(1).asked_at == newest


def test_all_histories_and_what_was_seen(tmp_path: Path) -> None:
    root = nasty(tmp_path, 5)
    frames, log = load_dataset(root), streamed(root)
    split = make_split(frames, SplitConfig(protocol="leave_one_out"))
    expected = frames.histories(builder_of(frames, split))
    found = log.histories(builder_of(log, split))
    assert list(found) == list(expected)
    for user in expected:
        same(found[user], expected[user])
    seen = SeenItems(found)
    assert len(seen) == len(expected)
    np.testing.assert_array_equal(seen["u1"], expected["u1"].seen)
    assert seen.get("nobody") is None


def test_the_split_on_disk_is_that_of_the_frames(tmp_path: Path) -> None:
    root, config = nasty(tmp_path, 6), CONFIGS["user_temporal"]
    make_split(load_dataset(root), config).write(root / "frames")
    make_split(streamed(root), config, root / "parts").write(root / "log")
    for name in ("history", "ground_truth"):
        expected, found = (
            pl.read_parquet(root / kind / f"{name}.parquet").with_columns(pl.col("value").cast(pl.Float32))
            for kind in ("frames", "log")
        )
        assert found.sort("row").equals(expected.sort("row"))
    assert sorted(path.name for path in (root / "log").iterdir()) == [
        "ground_truth.parquet",
        "history.parquet",
    ]


@pytest.mark.parametrize("protocol", ["leave_one_out", "global_temporal"])
def test_positive_training_events_are_the_same_on_disk_and_in_memory(tmp_path: Path, protocol: str) -> None:
    root, config = nasty(tmp_path, 7), CONFIGS[protocol]
    frames, log = load_dataset(root), streamed(root)
    item_ids = IdMap(frames.items["item_id"].to_list())
    whole = make_split(frames, config)
    (expected,) = whole.positive_training(item_ids)
    chunks = list(make_split(log, config, root / "split").positive_training(item_ids))
    assert len(chunks) > 1
    user = np.concatenate([chunk.user for chunk in chunks])
    order = np.argsort(user, kind="stable")
    np.testing.assert_array_equal(user[order], expected.user)
    for name in ("item", "timestamp"):
        found = np.concatenate([getattr(chunk, name) for chunk in chunks])
        np.testing.assert_array_equal(found[order], getattr(expected, name))
    users = [set(chunk.user.tolist()) for chunk in chunks]
    assert sum(map(len, users)) == len(set().union(*users)), "no user is in two chunks"
    positive = whole.train.filter("positive").sort("user_id", "timestamp", "row")
    assert expected.user.max() + 1 == positive["user_id"].n_unique()
    assert item_ids.decode(expected.item) == positive["item_id"].to_list()


def test_a_split_that_tests_some_users_is_the_same_but_for_its_test(tmp_path: Path) -> None:
    root, config = nasty(tmp_path, 8), CONFIGS["leave_one_out"]
    for split in (make_split(load_dataset(root), config), make_split(streamed(root), config, root / "split")):
        chosen = split.test["user_id"].unique().sort().to_list()[:2]
        some = split.testing(chosen)
        assert some.test.equals(split.test.filter(pl.col("user_id").is_in(chosen)))
        assert 0 < some.test.height < split.test.height
        assert some.train.equals(split.train)
        assert some.description == split.description


def test_validation_joins_training_in_memory_alone(tmp_path: Path) -> None:
    root, config = nasty(tmp_path, 9), CONFIGS["leave_one_out"]
    split = make_split(load_dataset(root), config)
    joined = split.with_validation()
    assert joined.train.equals(pl.concat([split.train, split.validation]).sort("timestamp", "row"))
    assert not joined.validation.height
    assert joined.test.equals(split.test)
    with pytest.raises(ConfigError, match=r"data\.stream_above"):
        make_split(streamed(root), config, root / "split").with_validation()
