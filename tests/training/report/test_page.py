"""The page: values equal metrics.json, titles are escaped, nothing is fetched, no folder is named."""

import json
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from fitting_parts import config, log, media
from page_parts import Page
from walk_parts import Walk, recsys, refused

from features.dataset.rejected import write_rejected
from features.dataset.tables import Dataset
from recsys.columns import Columns
from recsys.config import dump_config, load_config
from recsys.metrics.beyond_accuracy import BEYOND
from recsys.metrics.ranking import METRICS
from training.knockouts.measure import Knockouts
from training.knockouts.words import contributions
from training.pipeline import Run
from training.report.write import SECTIONS

MAX_BYTES = 3_000_000
HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def page(walk: Walk) -> Page:
    return Page.of((walk.run / "report.html").read_text("utf-8"))


class _Given(Run):
    """A run with given data instead of a dataset on disk."""

    data: Dataset = log()

    def hand_in(self, data: Dataset) -> None:
        self.data = data
        vars(self).update(dataset=data, vectors=media(data))
        write_rejected((), self.directory.rejected)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Dataset], Page]:
    """The report of a run without pictures and without a ranker, evaluated once, on changed titles."""
    out = tmp_path_factory.mktemp("small") / "run"
    settings = config(
        model={"ranker": {"enabled": False}},
        evaluate={"baselines": ["popularity"], "k": [10]},
        search={"enabled": False},
    )

    def open_() -> _Given:
        return _Given.create(out, out.parent / "shop", settings, cache_dir=out.parent / "cache")  # type: ignore[return-value]

    run = open_()
    run.hand_in(log())
    run.evaluate()

    def report(data: Dataset) -> Page:
        again = open_()
        again.hand_in(data)
        return Page.of(again.report().read_text("utf-8"))

    return report


def test_every_value_is_that_of_the_evaluation(walk: Walk, page: Page) -> None:
    metrics = json.loads((walk.run / "metrics.json").read_text("utf-8"))
    expected = {
        (view, model, metric): [estimate["value"], estimate["low"], estimate["high"]]
        for view, result in metrics["views"].items()
        for model, by_metric in result["models"].items()
        for metric, estimate in by_metric.items()
        if metric.partition("@")[0] in METRICS or (view == "warm" and metric.endswith("@10"))
    }
    assert {f"{name}@10" for name in (*METRICS, *BEYOND)} <= {metric for _, _, metric in expected}
    assert len(expected) > 30
    assert page.figures == expected


def test_the_main_result_comes_first(walk: Walk, page: Page) -> None:
    metrics = json.loads((walk.run / "metrics.json").read_text("utf-8"))
    main = metrics["views"]["warm"]["models"]["recsys"]["ndcg@10"]
    header = " ".join(page.text_in("header"))
    assert header.startswith("Report of a recsys run, trained ")
    assert f"NDCG@10 is {main['value']:.4f} (95% interval {main['low']:.4f} to {main['high']:.4f})" in header
    assert "popularity" in header


def test_it_is_well_formed_and_in_order(page: Page) -> None:
    assert page.open_ == []
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for attributes in page.all("section") if "id" in attributes]
    assert ids == list(SECTIONS)
    assert {attributes["href"] for attributes in page.all("a")} == {f"#{name}" for name in SECTIONS}
    all_ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(all_ids)) == len(all_ids)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_it_can_be_read_without_seeing_it(page: Page) -> None:
    assert len(page.all("table")) == len(page.all("caption"))
    assert len(page.all("svg")) == 14, (
        "three views, three of knock-outs, two curves, one of cold items, three of the data, two of slices"
    )
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in page.all("svg"))
    assert page.all("img")
    assert all(image["alt"].startswith("Picture of ") for image in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"


def test_every_modality_has_its_sentence_and_its_row(walk: Walk, page: Page) -> None:
    knockouts = Knockouts.load(walk.run / "knockouts.json")
    assert knockouts is not None
    for each in contributions(knockouts):
        assert each.text in page.text
    assert "drawn at random" not in page.text.partition("Training")[0], "all of so few users are evaluated"


def test_without_knock_outs_the_page_says_how_to_get_them(small: Callable[[Dataset], Page]) -> None:
    assert "recsys knockouts RUN" in small(log()).text


def test_it_needs_nothing_else(walk: Walk, page: Page) -> None:
    text = (walk.run / "report.html").read_text("utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {t for t, _ in page.elements}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    style = " ".join(page.text_in("style"))
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in text


def test_of_the_machine_it_names_the_make_alone(walk: Walk) -> None:
    text = (walk.run / "report.html").read_text("utf-8")
    for secret in (walk.root, walk.root.name, Path.home(), Path.cwd()):
        assert str(secret) not in text
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)


def test_a_finished_run_is_reported_without_training(walk: Walk, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(walk.run, run, ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    settings = load_config(run / "config.toml", overrides=["track.enabled=false"])
    dump_config(settings, run / "config.toml")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answer = recsys("report", run, "--dataset", walk.shop)
    assert answer.code == 0, answer.err
    assert str(run / "report.html") in answer.out
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path.name for path in set(after) - set(before)} == {"report.html"}
    assert {path.name for path, content in before.items() if after[path] != content} <= {
        "timings.json",
        "dataset.json",
    }


def test_without_an_evaluation_the_step_is_named(walk: Walk, tmp_path: Path) -> None:
    for name in ("config.toml", "dataset.json"):
        (tmp_path / name).write_bytes((walk.run / name).read_bytes())
    assert f"has no metrics.json; an evaluation writes it: recsys evaluate {tmp_path}" in refused(
        "report", tmp_path, "--dataset", walk.shop
    )


def test_results_without_the_model_name_the_command(walk: Walk, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(walk.run, run, ignore=shutil.ignore_patterns("checkpoints", "bundle"))
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    (run / "metrics.json").write_text(json.dumps(metrics | {"main_model": None}), "utf-8")
    message = refused("report", run, "--dataset", walk.shop)
    assert f"has no results of 'recsys'; write it again: recsys evaluate {run}" in message


def test_titles_are_escaped(small: Callable[[Dataset], Page]) -> None:
    data = log()
    hostile = data.items.with_columns(pl.lit(HOSTILE).alias(Columns.TITLE))
    page = small(replace(data, items=hostile, name=HOSTILE))
    assert page.open_ == []
    assert not page.all("script")
    assert not page.all("img")
    assert HOSTILE in page.text_in("h1"), "shown, not run"
    assert len(page.all("style")) == 1


def test_without_pictures_clock_or_ranker(small: Callable[[Dataset], Page]) -> None:
    page = small(replace(log(), has_clock=False))
    assert not page.all("img")
    assert "no picture" not in page.text
    assert "no clock times" in page.text
    assert "no ranker" in page.text
    assert "None: every row and every medium could be used." in page.text
    assert "no bundle had been exported" in page.text
    assert "no test user has such a held-out item" in page.text
    assert [attributes["id"] for attributes in page.all("section") if "id" in attributes] == list(SECTIONS)


def test_thousands_of_items_and_long_titles_stay_small(small: Callable[[Dataset], Page]) -> None:
    data = log()
    more = pl.DataFrame({Columns.ITEM: [f"more {at}" for at in range(5000)]})
    items = pl.concat([data.items, more], how="diagonal").with_columns(
        pl.lit("long " * 2000).alias(Columns.TITLE)
    )
    page = small(replace(data, items=items))
    assert "5,025" in page.text
    assert len(page.text) < 60_000
