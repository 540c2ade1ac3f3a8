"""The page changes the shop: a click adds an event, an item is sent and found, a key is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_parts import CHROMIUM
from devtools_parts import Browser
from live_bundle import trained_items, write_live_bundle
from page_in_browser import CARDS, FIRST, HEADING, READY, draw_picture, served

from serving.engine import Engine

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"), pytest.mark.long]
STATE = "document.getElementById('change-state').textContent"


@pytest.fixture
def live(window: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The page of a shop whose catalogue changes."""
    bundle = write_live_bundle(tmp_path / "bundle", trained_items())
    window.console.clear()
    window.size(1280, 900)
    with Engine.open(bundle.path, state=":memory:") as engine, served(engine) as address:
        window.open(f"{address}/?user=eve")
        window.wait(f"{READY} && ({CARDS}).length > 0")
        yield window
        window.eval("1")
        assert window.console == []


def test_a_click_adds_an_event_and_the_list_changes(live: Browser) -> None:
    before, first = live.eval(CARDS), live.eval("document.querySelector('.card').dataset.item")
    assert live.eval(HEADING) == "Popular now"
    live.click(".card .choose")
    live.wait(f"{STATE}.includes('eve chose') && {READY} && {HEADING} === 'Recommended for eve'")
    ids = live.eval("[...document.querySelectorAll('.card')].map(each => each.dataset.item)")
    assert first not in ids
    assert live.eval(CARDS) != before
    assert live.eval("document.activeElement.id") == "results"


def test_an_item_is_sent_with_its_picture_and_found(live: Browser, tmp_path: Path) -> None:
    draw_picture(tmp_path / "red.jpg", "red shirt")
    live.click("#add summary")
    live.wait("document.getElementById('add-group') !== null")
    for name, text in (("add-title", "red blue shoe"), ("add-group", "a, c"), ("add-id", "mine")):
        live.click(f"#{name}")
        live.write(text)
    live.choose_file("#add-picture", tmp_path / "red.jpg")
    live.click("#add-form button")
    live.wait(f"{STATE}.includes('is in the catalogue after') && {READY}")
    assert "read: title, group, image" in live.eval(STATE)
    live.wait(f"{FIRST} === 'red blue shoe'")
    live.wait("document.querySelector('[data-item=mine] img')?.naturalWidth === 300")
    live.click("#home")
    live.wait(f"{READY} && document.querySelector('[data-item=mine]') !== null")


def test_a_key_is_kept_for_the_window_and_sent(live: Browser) -> None:
    live.click("#access summary")
    live.click("#key")
    live.write("secret")
    live.press("Tab")
    live.wait(f"{READY} && sessionStorage.getItem('recsys-key') === 'secret'")
    sent = (
        "(async () => { const {fetch} = window; let kept; window.fetch = (path, options) => "
        "{ kept = options.headers.Authorization; return fetch(path, options); }; "
        "const api = await import('/web/api.js'); await api.about(''); "
        "window.fetch = fetch; return kept; })()"
    )
    assert live.eval(sent) == "Bearer secret"
