"""The page in a browser: searched, filtered and looked at, by mouse and by keyboard.

Screenshots go to the folder that RECSYS_ARTIFACTS names, where it is set.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browser_parts import CHROMIUM, artifacts
from bundle_parts import ITEMS, write_histories
from devtools_parts import Browser, browser
from PIL import Image, ImageDraw
from search_bundle import COLORS, TITLES, write_search_bundle

from serving.engine import Engine
from serving.http import app as http
from serving.http.app import create_app

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"), pytest.mark.long]

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


READABLE = {  # colour of texts -> colours of their grounds
    "text": ("ground", "surface", "tint"),
    "soft": ("ground", "surface", "tint"),
    "accent": ("ground", "surface"),
    "on-accent": ("accent",),
    "bad": ("bad-tint",),
}


def draw_picture(path: Path, title: str, size: int = 300) -> None:
    color, kind = title.split()
    image = Image.new("RGB", (size, size), "white")
    points = [(x * size / 100, y * size / 100) for x, y in SHAPES[kind]]
    ImageDraw.Draw(image).polygon(points, fill=COLORS[color])
    image.save(path, quality=90)


@pytest.fixture(scope="module")
def shop_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run beside a folder of pictures, of all items but the last two."""
    root = tmp_path_factory.mktemp("shop")
    write_search_bundle(root / "run" / "bundle")
    write_histories(root / "run" / "histories.parquet", {"ann": ["i00", "i03"]})
    (root / "pictures").mkdir()
    for at, title in enumerate(TITLES[:-2]):
        draw_picture(root / "pictures" / f"{at}.jpg", title)
    return root


@contextmanager
def served(engine: Engine, *media: Path) -> Iterator[str]:
    """The address of the endpoint in a thread."""
    application = create_app(engine, media)
    listening = socket.create_server(("127.0.0.1", 0))
    server = http.uvicorn.Server(http.uvicorn.Config(application, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def shop_address(shop_path: Path) -> Iterator[str]:
    with Engine.open(shop_path / "run" / "bundle", state=Path(":memory:"),
                     histories=shop_path / "run" / "histories.parquet") as engine:  # fmt: skip
        paths = [f"pictures/{at}.jpg" if at < len(ITEMS) - 2 else None for at in range(len(ITEMS))]
        engine.bundle.__dict__["catalogue"] = engine.bundle.catalogue.with_columns(pl.Series("image", paths))
        engine._images = paths
        with served(engine, shop_path) as address:
            yield address


@pytest.fixture(scope="module")
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


def search(page: Browser, text: str) -> None:
    page.eval("document.getElementById('query').focus()")
    page.eval("document.getElementById('query').select()")
    page.write(text)
    page.press("Enter")
    page.wait(f"new URLSearchParams(location.search).get('q') === {text!r} && {READY}")


def test_a_suggestion_is_chosen_by_keyboard(page: Browser) -> None:
    page.press("Tab")
    assert page.eval("document.activeElement.className") == "skip"
    page.press("Tab")
    page.press("Tab")
    assert page.eval("document.activeElement.id") == "query"
    page.write("gre")
    page.wait("document.getElementById('query').ariaExpanded === 'true'")
    page.press("ArrowDown")
    chosen = page.eval("document.querySelector('[role=option][aria-selected=true] span').textContent")
    active = "document.getElementById('query').getAttribute('aria-activedescendant')"
    assert page.eval(f"document.getElementById({active}).ariaSelected") == "true"
    page.press("Enter")
    page.wait(f"{READY} && location.search.includes('q=')")
    assert page.eval("document.getElementById('query').value") == chosen
    assert page.eval("document.getElementById('suggestions').hidden")
    assert "green" in page.eval(FIRST)


def test_escape_closes_the_suggestions(page: Browser) -> None:
    page.click("#query")
    page.write("re")
    page.wait("!document.getElementById('suggestions').hidden")
    page.press("ArrowDown")
    page.press("Escape")
    assert page.eval("document.getElementById('suggestions').hidden")
    assert page.eval("document.activeElement.id + document.activeElement.value") == "queryre"


def test_results_have_pictures_and_say_why(page: Browser) -> None:
    search(page, "red shirt")
    assert page.eval(FIRST) == "red shirt"
    assert page.eval("document.querySelector('.why').textContent").startswith('Has "red", "shirt"')
    page.wait(
        "[...document.querySelectorAll('.card img')].slice(0, 4).every(each => each.naturalWidth === 300)"
    )
    assert page.eval("document.querySelectorAll('.card').length") == 12
    assert page.eval("document.querySelectorAll('.card img').length") == 10
    assert page.eval("document.getElementById('items').tagName") == "UL"
    assert page.eval("document.title") == "“red shirt” · zoo"


def test_a_filter_keeps_its_count(page: Browser) -> None:
    search(page, "shirt")
    count = page.eval(
        "document.querySelector('.facet label:has([data-key=\"kind=odd\"]) .count').textContent"
    )
    page.click('[data-key="kind=odd"]')
    page.wait(f"location.search.includes('f.kind=odd') && {READY}")
    assert page.eval(f"({CARDS}).length") == int(count) == 6
    ids = page.eval("[...document.querySelectorAll('.card')].map(each => each.dataset.item)")
    assert all(int(each[1:]) % 2 for each in ids)
    assert page.wait("document.activeElement.dataset.key") == "kind=odd"
    assert (
        page.eval("document.querySelector('label:has([data-key=\"kind=even\"]) .count').textContent") == "6"
    )
    page.click("#chosen button")
    page.wait(f"!location.search.includes('f.kind') && {READY}")
    assert page.eval(f"({CARDS}).length") == 12


def test_more_like_this_and_the_way_back(page: Browser) -> None:
    search(page, "blue shoe")
    page.click(".card .more")
    page.wait(f"location.search.includes('like=') && {READY}")
    assert page.eval(HEADING) == "More like “blue shoe”"
    assert page.eval(FIRST) == "blue shoe"  # the other one
    assert page.eval("document.activeElement.id") == "results"
    search(page, "green")
    assert page.eval(HEADING) == "“green”, like “blue shoe”"
    page.eval("history.go(-2)")
    page.wait(f"document.getElementById('query').value === 'blue shoe' && {READY}")
    assert page.eval(HEADING) == "“blue shoe”"
    assert page.eval("document.getElementById('parts').hidden")


def test_an_address_is_a_search(page: Browser, shop_address: str) -> None:
    page.open(f"{shop_address}/?q=shoe&like=i00&user=ann&personal=0.4&f.kind=even")
    page.wait(f"({CARDS}).length > 0 && {READY}")
    assert page.eval(HEADING) == "“shoe”, like “red shirt”"
    assert page.eval("document.getElementById('user').value") == "ann"
    assert page.eval("document.getElementById('personal-value').textContent") == "40%"
    assert page.eval("document.querySelector('[data-key=\"kind=even\"]').checked")


def test_recommendations_of_a_user(page: Browser) -> None:
    assert page.eval(HEADING) == "Popular now"
    page.click("#user")
    page.write("ann")
    page.press("Enter")
    page.wait(f"{HEADING} === 'Recommended for ann' && {READY}")
    assert page.eval(f"({CARDS}).length") == 10  # without the two that she has seen
    page.click("#user")
    page.eval("document.getElementById('user').select()")
    page.write("nobody")
    page.press("Enter")
    page.wait("!document.getElementById('notes').hidden")
    assert "not known here" in page.eval("document.getElementById('notes').textContent")


def test_the_slider_changes_the_order(page: Browser, shop_address: str) -> None:
    page.open(f"{shop_address}/?q=shirt&user=ann&personal=0")
    page.wait(f"({CARDS}).length > 0 && {READY}")
    ids = "[...document.querySelectorAll('.card')].map(each => each.dataset.item)"
    impersonal = page.eval(ids)
    move = "const e = document.getElementById('personal'); e.value = 1; e.dispatchEvent(new Event('change'));"
    page.eval(f"(() => {{ {move} }})()")
    page.wait(f"location.search.includes('personal=1') && {READY}")
    personal = page.eval(ids)
    assert sorted(personal) == sorted(impersonal)
    assert personal != impersonal


def test_a_picture_of_a_file(page: Browser, tmp_path: Path) -> None:
    draw_picture(tmp_path / "green.jpg", "green shirt")
    Image.open(tmp_path / "green.jpg").crop((100, 100, 200, 200)).save(tmp_path / "cloth.png")
    page.choose_file("#file", tmp_path / "cloth.png")
    page.wait(f"!document.getElementById('parts').hidden && {READY}")
    assert page.eval(HEADING) == "More like your picture"
    assert page.eval(FIRST).startswith("green")
    assert page.eval("document.querySelector('.part img').naturalWidth") == 100
    search(page, "shoe")
    assert page.eval(FIRST) == "green shoe"
    page.click(".part button")
    page.wait(f"document.getElementById('parts').hidden && {READY}")
    assert page.eval(HEADING) == "“shoe”"


def test_files_that_cannot_be_searched_by_are_explained(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("red", "utf-8")
    page.choose_file("#file", tmp_path / "notes.txt")
    assert "notes.txt” is text/plain" in page.wait("document.getElementById('problem').textContent")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.choose_file("#file", tmp_path / "broken.png")
    page.wait(f"{HEADING} === 'This did not work'")
    assert "image.0" in page.eval("document.getElementById('problem').textContent")
    page.console.clear()  # the refused request is told there, too


def test_the_microphone(page: Browser) -> None:
    page.click("#voice")
    page.wait("document.getElementById('voice').ariaPressed === 'true'")
    page.eval("new Promise(done => setTimeout(done, 1500))")
    page.click("#voice")
    page.wait(f"!document.getElementById('parts').hidden && {READY}")
    assert page.eval("document.querySelector('.part-name').textContent") == "your voice.webm"
    assert "your recording" in page.eval(HEADING)
    page.eval("1")
    page.console.clear()  # the bundle may have nothing to compare a sound with, and says so


def test_where_nothing_records_a_sound_file_is_proposed(page: Browser, shop_address: str) -> None:
    without = "delete window.MediaRecorder;"
    script = page.call("Page.addScriptToEvaluateOnNewDocument", source=without)["identifier"]
    page.open(f"{shop_address}/")
    page.wait(f"{READY} && ({CARDS}).length > 0")
    page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert page.eval("document.getElementById('voice').ariaDisabled") == "true"
    page.click("#voice")
    assert "choose a sound file" in page.wait("document.getElementById('problem').textContent")


def test_a_filter_that_nobody_has_is_an_error_in_words(page: Browser, shop_address: str) -> None:
    page.open(f"{shop_address}/?q=shirt&f.kind=strange")
    page.wait(f"{HEADING} === 'This did not work'")
    assert "no item has this value" in page.eval("document.getElementById('problem').textContent")
    page.click("#chosen button")
    page.wait(f"({CARDS}).length === 12 && {READY}")
    assert page.eval("document.getElementById('problem').hidden")
    page.console.clear()


def test_a_bundle_without_search_recommends_with_reasons(window: Browser, engine: Any) -> None:
    window.console.clear()
    with served(engine) as address:
        window.open(f"{address}/?user=ann")
        window.wait(f"{HEADING} === 'Recommended for ann' && {READY}")
        assert window.eval(FIRST) == "Bee"
        why = window.eval("document.querySelector('.why').textContent")
        assert why == 'Because you chose "Ant"; most telling: its picture'
        assert window.eval("document.getElementById('query').disabled")
        window.click(".card .more")
        window.wait(f"{HEADING} === 'More like “Bee”' && {READY}")
        assert window.eval(f"({CARDS}).length") == 5
    assert window.console == []


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_sticks_out_and_nothing_jumps(page: Browser, shop_address: str, width: int) -> None:
    page.size(width, 900)
    long = "incomprehensibilities" * 5
    for address in ("/", "/?q=red+shirt&like=i03&like=i04&user=ann&f.kind=even", f"/?q={long}&user={long}"):
        page.open(f"{shop_address}{address}")
        page.wait(f"{READY} && document.querySelector('#facets .facet, #end p') !== null")
        page.eval("document.getElementById('panel').classList.add('open')")
        wide = page.eval(
            "[...document.querySelectorAll('body *')].filter(each => !each.closest('.unseen, .parts, svg')"
            " && each.getBoundingClientRect().right > innerWidth + 1)"
            ".map(each => each.outerHTML.slice(0, 120))"
        )
        assert wide == []
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
    page.open(f"{shop_address}/?q=red+shirt")
    page.wait(f"{READY} && document.querySelector('.facet') !== null")
    assert page.layout_shift() < 0.02


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_screenshots(
    page: Browser, shop_address: str, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    page.size(width, height)
    page.scheme(scheme)
    for name, address in (("search", "/?q=red+shirt&user=ann"), ("recommended", "/?user=ann")):
        page.open(f"{shop_address}{address}")
        page.wait(f"({CARDS}).length > 0 && {READY}")
        page.wait("[...document.images].slice(0, 4).every(each => each.complete)")
        page.eval("new Promise(done => setTimeout(done, 300))")
        target = page.photograph(artifacts(tmp_path) / f"page-{name}-{width}-{scheme}.png")
        with Image.open(target) as image:
            assert image.size == (width, height)
            corner = image.convert("L").getpixel((2, height - 2))
            assert isinstance(corner, int)
            assert corner < 60 if scheme == "dark" else corner > 200


def test_colors_can_be_read(page: Browser, shop_address: str) -> None:
    """Texts differ from their ground by a contrast of at least 4.5, as WCAG asks."""
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        style = "getComputedStyle(document.documentElement)"
        for text, grounds in READABLE.items():
            for ground in grounds:
                read = (f"{style}.getPropertyValue('--{name}').trim()" for name in (text, ground))
                assert contrast(*map(page.eval, read)) >= 4.5, (scheme, text, ground)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours by WCAG 2.2, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    digits = color.lstrip("#")
    digits = "".join(each * 2 for each in digits) if len(digits) == 3 else digits
    channels = np.array([int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
