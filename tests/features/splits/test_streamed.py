from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dataset_parts import write
from prepared_parts import CONFIGS, nasty, streamed

from features.dataset.load import load_dataset
from features.splits.assignment import PARTS
from features.splits.make import make_split
from features.splits.split import Split
from features.splits.streamed import StreamedSplit
from features.splits.train_statistics import InMemoryTrainStatistics
from recsys.config import SplitConfig
from recsys.errors import ConfigError
from recsys.ids import IdMap


def both(root: Path, config: SplitConfig) -> tuple[Split, Split]:
    parts = make_split(streamed(root), config, root / "split")
    return make_split(load_dataset(root), config), parts


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("protocol", CONFIGS)
def test_a_partition_at_a_time_splits_as_the_whole(tmp_path: Path, protocol: str, seed: int) -> None:
    whole, parts = both(nasty(tmp_path, seed), CONFIGS[protocol])
    assert isinstance(parts, StreamedSplit)
    rounded = pl.col("value").cast(pl.Float32)
    for part in ("train", "validation", "test", "context"):
        expected = getattr(whole, part)
        assert getattr(parts, part).with_columns(rounded).equals(expected.with_columns(rounded)), part
        assert parts.counts[part] == expected.height
    assert sum(parts.counts.values()) == parts.dataset.log.manifest.num_events
    assert parts.reviews.equals(whole.reviews)
    assert 0 < parts.reviews.height < parts.dataset.reviews.height
    assert parts.description == whole.description
    assert parts.protocol == whole.protocol
    assert parts.cold_items == whole.cold_items


@pytest.mark.parametrize("protocol", ["leave_one_out", "held_out_items"])
def test_facts_of_training_are_those_of_its_frame(tmp_path: Path, protocol: str) -> None:
    whole, parts = both(nasty(tmp_path, 3), CONFIGS[protocol])
    assert isinstance(parts, StreamedSplit)
    facts, expected = parts.statistics, InMemoryTrainStatistics(whole.train)
    item_ids = IdMap(parts.dataset.items["item_id"].to_list())
    assert np.array_equal(facts.item_counts(item_ids), expected.item_counts(item_ids))
    assert facts.kinds == expected.kinds
    assert facts.users.sort("user_id").equals(expected.users.sort("user_id"))
    assert facts.number_scales["value"] == pytest.approx(expected.number_scales["value"], rel=1e-12)
    known = {*whole.train["item_id"], *whole.validation["item_id"]}
    assert set(item_ids.decode(np.flatnonzero(parts.items_before_test(item_ids)))) == known


def test_a_split_that_leaves_no_test_is_made_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write(tmp_path, {"events.csv": "user,item,time\na,1,1\nb,2,2\n"})
    split = make_split(streamed(root), SplitConfig(cold_fraction=0.0), root / "split")
    assert split.test.is_empty()
    assert "leaves no test event" in caplog.text


def test_positions_have_no_global_cut_off(tmp_path: Path) -> None:
    root = write(tmp_path, {}, interactions={"time": "order"})
    with pytest.raises(ConfigError, match="needs times"):
        make_split(streamed(root), SplitConfig(protocol="global_temporal"), root / "split")


def test_a_given_split_is_matched_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files: dict[str, str | bytes] = {"tr.csv": "user,item\na,1\nb,3\n", "te.csv": "user,item\na,2\n"}
    whole, parts = both(write(tmp_path, files, split={"train": "tr.csv", "test": "te.csv"}), SplitConfig())
    assert "read into memory" in caplog.text
    assert parts.protocol == "predefined"
    assert parts.test.equals(whole.test)


def test_parts_are_bytes_beside_the_log(tmp_path: Path) -> None:
    text = "user,item,time\n" + "".join(f"a,{1 + at % 3},{at}\n" for at in (3, 1, 2, 0))
    root = write(tmp_path, {"events.csv": text})
    config = SplitConfig(protocol="leave_one_out")
    parts = make_split(streamed(root, partition_events=1000), config, root / "split")
    assert isinstance(parts, StreamedSplit)
    assert [PARTS[code] for code in parts.codes(0)] == ["train", "train", "validation", "test"]
    assert parts.codes(0).dtype == np.uint8
