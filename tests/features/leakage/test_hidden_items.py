"""Events on items that are hidden to be new in the test: in context, in a history, in the seen items."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from leak_parts import caught, moved, of_nobody, pieces, tampered, with_event

from features.splits.assignment import CONTEXT, TRAIN, VALIDATION

ON_DISK = pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])


@ON_DISK
@pytest.mark.parametrize("protocol", ["user_temporal", "global_temporal", "held_out_items"])
def test_a_hidden_item_in_context(tmp_path: Path, protocol: str, on_disk: bool) -> None:
    made = pieces(tmp_path, protocol, streamed=on_disk)
    hidden = of_nobody(made).filter(~pl.col("positive")).sort("row")
    item, row = hidden.select("item_id", "row").row(0)
    error = caught(made, "split.context", split=moved(made, row, CONTEXT))
    assert error.item == item


def test_a_new_item_of_given_files_in_context(tmp_path: Path) -> None:
    made = pieces(tmp_path, "predefined")
    split, first = made.split, made.split.train.head(1)
    item = first["item_id"][0]
    kept = {name: getattr(split, name).filter(pl.col("item_id") != item) for name in (TRAIN, VALIDATION)}
    context = pl.concat([split.context.filter(pl.col("item_id") != item), first])
    assert caught(made, "split.context", split=tampered(split, context=context, **kept)).item == item


@ON_DISK
@pytest.mark.parametrize("protocol", ["user_temporal", "held_out_items"])
def test_an_event_on_a_hidden_item(tmp_path: Path, protocol: str, on_disk: bool) -> None:
    made = pieces(tmp_path, protocol, streamed=on_disk)
    event = of_nobody(made).filter(pl.col("user_id").is_in(list(made.histories))).sort("row").head(1)
    user, item = event.select("user_id", "item_id").row(0)
    own = made.histories[user]
    read = {user: with_event(made, own, event)}
    error = caught(
        made, "histories before test", at_test=True, histories={**made.histories, **read}, ground_truth={}
    )
    assert (error.user, error.item) == (user, item)
    assert "an unused event of the user" in str(error)
    seen = {user: replace(own, seen=np.append(own.seen, made.features.item_ids.encode([item])))}
    error = caught(
        made, "histories before test", at_test=True, histories={**made.histories, **seen}, ground_truth={}
    )
    assert (error.user, error.item) == (user, item)
    assert "a seen item has no event" in str(error)
