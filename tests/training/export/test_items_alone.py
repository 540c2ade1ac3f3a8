"""Bundles of items alone, from a dataset to an answer, and the search part of an exported bundle."""

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from extraction_parts import tiny_config
from PIL import Image
from walk_parts import recsys

from features.event_log import open_dataset
from features.extraction import extract
from features.queries import ImageClause, TextClause
from recsys.bundle import Bundle
from recsys.config import Config, FeaturesConfig, SearchConfig
from recsys.errors import BundleError
from recsys.search import Document, LexicalIndex, parse_words
from serving.engine import Engine
from serving.search import SearchEngine, SearchRequest
from training.export import index_items

ITEMS = {
    "id": ["s1", "s2", "s3", "s4"],
    "title": ["red shirt", "green shirt", "blue shoe", None],
    "kind": ["shirt", "shirt", "shoe", "shoe"],
    "picture": ["red.png", "green.png", "blue.png", None],
}
COLORS = {"red": (200, 10, 10), "green": (10, 200, 10), "blue": (10, 10, 200)}
TOML = """
name = "catalogue"

[items]
path = "items.parquet"
id = "id"
title = "title"
image = "picture"
categories = ["kind"]
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("catalogue")
    (root / "dataset.toml").write_text(TOML)
    pl.DataFrame(ITEMS).write_parquet(root / "items.parquet")
    for name, color in COLORS.items():
        Image.new("RGB", (9, 9), color).save(root / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config(
        encoders=tiny_config(tmp_path_factory.mktemp("encoders"), transcriber="none"),
        search=SearchConfig(speech=False),
    )


@pytest.fixture(scope="module")
def bundle(catalogue: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("indexed")
    dataset = open_dataset(catalogue, config.data, cache_dir=root / "cache")
    vectors = extract(dataset, config.encoders, cache_dir=root / "cache")
    return index_items(root / "bundle", dataset, vectors, config)


def found(bundle: Bundle, *clauses: TextClause | ImageClause) -> list[str]:
    with Engine.open(bundle.path) as engine:
        search = SearchEngine.of(engine)
        return [engine.item_id(hit.item) for hit in search.search(SearchRequest(clauses=clauses)).hits]


def test_items_are_found_by_words_and_by_pictures(bundle: Bundle, catalogue: Path) -> None:
    assert found(bundle, TextClause(name="q", text="green"))[0] == "s2"
    assert found(bundle, ImageClause(name="q", medium=catalogue / "blue.png"))[0] == "s3"
    assert set(found(bundle, TextClause(name="q", text="shoe"))[:2]) == {"s3", "s4"}  # s4 by its category


def test_what_is_in_the_bundle(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.recommender is None
    assert manifest.search is not None
    assert manifest.encoders == {"text": "encoders/text", "image": "encoders/image"}
    assert "search/vectors/title.npy" in manifest.files
    assert "user_tower.onnx" not in manifest.files
    assert bundle.catalogue["image"].to_list()[3] is None
    assert not bundle.popularity.any()


def test_imputed_pictures_are_searched_and_marked(catalogue: Path, config: Config, tmp_path: Path) -> None:
    copies = 8  # of every item but the last, so that there are enough to learn from
    root = tmp_path / "many"
    shutil.copytree(catalogue, root)
    items = pl.DataFrame(ITEMS)
    many = [items.head(3).with_columns(pl.col("id") + f"-{at}") for at in range(copies)]
    without = items.head(1).with_columns(pl.lit(None, pl.String).alias("picture"))
    pl.concat([without, *many]).write_parquet(root / "items.parquet")
    dataset = open_dataset(root, config.data, cache_dir=tmp_path / "cache")
    vectors = extract(dataset, config.encoders, cache_dir=tmp_path / "cache")
    settings = config.model_copy(update={"features": FeaturesConfig(imputation="ridge")})
    bundle = index_items(tmp_path / "bundle", dataset, vectors, settings)
    assert bundle.catalogue["imputed"].to_list() == [["image"]] + [[]] * (3 * copies)
    with Engine.open(bundle.path) as engine:
        search = SearchEngine.of(engine)
        red = ImageClause(name="q", medium=root / "red.png")
        hits = search.search(SearchRequest(clauses=(red,), k=copies + 1, min_relevance=0.0)).hits
        by_id = {engine.item_id(hit.item): hit for hit in hits}
    assert {name.split("-")[0] for name in by_id} == {"s1"}
    assert by_id["s1"].explanation.leg != "image"
    assert by_id["s1-0"].explanation.leg == "image"


def test_the_lexical_index_is_built_once_and_has_the_sentences_that_were_queries(
    catalogue: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are chosen on sentences that are taken out of the descriptions."""
    shutil.copytree(catalogue, tmp_path / "described")
    texts = [f"Soft for a {word} evening. Made of {word} wool." for word in ("long", "calm", "wild", "dark")]
    pl.DataFrame({**ITEMS, "text": texts}).write_parquet(tmp_path / "described" / "items.parquet")
    (tmp_path / "described" / "dataset.toml").write_text(TOML + 'text = ["text"]\n')
    builds: list[int] = []
    build = LexicalIndex.build.__func__  # type: ignore[attr-defined]

    def counted(cls: type[LexicalIndex], documents: list[Document], *rest: Any) -> LexicalIndex:
        builds.append(len(documents))
        return cast(LexicalIndex, build(cls, documents, *rest))

    monkeypatch.setattr(LexicalIndex, "build", classmethod(counted))
    config = config.model_copy(update={"search": SearchConfig(speech=False, max_queries=4)})
    dataset = open_dataset(tmp_path / "described", config.data, cache_dir=tmp_path / "cache")
    vectors = extract(dataset, config.encoders, cache_dir=tmp_path / "cache")
    made = index_items(tmp_path / "bundle", dataset, vectors, config)
    assert builds == [4]
    words = LexicalIndex.open(made.path / "search" / "lexical")
    for word in ("long", "calm", "wild", "dark"):
        assert words.coverage(parse_words(f"{word} evening wool"), np.arange(2, 6)).max() == 1


def test_it_recommends_nothing_and_says_so(bundle: Bundle) -> None:
    with Engine.open(bundle.path) as engine, pytest.raises(BundleError, match="recommends nothing"):
        engine.recommend([None], 3)
    assert not (bundle.path.parent / "state.sqlite").exists()


def test_the_command(catalogue: Path, config: Config, tmp_path: Path) -> None:
    names = {kind: getattr(config.encoders, kind) for kind in ("text", "image", "audio")}
    settings = [f"--set=encoders.{kind}={name}" for kind, name in names.items()]
    made = recsys(
        "index", catalogue, "--out", tmp_path / "b", "--cache", tmp_path / "cache", *settings,
        "--set=encoders.transcriber=none",
    )  # fmt: skip
    assert made.code == 0, made
    assert "Bundle" in made.out
    answer = recsys("search", tmp_path / "b", "red", "-k", 1)
    assert "s1" in answer.out
    for command in ("recommend", "show"):
        options = ("--out", tmp_path / "x.parquet") if command == "recommend" else ()
        assert "recommends nothing" in recsys(command, tmp_path / "b", *options).err
