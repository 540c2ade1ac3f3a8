"""Search in two languages: a catalogue with the multilingual encoder, queries in Chinese and in English."""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest
from walk_parts import recsys

from features.queries import TextClause
from serving.engine import Engine
from serving.search import SearchEngine, SearchRequest

pytestmark = pytest.mark.long

LANGUAGES: Final = ("en", "zh")
# 60 products and films, each with a query for it, in English and in Chinese.
TRANSLATED: Final = pl.read_csv(Path(__file__).with_name("translated_catalogue.csv"))
TOML: Final = 'name = "c"\n[items]\npath = "items.parquet"\nid = "id"\ntitle = "title"\ntext = ["text"]\n'


@pytest.fixture(scope="module", params=LANGUAGES)
def indexed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A language, and the bundle of the catalogue in that language."""
    language, root = request.param, tmp_path_factory.mktemp("translated")
    (root / "dataset.toml").write_text(TOML)
    texts = {name: f"{name}_{language}" for name in ("title", "text")}
    TRANSLATED.select("id", **{name: pl.col(column) for name, column in texts.items()}).write_parquet(
        root / "items.parquet"
    )
    made = recsys(
        "index", root, "--out", root / "bundle", "--cache", root / "cache",
        "--set=encoders.text=use-multilingual", "--set=encoders.transcriber=none",
    )  # fmt: skip
    assert made.code == 0, made
    return language, root / "bundle"


def found_share(bundle: Path, language: str, min_relevance: float | None) -> float:
    """Recall@10 of the one item that each query of `language` is for."""
    found = []
    with Engine.open(bundle) as engine:
        search = SearchEngine.of(engine)
        for item, text in TRANSLATED.select("id", f"query_{language}").iter_rows():
            request = SearchRequest(
                clauses=(TextClause(name="q", text=text),), k=10, min_relevance=min_relevance
            )
            hits = search.search(request).hits
            found.append(item in [engine.item_id(hit.item) for hit in hits])
    return float(np.mean(found))


def test_queries_in_another_language_find_items(indexed: tuple[str, Path]) -> None:
    language, bundle = indexed
    (other,) = set(LANGUAGES) - {language}
    own = found_share(bundle, language, 0.0)
    assert own >= 0.9
    assert found_share(bundle, other, 0.0) >= 0.7 * own
    # Lists end where relevance is low. It is not low because no word of a query is in the catalogue.
    assert found_share(bundle, other, None) >= 0.7 * found_share(bundle, language, None)
