"""The page in a browser: searched and filtered, by mouse and by keyboard."""

from pathlib import Path
from typing import Any

import pytest
from browser_parts import CHROMIUM
from devtools_parts import Browser
from page_in_browser import CARDS, FIRST, HEADING, READY, draw_picture, search, served
from PIL import Image

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"), pytest.mark.long]


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
    # Two shirts are red; six more items have one of the words.
    assert page.eval("document.querySelectorAll('.card').length") == 8
    assert page.eval("document.querySelector('.relevance').textContent") == "92% relevant"
    assert page.eval("document.getElementById('items').tagName") == "UL"
    assert page.eval("document.title") == "“red shirt” · zoo"


def test_a_filter_keeps_its_count(page: Browser) -> None:
    search(page, "shirt")
    count = page.eval(
        "document.querySelector('.facet label:has([data-key=\"kind=odd\"]) .count').textContent"
    )
    page.click('[data-key="kind=odd"]')
    page.wait(f"location.search.includes('f.kind=odd') && {READY}")
    assert page.eval(f"({CARDS}).length") == int(count) == 2
    ids = page.eval("[...document.querySelectorAll('.card')].map(each => each.dataset.item)")
    assert all(int(each[1:]) % 2 for each in ids)
    assert page.wait("document.activeElement.dataset.key") == "kind=odd"
    assert (
        page.eval("document.querySelector('label:has([data-key=\"kind=even\"]) .count').textContent") == "4"
    )
    page.click("#chosen button")
    page.wait(f"!location.search.includes('f.kind') && {READY}")
    assert page.eval(f"({CARDS}).length") == 6


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
    # The sound was read, but no item of this bundle can be compared with it.
    assert "sound clause finds nothing here" in page.eval("document.getElementById('problem').textContent")
    page.eval("1")
    page.console.clear()


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
    page.wait(f"({CARDS}).length === 6 && {READY}")
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


def test_where_nothing_fits_the_list_is_empty_until_asked(page: Browser) -> None:
    search(page, "umbrella")
    assert page.eval(HEADING) == "Nothing fits “umbrella”"
    assert page.eval("document.querySelectorAll('.card').length") == 0
    page.click("#end button")
    page.wait(f"location.search.includes('all=1') && {READY}")
    assert page.eval(f"({CARDS}).length") == 12
    page.click("#notes button")
    page.wait(f"!location.search.includes('all=1') && {READY}")
    assert page.eval("document.querySelectorAll('.card').length") == 0
