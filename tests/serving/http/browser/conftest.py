"""A browser, and the page of a shop of twelve shirts and shoes."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from bundle_parts import ITEMS, write_histories
from devtools_parts import Browser, browser
from page_in_browser import CARDS, MICROPHONE, READY, draw_picture, served
from search_bundle import TITLES, write_search_bundle

from recsys.search import Calibration, SearchSettings
from serving.engine import Engine

# An item is relevant by the share of the query's words that it has; one with none of them is not shown.
SETTINGS = SearchSettings(
    calibration={"text": Calibration(intercept=-1.5, weights={"coverage": 4.0})}, min_relevance=0.3
)


@pytest.fixture(scope="session")
def shop_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run beside a folder of pictures, of all items but the last two."""
    root = tmp_path_factory.mktemp("shop")
    write_search_bundle(root / "run" / "bundle")
    write_histories(root / "run" / "histories.parquet", {"ann": ["i00", "i03"]})
    (root / "pictures").mkdir()
    for at, title in enumerate(TITLES[:-2]):
        draw_picture(root / "pictures" / f"{at}.jpg", title)
    return root


@pytest.fixture(scope="session")
def shop_address(shop_path: Path) -> Iterator[str]:
    with Engine.open(shop_path / "run" / "bundle", state=Path(":memory:"),
                     histories=shop_path / "run" / "histories.parquet") as engine:  # fmt: skip
        paths = [f"pictures/{at}.jpg" if at < len(ITEMS) - 2 else None for at in range(len(ITEMS))]
        engine.bundle.__dict__["catalogue"] = engine.bundle.catalogue.with_columns(pl.Series("image", paths))
        engine._images = paths
        with served(engine, shop_path, settings=SETTINGS) as address:
            yield address


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), *MICROPHONE) as window:
        yield window


@pytest.fixture
def page(window: Browser, shop_address: str) -> Iterator[Browser]:
    """The page just opened; at the end nothing has failed and no other host was asked."""
    window.console.clear()
    window.addresses.clear()
    window.size(1280, 900)
    window.scheme("light")
    window.open(f"{shop_address}/")
    window.wait(f"{READY} && ({CARDS}).length > 0")
    yield window
    window.eval("1")  # the last events are read
    assert window.console == []
    own = (shop_address, "blob:", "data:")
    assert [each for each in window.addresses if not each.startswith(own)] == []
