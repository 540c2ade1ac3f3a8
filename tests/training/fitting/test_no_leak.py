"""Whatever stands in the test, the same is trained; whatever stands in validation, the towers step the same.

Nothing here knows of the audit: rows are changed, and what was trained is compared bit for bit.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from fit_parts import fit_split
from fitting_parts import config, media, source_arrays
from leak_parts import PROTOCOLS, write_shop

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset
from features.splits.make import make_split
from features.splits.split import Split
from recsys.config import ALSConfig
from training.baselines import ALS, Popularity
from training.fitting.fit import FitChoices, Fitted

SETTINGS = config(train={"epochs": 2}, model={"ranker": {"num_epochs": 1}})
ONCE = FitChoices(epochs=2, ranker_epochs=1, blend_weight=1.0)
Swap = dict[tuple[str, str, int], str]  # (user, item, time) of an event -> its other item


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def split_of(data: Dataset, protocol: str) -> Split:
    return make_split(data, PROTOCOLS[protocol])


def swaps(data: Dataset, split: Split, part: str) -> Swap:
    """Another item for each event of a part: cold for cold, and none of the user's own items."""
    events = getattr(split, part).select("user_id", "item_id", "timestamp")
    met = {
        user: set(items) for user, items in data.interactions.group_by("user_id").agg("item_id").iter_rows()
    }
    cold = sorted(set(events["item_id"]) & split.cold_items)
    after = dict(zip(cold, [*cold[1:], *cold[:1]], strict=True))
    warm = sorted(set(split.train["item_id"]))
    swap: Swap = {}
    for user, item, time in events.iter_rows():
        other = after.get(item) or next(each for each in warm if each not in met[user])
        met[user].add(other)
        swap[user, item, time] = other
    return swap


def changed(root: Path, data: Dataset, split: Split, part: str) -> Dataset:
    """Other items, values and kinds on the events of one part, and their reviews are of the other items."""
    swap = swaps(data, split, part)
    keys = list(data.interactions.select("user_id", "item_id", "timestamp").iter_rows())
    is_changed = pl.Series([key in swap for key in keys])
    interactions = data.interactions.with_columns(
        pl.Series("item_id", [swap.get(key, key[1]) for key in keys]),
        pl.when(is_changed).then(pl.lit(4.75)).otherwise("value").alias("value"),
        pl.when(is_changed).then(pl.lit("gift")).otherwise("event").alias("event"),
    )
    of_pair = {(user, item): other for (user, item, _), other in swap.items()}
    pairs = data.reviews.select("user_id", "item_id").iter_rows()
    reviews = data.reviews.with_columns(pl.Series("item_id", [of_pair.get(pair, pair[1]) for pair in pairs]))
    for name in ("train.csv", "test.csv"):  # as the given split has them
        lines = [line.split(",") for line in (root / name).read_text().splitlines()]
        for line in lines[1:]:
            line[1] = swap.get((line[0], line[1], int(line[2]) * 1_000_000), line[1])
        (root / name).write_text("\n".join(map(",".join, lines)))
    return replace(data, interactions=interactions, reviews=reviews)


def fitted(data: Dataset, split: Split, said: np.ndarray, choices: FitChoices | None = None) -> Fitted:
    """`said` marks the reviews whose vectors are replaced."""
    vectors = media(data)
    vectors.reviews["review_text"].vectors[said] = 99.0
    return fit_split(data, vectors, split, SETTINGS, choices=choices)


def parameters(found: Fitted) -> dict[str, np.ndarray]:
    """All trained or counted values."""
    kept = {name: value.numpy() for name, value in found.retriever.model.state_dict().items()}
    if found.ranker is not None:
        kept |= {f"ranker.{name}": value.numpy() for name, value in found.ranker.module.state_dict().items()}
    for source in found.recommender.sources:
        kept |= {f"{source.name}.{name}": array for name, array in source_arrays(source).items()}
    features = found.features
    kept |= {"trained": features.trained, "popularity": features.popularity}
    kept |= {f"dense.{name}": array for name, array in features.dense.items()}
    kept |= {f"category.{name}": array for name, array in features.categories.items()}
    kept["values"] = np.array(found.schema.number_scales["value"])
    return kept


def differing(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not np.array_equal(first[name], second[name])]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_test_rows_change_nothing_that_is_trained(tmp_path: Path, protocol: str) -> None:
    data = load_dataset(write_shop(tmp_path))
    split = split_of(data, protocol)
    other = changed(tmp_path, data, split, "test")
    moved = split_of(other, protocol)
    assert moved.train.equals(split.train)
    assert moved.validation.equals(split.validation)
    assert not moved.test["item_id"].equals(split.test["item_id"])
    assert moved.test["row"].equals(split.test["row"])
    tested = split.test.select("user_id", "item_id").unique()
    said = data.reviews.join(tested, on=["user_id", "item_id"], how="semi")["row"].to_numpy()
    assert len(said)
    first, second = fitted(data, split, said[:0]), fitted(other, moved, said)
    assert differing(parameters(first), parameters(second)) == []
    assert second.retriever.curve == first.retriever.curve
    settings = ALSConfig(factors=4, iterations=2)
    for make in (
        lambda split, items: Popularity(split, items, seen=None).count_N,
        lambda split, items: ALS(split, items, seen=None, settings=settings, num_threads=1).item_factors,
    ):
        assert np.array_equal(make(split, first.features), make(moved, second.features))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_validation_rows_change_no_step_of_the_towers(tmp_path: Path, protocol: str) -> None:
    data = load_dataset(write_shop(tmp_path))
    split = split_of(data, protocol)
    other = changed(tmp_path, data, split, "validation")
    moved = split_of(other, protocol)
    assert moved.train.equals(split.train)
    assert not moved.validation["item_id"].equals(split.validation["item_id"])
    held = split.validation.select("user_id", "item_id").unique()
    said = data.reviews.join(held, on=["user_id", "item_id"], how="semi")["row"].to_numpy()
    first, second = fitted(data, split, said[:0], ONCE), fitted(other, moved, said, ONCE)
    assert [source.name for source in first.recommender.sources] == [
        "als",
        "item_item",
        "transitions",
        "popularity",
    ]
    moved_by_targets = differing(parameters(first), parameters(second))
    assert [name for name in moved_by_targets if not name.startswith("ranker.")] == []
    assert second.retriever.curve == first.retriever.curve


def test_other_training_rows_do_change_it(tmp_path: Path) -> None:
    """The tests above compare values that can differ."""
    data = load_dataset(write_shop(tmp_path))
    split = split_of(data, "leave_one_out")
    one = split.train.row(0, named=True)
    item = pl.when(pl.col("row") == one["row"]).then(pl.lit("i23")).otherwise("item_id").alias("item_id")
    other = replace(data, interactions=data.interactions.with_columns(item))
    none = np.empty(0, np.int64)
    first = parameters(fitted(data, split, none, ONCE))
    second = parameters(fitted(other, split_of(other, "leave_one_out"), none, ONCE))
    assert {"popularity", "log_temperature"} <= set(differing(first, second))
