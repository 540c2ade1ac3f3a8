"""A small shop with all data that can leak, split by each protocol, and the inputs of the audit."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from dataset_parts import write
from fitting_parts import config, media

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset, MediaVectors
from features.event_log.dataset import load_streamed
from features.event_log.log import partition_name
from features.inputs.histories import HistoryBuilder, IdMaps, ReviewVectors, build_maps, build_schema
from features.inputs.item_features import build_item_features
from features.leakage.audit import Audit, audit_fit, audit_test
from features.splits.assignment import CODES, CONTEXT, TEST, TRAIN, VALIDATION
from features.splits.make import make_split
from features.splits.split import Split
from features.splits.streamed import StreamedSplit
from recsys.arrays import Ints
from recsys.columns import Columns
from recsys.config import SplitConfig
from recsys.errors import LeakError
from recsys.history import History, SequenceSchema
from recsys.item_features import ItemFeatures

NUM_ITEMS, NUM_USERS, LENGTH, FIRST_TEST = 24, 20, 10, 7
PROTOCOLS = {
    "leave_one_out": SplitConfig(protocol="leave_one_out"),
    "user_temporal": SplitConfig(protocol="user_temporal", test_fraction=0.3, cold_fraction=0.15),
    "global_temporal": SplitConfig(
        protocol="global_temporal", test_fraction=0.2, validation_fraction=0.2, cold_fraction=0.15
    ),
    "held_out_items": SplitConfig(protocol="held_out_items", cold_fraction=0.15),
    "predefined": SplitConfig(
        protocol="predefined", train="train.csv", test="test.csv", validation_fraction=0.2
    ),
}


def write_shop(root: Path) -> Path:
    """Users walk from item to item, one of five events no positive one; every item has a maker of its own."""
    events, reviews = ["user,item,time,kind,rating"], ["user,item,time,text"]
    parts: dict[str, list[str]] = {"train.csv": ["user,item,time"], "test.csv": ["user,item,time"]}
    for user in range(NUM_USERS):
        for at in range(LENGTH):
            row = f"u{user:02},i{(7 * user + at) % NUM_ITEMS:02},{1_600_000_000 + 7 * user + 1000 * at}"
            events.append(f"{row},{'view' if at % 3 else 'buy'},{1 if at % 5 == 3 else 2 + user % 4}")
            parts["train.csv" if at < FIRST_TEST else "test.csv"].append(row)
            if at % 3 == 0:
                reviews.append(f"{row},words {at} of {user}")
    reviews += [f"tester,i{at:02},{1_600_000_000 + at},tested" for at in range(NUM_ITEMS)]
    items = [f"i{at:02},Item {at},maker {at},{1990 + at}" for at in range(NUM_ITEMS)]
    users = [f"u{at:02},job {at % 3}" for at in range(NUM_USERS)]
    files: dict[str, str | bytes] = {
        "items.csv": "\n".join(["id,title,maker,year", *items, "new,New,nobody,2020"]),
        "users.csv": "\n".join(["id,job", *users, "idle,pilot"]),
        "events.csv": "\n".join(events),
        "reviews.csv": "\n".join(reviews),
        **{name: "\n".join(lines) for name, lines in parts.items()},
    }
    review_columns = {"path": "reviews.csv", "user": "user", "item": "item", "timestamp": "time"}
    return write(
        root,
        files,
        items={"categories": ["maker"], "numeric": ["year"]},
        interactions={"event": "kind", "value": "rating", "positive": "rating > 1"},
        reviews={**review_columns, "text": "text"},
        users={"path": "users.csv", "id": "id", "categories": ["job"]},
    )


@dataclass(kw_only=True)
class Pieces:
    """The arguments of `audit_fit` and `audit_test` in a correct fit and evaluation."""

    dataset: Dataset
    vectors: MediaVectors
    split: Split
    features: ItemFeatures
    maps: IdMaps
    schema: SequenceSchema
    builder: HistoryBuilder
    sequences: Mapping[str, History]
    before: Mapping[str, History]
    targets: dict[str, Ints]
    histories: Mapping[str, History]
    ground_truth: dict[str, Ints]

    def fit(self, **changes: Any) -> Audit:
        names = (
            "dataset", "vectors", "split", "features", "maps", "schema", "builder", "sequences",
            "before", "targets",
        )  # fmt: skip
        return audit_fit(**{name: getattr(self, name) for name in names} | changes)

    def test(self, **changes: Any) -> Audit:
        names = ("dataset", "split", "features", "builder", "histories", "ground_truth")
        return audit_test(**{name: getattr(self, name) for name in names} | {"exclude_seen": True} | changes)


def pieces(root: Path, protocol: str, *, streamed: bool = False) -> Pieces:
    write_shop(root)
    dataset = (
        load_streamed(root, root / "log", part_rows=50, partition_events=60)
        if streamed
        else load_dataset(root)
    )
    return pieces_of(dataset, make_split(dataset, PROTOCOLS[protocol], root / "parts"))


def pieces_of(dataset: Dataset, split: Split) -> Pieces:
    vectors, statistics = media(dataset), split.statistics
    features = build_item_features(dataset, vectors, train=statistics, reviews=split.reviews)
    maps, reviews = build_maps(dataset, statistics), ReviewVectors.of(vectors)
    builder = HistoryBuilder(
        dataset, item_ids=features.item_ids, maps=maps, reviews=reviews, allowed_reviews=split.reviews
    )
    histories, ground_truth = split.before_test(builder), {}
    for user, items in split.test.group_by("user_id", maintain_order=True).agg("item_id").iter_rows():
        seen = set(histories[user].seen.tolist()) if user in histories else set()
        wanted = [item for item in features.item_ids.encode(items).tolist() if item not in seen]
        ground_truth[user] = features.item_ids.encode(features.item_ids.decode(wanted))
    return Pieces(
        dataset=dataset,
        vectors=vectors,
        split=split,
        features=features,
        maps=maps,
        schema=build_schema(dataset, statistics, maps, reviews, config().model.user),
        builder=builder,
        sequences=split.training(builder)[0],
        before=split.before_validation(builder),
        targets=split.validation_items(features.item_ids),
        histories=histories,
        ground_truth=ground_truth,
    )


def tampered(split: Split, **changes: Any) -> Split:
    """The same split with other tables, whichever kind it is of."""
    other = copy.copy(split)
    for name, value in changes.items():
        object.__setattr__(other, name, value)
    return other


def moved(made: Pieces, row: int, part: str) -> Any:
    """The split with the event of that row in another part, on disk by one byte."""
    split = made.split
    if isinstance(split, StreamedSplit):
        for number, partition in enumerate(split.dataset.log.partitions()):
            codes = split.codes(number).copy()
            codes[partition.columns[Columns.ROW] == row] = CODES[part]
            np.save(split.folder / f"{partition_name(number)}.npy", codes)
        return split
    tables = {}
    for name in (TRAIN, VALIDATION, TEST, CONTEXT):
        kept = getattr(split, name).filter(pl.col("row") != row)
        if name == part:
            kept = pl.concat([kept, made.dataset.interactions.filter(pl.col("row") == row)])
        tables[name] = kept
    return tampered(split, **tables)


def caught(made: Pieces, table: str, *, at_test: bool = False, **changes: Any) -> LeakError:
    """The error of the audit for the inputs with `changes`. Without `changes` the audit passes."""
    look = made.test if at_test else made.fit
    with pytest.raises(LeakError) as found:
        look(**changes)
    assert found.value.table == table, str(found.value)
    assert str(found.value).startswith("leak: ")
    assert "; " in str(found.value), "the remedy"
    return found.value


def of_nobody(made: Pieces) -> pl.DataFrame:
    """Events that are in no part."""
    parts = [getattr(made.split, part).select("row") for part in (TRAIN, VALIDATION, TEST, CONTEXT)]
    return made.dataset.interactions.join(pl.concat(parts), on="row", how="anti")


def with_event(made: Pieces, own: History, event: pl.DataFrame) -> History:
    """The history with the event at its end."""
    item = made.features.item_ids.encode(event["item_id"])
    return replace(
        own,
        item=np.append(own.item, item),
        timestamp=np.append(own.timestamp, event["timestamp"].to_numpy()),
        event=np.append(own.event, own.event[-1]),
        value=np.append(own.value, own.value[-1]),
    )
