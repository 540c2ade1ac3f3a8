"""The pages' files: what they may load, how they are served, and that nothing else is."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from page_parts import Page

from serving.http.page import HEADERS, MEDIA_TYPES, assets

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "serving" / "web"
NAMES = sorted(path.name for path in WEB.iterdir())
TEXTS = {name: (WEB / name).read_text("utf-8") for name in NAMES}
PAGES = sorted(name for name in NAMES if name.endswith(".html"))
NAMESPACES = ("http://www.w3.org/2000/svg",)  # names, which nothing loads
OTHER_PATHS = (
    "/index.html", "/docs.html", "/redoc", "/docs/oauth2-redirect", "/web/",
    "/web/none.js", "/web/%2e%2e", "/web/../engine.py", "/web/%2e%2e/engine.py",
    "/web/..%2fengine.py", "/web/%2e%2e%2f%2e%2e%2fpyproject.toml", "/web/..%5cengine.py",
    "/web/%2fetc%2fpasswd", "/web/main.js%00.html",
)  # fmt: skip
OTHER_HOST = re.compile(r"(?:\w+:)?//[\w\[]")
INLINE = re.compile(r"\son\w+\s*=|\sstyle\s*=|javascript:|<style|<script(?![^>]*\ssrc=)", re.IGNORECASE)
UNSAFE = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")


def other_hosts(text: str) -> list[str]:
    """Addresses of other hosts in a file; comments of JavaScript begin with a space."""
    for name in NAMESPACES:
        text = text.replace(name, "")
    return OTHER_HOST.findall(text)


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_host(name: str) -> None:
    assert other_hosts(TEXTS[name]) == []


@pytest.mark.parametrize(
    "text",
    ['src="https://example.com/a.js"', "url(//fonts.example)", 'import "http://a"', 'fetch("wss://a")'],
)
def test_another_host_is_found(text: str) -> None:
    assert other_hosts(text)


def test_nothing_is_inline_and_no_text_is_read_as_html() -> None:
    for page in PAGES:
        assert INLINE.findall(TEXTS[page]) == []
    assert [name for name in NAMES if name.endswith(".js") and UNSAFE.search(TEXTS[name])] == []
    for planted in ('<a onclick="x()">', '<p style="color:red">', "<script>x()</script>"):
        assert INLINE.search(planted)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_refers_to_exists(name: str) -> None:
    page = Page.of(TEXTS[name])
    assert page.open_ == []
    links = [each.get("src") or each.get("href") for tag, each in page.elements if tag in ("script", "link")]
    assert links
    assert all(link and link.removeprefix("/web/") in NAMES for link in links)
    ids = [each["id"] for _, each in page.elements if "id" in each]
    assert len(ids) == len(set(ids))
    for script in scripts_of(name):
        assert set(re.findall(r'byId\("([\w-]+)"\)', TEXTS[script])) <= set(ids)
    for _, each in page.elements:
        for reference in ("for", "aria-controls", "aria-describedby", "aria-labelledby"):
            assert each.get(reference, ids[0]) in ids


def test_every_script_belongs_to_a_page() -> None:
    used = {script for page in PAGES for script in scripts_of(page)}
    assert used == {name for name in NAMES if name.endswith(".js")}


def scripts_of(page: str) -> set[str]:
    """The scripts that a page loads, imported ones included."""
    found: set[str] = set()
    new = set(re.findall(r'src="/web/([\w.]+)"', TEXTS[page]))
    while new:
        found |= new
        new = {name for each in new for name in re.findall(r'from "\./([\w.]+)"', TEXTS[each])} - found
    return found


def test_every_file_is_in_the_package_and_has_a_type() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["serving"]
    for name in NAMES:
        assert any(fnmatch(f"web/{name}", pattern) for pattern in patterns), name
        assert Path(name).suffix in MEDIA_TYPES
    assert sorted(assets()) == NAMES


def test_files_are_served_with_their_headers(client: Any) -> None:
    for path, name in {
        "/": "index.html",
        "/docs": "docs.html",
        **{f"/web/{name}": name for name in NAMES},
    }.items():
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.text == TEXTS[name]
        assert answer.headers["content-type"] == MEDIA_TYPES[Path(name).suffix]
        assert {header: answer.headers[header] for header in HEADERS} == dict(HEADERS)
        again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_the_policy_forbids_other_hosts_and_inline_code() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "blob:"}
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


def test_nothing_else_is_served(client: Any) -> None:
    for path in OTHER_PATHS:
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["message"]
