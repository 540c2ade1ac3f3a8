"""Queries of a sample shop: what answers them, and what nothing answers."""

from pathlib import Path

import polars as pl
import pytest

from features.sample import SampleOptions, write_sample_shop
from features.sample.queries import (
    picture_queries,
    spoken_queries,
    typed_queries,
    unanswerable_queries,
    write_queries,
    written_queries,
)
from features.sample.shop import catalogue_of

OPTIONS = SampleOptions(seed=5, num_items=30, num_users=12, num_text=3, picture_size=32)
SHOP = catalogue_of(OPTIONS)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    out = tmp_path_factory.mktemp("shop") / "shop"
    write_sample_shop(out, OPTIONS)
    return pl.read_parquet(out / "items.parquet")


def test_the_products_are_those_of_the_written_shop(items: pl.DataFrame) -> None:
    assert SHOP.table.equals(items)


def test_typed_queries_are_answered_by_kind_and_theme() -> None:
    found = typed_queries(SHOP)
    assert found
    for query in found:
        _, kind, theme = query.query_id.split(" ")
        rows = [row for row, name in enumerate(SHOP.item_ids) if name in query.relevant]
        assert query.text == f"a {kind} for {theme}"
        assert rows
        assert all(SHOP.kinds[row] == kind and SHOP.themes[row] == theme for row in rows)
    assert len({query.query_id for query in found}) == len(found)


def test_nothing_answers_the_unanswerable() -> None:
    pairs = set(zip(SHOP.kinds, SHOP.themes, strict=True))
    found = unanswerable_queries(SHOP, count=500)
    assert not any(tuple(query.query_id.split(" ")[1:]) in pairs or query.relevant for query in found)
    themes = {query.query_id.split(" ")[2] for query in found}
    assert themes > set(SHOP.theme_names), "themes of the shop and others"
    assert len(unanswerable_queries(SHOP, count=7)) == 7


def test_recordings_are_in_no_review_and_their_words_have_the_same_answers() -> None:
    spoken = spoken_queries(SHOP, count=20)
    pools = [*SHOP.repertoire.known.values(), *SHOP.repertoire.held_out.values()]
    used = {clip.file for clips in pools for clip in clips}
    assert len(spoken) == 20
    for query, written in zip(spoken, written_queries(spoken), strict=True):
        assert query.recording is not None
        assert query.recording.file not in used
        assert written.text == query.recording.text
        assert written.relevant == query.relevant
        for name in query.relevant:
            assert SHOP.sayings[SHOP.item_ids.index(name)] == query.recording.meaning


def test_pictures_are_new_and_files_are_complete(tmp_path: Path) -> None:
    pictures = picture_queries(SHOP, OPTIONS, count=3)
    assert all(query.relevant for query in pictures)
    queries, qrels = write_queries([*pictures, *unanswerable_queries(SHOP, count=1)], tmp_path / "out")
    table = pl.read_csv(queries)
    assert table["image"].to_list() == ["0.png", "1.png", "2.png", None]
    assert all((tmp_path / "out" / name).is_file() for name in table["image"].drop_nulls())
    lines = qrels.read_text("utf-8").splitlines()
    assert lines[0] == "query-id\tcorpus-id\tscore"
    assert lines[-1].endswith("\tnone\t0")
    assert len(lines) == 2 + sum(len(query.relevant) for query in pictures)
