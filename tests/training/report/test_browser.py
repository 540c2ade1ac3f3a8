"""The page in a browser: charts and headings are drawn, and a narrow window cuts nothing off.

Screenshots go to the folder that RECSYS_ARTIFACTS names, where it is set.
"""

from pathlib import Path

import pytest
from browser_parts import CHROMIUM, artifacts, browse, measured, photograph
from page_parts import Page
from PIL import Image
from walk_parts import Walk

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def text(walk: Walk) -> str:
    return (walk.run / "report.html").read_text("utf-8")


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out_and_everything_is_drawn(text: str, tmp_path: Path, width: int) -> None:
    found, page = measured(text, tmp_path, width), Page.of(text)
    assert found["wide"] == []
    assert found["width"] == width
    assert found["charts"] == len(page.all("svg"))
    assert found["pictures"] == len(page.all("img")) > 0


def test_what_sticks_out_is_found(text: str, tmp_path: Path) -> None:
    planted = text.replace("<main>", '<main><p style="width: 500px">wide</p>')
    found = measured(planted, tmp_path, 400)
    assert [element[:9] for element in found["wide"]] == ["<p style="]
    assert found["width"] > 400


def test_the_browser_reads_the_headings_that_were_written(walk: Walk, text: str, tmp_path: Path) -> None:
    read = Page.of(browse(tmp_path, "--dump-dom", (walk.run / "report.html").as_uri()))
    written = Page.of(text)
    for tag in ("h1", "h2", "h3"):
        assert read.text_in(tag) == written.text_in(tag) != []
    assert [name for name, _ in read.elements].count("data") == len(written.all("data"))


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1400, 6000), ("narrow", 400, 9000)])
def test_screenshots(text: str, tmp_path: Path, scheme: str, name: str, width: int, height: int) -> None:
    target = artifacts(tmp_path) / f"report-{name}-{scheme}.png"
    photograph(text, tmp_path, target, (width, height), dark=scheme == "dark")
    with Image.open(target) as image:
        assert image.size == (width, height)
        corner = image.convert("L").getpixel((2, 2))
        assert isinstance(corner, int)
        assert corner < 60 if scheme == "dark" else corner > 200
