"""The page in a browser: charts and headings are drawn, and a narrow window cuts nothing off.

Screenshots go to the folder that RECSYS_ARTIFACTS names, where it is set.
"""

import html
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from page_parts import Page
from PIL import Image
from walk_parts import Walk

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
SECONDS = 90
# The page in a frame of its own width (a window has a least one), and what sticks out of it at the right.
FRAME = """<body style="margin:0"><iframe id="f" style="width:{width}px;height:{height}px;border:0"></iframe>
<pre id="found"></pre><script>
const frame = document.getElementById("f");
frame.onload = () => {{
  const page = frame.contentDocument;
  const wide = [...page.body.querySelectorAll("*")].filter(each =>
    !each.closest(".scroll, pre, .hidden, svg") && each.getBoundingClientRect().right > {width} + 1);
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    wide: wide.map(each => each.outerHTML.slice(0, 200)),
    charts: [...page.querySelectorAll("svg")].filter(each => each.getBoundingClientRect().height > 50).length,
    pictures: [...page.images].filter(each => each.naturalWidth > 0).length,
  }});
}};
frame.srcdoc = {page};
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(profile: Path, *arguments: str) -> str:
    command = [CHROMIUM or "", *OPTIONS, f"--user-data-dir={profile / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def framed(text: str, folder: Path, width: int, height: int = 2000) -> str:
    """Address of a page that holds the page `text` in a frame of that size."""
    # "</" would end the script that holds the page as a string.
    page = json.dumps(text.replace('loading="lazy"', "")).replace("</", "<\\/")
    path = folder / "frame.html"
    path.write_text(FRAME.format(width=width, height=height, page=page), "utf-8")
    return path.as_uri()


def measured(text: str, folder: Path, width: int) -> dict[str, Any]:
    """What the script of `FRAME` found."""
    dom = browse(folder, "--window-size=1500,2200", "--dump-dom", framed(text, folder, width))
    _, _, tail = dom.partition('<pre id="found">')
    found: dict[str, Any] = json.loads(html.unescape(tail.partition("</pre>")[0]))
    return found


@pytest.fixture
def text(walk: Walk) -> str:
    return (walk.run / "report.html").read_text("utf-8")


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("RECSYS_ARTIFACTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1400, 6000), ("narrow", 400, 9000)])
def test_screenshots(
    text: str, tmp_path: Path, screenshots: Path, scheme: str, name: str, width: int, height: int
) -> None:
    target = screenshots / f"report-{name}-{scheme}.png"
    address = framed(text, tmp_path, width, height)
    options = [DARK] if scheme == "dark" else []
    browse(tmp_path, *options, f"--window-size={width},{height}", f"--screenshot={target}", address)
    with Image.open(target) as image:
        assert image.size == (width, height)
        corner = image.convert("L").getpixel((2, 2))
        assert isinstance(corner, int)
        assert corner < 60 if scheme == "dark" else corner > 200
