"""The documentation at /docs in a browser: nothing of another host, every endpoint, and one that is tried."""

import pytest
from browser_parts import CHROMIUM
from devtools_parts import Browser

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"), pytest.mark.long]
# The page is ready when it has the schemas, which it writes last.
READY = "document.getElementById('schemas')?.hidden === false"

OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
ALL_OPEN = "[...document.querySelectorAll('details')].every(each => each.querySelector('form.trial'))"


@pytest.fixture
def docs(page: Browser, shop_address: str) -> Browser:
    """The documentation just opened; the fixture `page` tests that no other host was asked."""
    page.open(f"{shop_address}/docs")
    page.wait(READY)
    return page


def test_every_operation_and_schema_is_shown(docs: Browser) -> None:
    """Those of /openapi.json, each once, and each link inside the page leads somewhere."""
    described = docs.eval(
        "fetch('/openapi.json').then(each => each.json()).then(each => [Object.values(each.paths)"
        ".flatMap(Object.values).map(one => one.operationId).sort(),"
        " Object.keys(each.components.schemas).sort()])"
    )
    operations = docs.eval("[...document.querySelectorAll('details')].map(each => each.id).sort()")
    schemas = docs.eval("[...document.querySelectorAll('.schema h3')].map(each => each.textContent)")
    assert [operations, schemas] == described
    docs.eval(OPEN_ALL)
    docs.wait(
        "document.querySelectorAll('form.trial').length === document.querySelectorAll('details').length"
    )
    broken = docs.eval(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))"
        ".filter(each => !document.getElementById(each))"
    )
    assert broken == []
    assert docs.eval("document.body.textContent.includes('[object Object]')") is False


def test_an_operation_is_tried(docs: Browser) -> None:
    form = "#search_v1_search_post form.trial"
    docs.eval("document.getElementById('search_v1_search_post').open = true")
    docs.wait(f"document.querySelector('{form}') !== null")
    docs.eval(f'document.querySelector(\'{form} textarea\').value = \'{{"query": "red shirt", "k": 2}}\'')
    docs.eval(f"document.querySelector('{form}').requestSubmit()")
    docs.wait(f"document.querySelector('{form} .answer pre') !== null")
    assert docs.eval(f"document.querySelector('{form} .answer strong').textContent") == "200"
    assert '"red shirt"' in docs.eval(f"document.querySelector('{form} .answer pre').textContent")


def test_a_link_opens_the_operation(docs: Browser, shop_address: str) -> None:
    docs.eval("location.hash = 'about_v1_about_get'")
    docs.wait("document.getElementById('about_v1_about_get').open")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(docs: Browser, width: int) -> None:
    docs.size(width, 900)
    docs.eval(OPEN_ALL)
    docs.wait(
        "document.querySelectorAll('form.trial').length === document.querySelectorAll('details').length"
    )
    assert docs.eval("document.documentElement.scrollWidth <= innerWidth")
