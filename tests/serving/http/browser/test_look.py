"""How the page looks in a browser: widths, colours, and nothing that jumps.

Screenshots go to the folder that RECSYS_ARTIFACTS names, where it is set.
"""

from pathlib import Path

import numpy as np
import pytest
from browser_parts import CHROMIUM, artifacts
from devtools_parts import Browser
from page_in_browser import CARDS, READY
from PIL import Image

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"), pytest.mark.long]
READABLE = {  # colour of texts -> colours of their grounds
    "text": ("ground", "surface", "tint"),
    "soft": ("ground", "surface", "tint"),
    "accent": ("ground", "surface"),
    "on-accent": ("accent",),
    "bad": ("bad-tint",),
}


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_sticks_out_and_nothing_jumps(page: Browser, shop_address: str, width: int) -> None:
    page.size(width, 900)
    long = "incomprehensibilities" * 5
    for address in ("/", "/?q=red+shirt&like=i03&like=i04&user=ann&f.kind=even", f"/?q={long}&user={long}"):
        page.open(f"{shop_address}{address}")
        page.wait(f"{READY} && document.querySelector('#facets .facet, #end button') !== null")
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
