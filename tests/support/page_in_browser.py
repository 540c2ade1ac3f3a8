"""The page as a browser sees it: what is looked at, and an endpoint in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from devtools_parts import Browser
from PIL import Image, ImageDraw
from search_bundle import COLORS

from recsys.search import SearchSettings
from serving.engine import Engine
from serving.http import app as http
from serving.http.app import create_app
from serving.items import LiveItems
from serving.search import SearchEngine
from serving.swap import Holder, Served

# A microphone that beeps, and a person who allows it.
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
READY = "document.querySelector('main').ariaBusy === 'false'"
CARDS = "[...document.querySelectorAll('.card:not(.waiting) h2')].map(each => each.textContent)"
HEADING = "document.querySelector('h1').textContent"
FIRST = f"({CARDS})[0]"
SHAPES = {  # of a shop's pictures, in parts of 100
    "shirt": ((30, 20), (42, 26), (58, 26), (70, 20), (92, 38), (80, 50), (72, 44), (72, 82), (28, 82),
              (28, 44), (20, 50), (8, 38)),
    "shoe": ((12, 34), (34, 34), (48, 52), (82, 60), (92, 72), (92, 78), (10, 78)),
}  # fmt: skip


def draw_picture(path: Path, title: str, size: int = 300) -> None:
    color, kind = title.split()
    image = Image.new("RGB", (size, size), "white")
    points = [(x * size / 100, y * size / 100) for x, y in SHAPES[kind]]
    ImageDraw.Draw(image).polygon(points, fill=COLORS[color])
    image.save(path, quality=90)


class EverySearch(SearchEngine):
    """A search that offers the microphone, though its bundle has nothing that sounds."""

    query_kinds = ("text", "image", "audio", "video")  # type: ignore[assignment]


@contextmanager
def served(engine: Engine, *media: Path, settings: SearchSettings | None = None) -> Iterator[str]:
    """The address of the endpoint in a thread, with these settings of search."""
    of_engine = Served.of(engine, media=media)
    if settings is not None and of_engine.search is not None:
        searcher = of_engine.search.searcher.with_settings(settings)
        search = EverySearch(engine, searcher, of_engine.search.encoder)
        of_engine = replace(of_engine, search=search, live=LiveItems.of(engine, search))
    application = create_app(Holder(of_engine))
    listening = socket.create_server(("127.0.0.1", 0))
    server = http.uvicorn.Server(http.uvicorn.Config(application, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def search(page: Browser, text: str) -> None:
    page.eval("document.getElementById('query').focus()")
    page.eval("document.getElementById('query').select()")
    page.write(text)
    page.press("Enter")
    page.wait(f"new URLSearchParams(location.search).get('q') === {text!r} && {READY}")
