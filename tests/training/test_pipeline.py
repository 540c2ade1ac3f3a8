"""The steps of a run: the id-only model, the fingerprint of a dataset, and runs whose dataset is not read."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from fitting_parts import config, log

from recsys.errors import DataError
from training.evaluation.system import id_only
from training.pipeline import Run

TABLES = {
    "dataset.toml": """
        name = "shop"
        items = {path = "items.csv", id = "item", title = "title"}
        interactions = {path = "events.csv", user = "user", item = "item", timestamp = "time", time = "order"}
        """,
    "items.csv": "item,title\na,A\n",
    "events.csv": "user,item,time\nu,a,1\n",
}


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
    assert not blind.search.enabled, "nothing is searched by it, and its ranker is not cross-fitted"
    assert blind.model_copy(update={"model": model, "search": settings.search}) == settings


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


def write_tables(folder: Path, **changes: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in (TABLES | {f"{name}.csv": text for name, text in changes.items()}).items():
        (folder / name).write_text(text)
    return folder


def made(out: Path, shop: Path) -> Run:
    return Run.create(out, shop, config(), cache_dir=out.parent / "cache")


@pytest.mark.parametrize("events", ["user,item,time\n", "user,item,time\nu,a,never\n", "user,thing\nu,a\n"])
def test_a_dataset_that_cannot_be_read_leaves_no_run(tmp_path: Path, events: str) -> None:
    shop = write_tables(tmp_path / "shop", events=events)
    run = made(tmp_path / "run", shop)
    with pytest.raises(DataError, match=r"events\.csv"):
        _ = run.dataset
    assert not (tmp_path / "run").exists()
    (tmp_path / "own").mkdir()
    with pytest.raises(DataError):
        _ = made(tmp_path / "own", shop).dataset
    assert list((tmp_path / "own").iterdir()) == [], "a folder of the user stays"
    assert made(tmp_path / "run", write_tables(shop)).dataset.name


def test_a_folder_without_a_dataset_leaves_no_run(tmp_path: Path) -> None:
    run = made(tmp_path / "run", tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no dataset\.toml"):
        _ = run.dataset
    assert not (tmp_path / "run").exists()


def test_a_run_stays_where_its_dataset_can_no_longer_be_read(tmp_path: Path) -> None:
    shop = write_tables(tmp_path / "shop")
    assert made(tmp_path / "run", shop).dataset.name
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    write_tables(shop, events="user,item,time\n")
    with pytest.raises(DataError):
        _ = made(tmp_path / "run", shop).dataset
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
