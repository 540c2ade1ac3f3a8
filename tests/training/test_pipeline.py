"""The steps of a run: the id-only model, and the fingerprint by which a run knows its dataset."""

from dataclasses import replace
from pathlib import Path

import polars as pl
from fitting_parts import config, log

from training.evaluation.system import id_only


def test_the_id_only_model_is_the_same_model_without_content() -> None:
    settings = config()
    blind = id_only(settings)
    assert not blind.model.item.use_content
    assert blind.model.item.use_id
    assert blind.model.item.id_dropout == 0, "there is nothing else to lean on"
    item = blind.model.item.model_copy(
        update={name: getattr(settings.model.item, name) for name in ("use_content", "use_id", "id_dropout")}
    )
    model = blind.model.model_copy(update={"item": item})
    assert blind.model_copy(update={"model": model}) == settings


def test_the_fingerprint_of_a_dataset() -> None:
    data = log()
    events = data.interactions
    others = {
        "an event less": replace(data, interactions=events.head(-1)),
        "another value": replace(data, interactions=events.with_columns(value=pl.lit(2.0))),
        "another title": replace(data, items=data.items.with_columns(title=pl.col("title") + "!")),
        "an item less": replace(data, items=data.items.head(-1)),
        "another name": replace(data, name="other"),
    }
    found = {name: each.fingerprint() for name, each in others.items()} | {"itself": data.fingerprint()}
    assert len(set(found.values())) == len(found)
    elsewhere = replace(data, root=Path("elsewhere"))
    assert elsewhere.fingerprint() == log().fingerprint() == found["itself"]
