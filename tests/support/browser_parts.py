"""Chromium without a window: a page drawn, measured and photographed."""

import html
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

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


def photograph(text: str, folder: Path, target: Path, size: tuple[int, int], *, dark: bool = False) -> None:
    """Write a picture of the page `text` in a window of `size` to `target`."""
    width, height = size
    address = framed(text, folder, width, height)
    options = [DARK] if dark else []
    browse(folder, *options, f"--window-size={width},{height}", f"--screenshot={target}", address)


def artifacts(otherwise: Path) -> Path:
    """Where screenshots go: the folder that RECSYS_ARTIFACTS names, where it is set."""
    folder = Path(os.environ.get("RECSYS_ARTIFACTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
