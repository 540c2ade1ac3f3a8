"""Run directories: what belongs to one, what is refused, and what is kept of earlier steps."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from fitting_parts import config, log

from recsys.config import Config, load_config
from recsys.errors import ConfigError
from training.pipeline import Run, blind


def create(out: Path, dataset: Path, settings: Config | None = None) -> Run:
    return Run.create(out, dataset, settings or config(), cache_dir=out.parent / "cache")


class TestCreate:
    def test_writes_down_what_was_asked_for(self, tmp_path: Path) -> None:
        settings = config(train={"epochs": 7})
        create(tmp_path / "a" / "run", tmp_path / "shop", settings)
        opened = Run.open(tmp_path / "a" / "run")
        assert opened.config == settings == load_config(tmp_path / "a" / "run" / "config.toml")
        assert opened.dataset_path == tmp_path / "shop"
        assert opened.cache_dir == tmp_path / "a" / "cache"

    def test_the_same_again_goes_on(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        (tmp_path / "run" / "metrics.json").write_text("{}")
        create(tmp_path / "run", tmp_path / "shop")
        assert (tmp_path / "run" / "metrics.json").exists()

    def test_another_way_to_the_same_dataset_is_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        before = (tmp_path / "run" / "dataset.json").read_text()
        monkeypatch.chdir(tmp_path)
        create(tmp_path / "run", Path("shop"))
        assert (tmp_path / "run" / "dataset.json").read_text() == before

    def test_another_configuration_is_refused(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        with pytest.raises(ConfigError, match=r"without train.seed = 1;") as caught:
            create(tmp_path / "run", tmp_path / "shop", config(train={"seed": 1}))
        assert str(tmp_path / "run") in str(caught.value)
        assert load_config(tmp_path / "run" / "config.toml") == config(), "what stood there still stands"

    def test_another_dataset_is_refused(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        with pytest.raises(ConfigError, match=r"shop that was asked for otherwise, without dataset .*other;"):
            create(tmp_path / "run", tmp_path / "other")

    def test_a_folder_of_other_things_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(ConfigError, match="not empty and holds no run"):
            create(tmp_path, tmp_path / "shop")
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_an_empty_folder_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        create(tmp_path / "run", tmp_path / "shop")
        assert (tmp_path / "run" / "dataset.json").exists()


def test_opening_what_is_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recsys train DATASET --out"):
        Run.open(tmp_path / "nothing")


def test_time_of_work_that_was_done_before_is_kept(tmp_path: Path) -> None:
    run = create(tmp_path / "run", tmp_path / "shop")
    (tmp_path / "run" / "timings.json").write_text(json.dumps({"train main": 600.0}))
    run = Run.open(tmp_path / "run")
    with run._timed("train main"):
        pass
    with run._timed("export"):
        pass
    found = json.loads((tmp_path / "run" / "timings.json").read_text())
    assert found["train main"] == 600.0
    assert 0 <= found["export"] < 60
    assert run.seconds == found


def test_the_blind_twin_is_the_same_model_without_content() -> None:
    settings = config()
    twin = blind(settings)
    assert not twin.model.item.use_content
    assert twin.model.item.use_id
    assert twin.model.item.id_dropout == 0, "there is nothing else to lean on"
    item = twin.model.item.model_copy(
        update={name: getattr(settings.model.item, name) for name in ("use_content", "use_id", "id_dropout")}
    )
    model = twin.model.model_copy(update={"item": item})
    assert twin.model_copy(update={"model": model}) == settings


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
