"""Product pictures: a look (a pattern in a palette) on a product, with irrelevant variation.

The kind of product gives the silhouette. Background, place, size, rotation, light, grain and a shift of
hue are drawn anew for every picture, so that only pattern and palette together identify the look.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Plane = npt.NDArray[np.float64]  # [S, S]
Picture = npt.NDArray[np.float64]  # [S, S, 3], 0 to 1

# Two colours each as (hue, saturation, value), far enough apart to survive a shift of hue.
PALETTES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "red_cream": ((0.00, 0.85, 0.80), (0.12, 0.15, 0.97)),
    "navy_azure": ((0.63, 0.85, 0.40), (0.55, 0.35, 0.95)),
    "forest_lime": ((0.38, 0.80, 0.35), (0.22, 0.65, 0.90)),
    "purple_pink": ((0.77, 0.70, 0.50), (0.90, 0.35, 0.97)),
    "black_white": ((0.00, 0.00, 0.10), (0.00, 0.00, 0.97)),
    "orange_teal": ((0.07, 0.90, 0.95), (0.50, 0.75, 0.50)),
    "brown_yellow": ((0.06, 0.65, 0.35), (0.14, 0.75, 0.97)),
    "magenta_mint": ((0.86, 0.85, 0.75), (0.42, 0.30, 0.95)),
}

PATTERNS: dict[str, Callable[[Plane, Plane], npt.NDArray[np.bool_]]] = {
    "plain": lambda x, y: np.zeros_like(x, dtype=np.bool_),
    "stripes": lambda x, y: np.mod(x, 1) < 0.5,
    "checks": lambda x, y: (np.mod(x, 1) < 0.5) ^ (np.mod(y, 1) < 0.5),
    "dots": lambda x, y: np.hypot(np.mod(x, 1) - 0.5, np.mod(y, 1) - 0.5) < 0.28,
    "zigzag": lambda x, y: np.mod(y + 0.9 * np.abs(np.mod(x, 1) - 0.5), 0.8) < 0.4,
    "rings": lambda x, y: np.mod(3 * np.hypot(np.mod(x / 2, 1) - 0.5, np.mod(y / 2, 1) - 0.5), 0.7) < 0.35,
    "crosses": lambda x, y: (np.abs(np.mod(x, 1) - 0.5) < 0.12) | (np.abs(np.mod(y, 1) - 0.5) < 0.12),
    "triangles": lambda x, y: np.abs(np.mod(x, 1) - 0.5) < 0.5 * np.mod(y, 1),
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """The visual attribute of a product; neither part alone identifies it."""

    pattern: str
    palette: str


def draw_looks(rng: np.random.Generator, count: int) -> list[Look]:
    """`count` different looks; a pattern and a palette each occur in several looks.

    The looks are drawn from n patterns times n palettes, with the smallest n * n >= 1.5 * count.
    """
    side = min(int(np.ceil(np.sqrt(1.5 * count))), len(PATTERNS))
    patterns = rng.permutation(list(PATTERNS))[:side]
    palettes = rng.permutation(list(PALETTES))[:side]
    cells = _spread(rng, side)[:count]
    return [Look(pattern=str(patterns[row]), palette=str(palettes[column])) for row, column in cells]


def render(rng: np.random.Generator, look: Look, kind: str, size: int, noise: float) -> Image.Image:
    """One picture of `size` x `size` pixels in RGB."""
    shift = rng.normal(0, 0.015 * noise)
    colours = [_rgb(colour, shift, rng, noise) for colour in PALETTES[look.palette]]
    x, y = _turned_plane(rng, size, noise)
    front = PATTERNS[look.pattern](x, y)[..., None]
    product = np.where(front, colours[1], colours[0])
    mask = _silhouette(rng, kind, size)[..., None]
    picture = mask * product + (1 - mask) * _background(rng, size)
    picture = _lit(rng, picture, noise) + rng.normal(0, 0.025 * noise, (size, size, 3))
    return Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8), "RGB")


def _spread(rng: np.random.Generator, side: int) -> list[tuple[int, int]]:
    """Cells of a square, diagonal by diagonal, so that rows and columns are used about equally often."""
    return [(row, (row + step) % side) for step in rng.permutation(side) for row in rng.permutation(side)]


def _rgb(
    colour: tuple[float, float, float], shift: float, rng: np.random.Generator, noise: float
) -> npt.NDArray[np.float64]:
    hue, saturation, value = colour
    saturation = float(np.clip(saturation * (1 + rng.normal(0, 0.08 * noise)), 0, 1))
    value = float(np.clip(value * (1 + rng.normal(0, 0.06 * noise)), 0, 1))
    return np.array(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value))


def _turned_plane(rng: np.random.Generator, size: int, noise: float) -> tuple[Plane, Plane]:
    """Coordinates of the pattern, in repeats of it, turned, scaled and moved at random."""
    angle = rng.normal(0, 0.15 * noise)
    repeats = 7.0 * np.exp(rng.normal(0, 0.12 * noise))
    row, column = np.mgrid[0:size, 0:size] * (repeats / size)
    x = np.cos(angle) * column - np.sin(angle) * row + rng.random()
    y = np.sin(angle) * column + np.cos(angle) * row + rng.random()
    return x, y


def _background(rng: np.random.Generator, size: int) -> Picture:
    """A pale wall over a table, both of any hue."""
    wall = np.array(colorsys.hsv_to_rgb(rng.random(), 0.15 * rng.random(), rng.uniform(0.7, 0.95)))
    table = np.array(colorsys.hsv_to_rgb(rng.random(), 0.3 * rng.random(), rng.uniform(0.35, 0.7)))
    height = np.linspace(0, 1, size)[:, None, None]
    edge = rng.uniform(0.65, 0.85)
    return np.broadcast_to(np.where(height < edge, wall, table), (size, size, 3))


def _lit(rng: np.random.Generator, picture: Picture, noise: float) -> Picture:
    """Light from one side, brighter or darker as a whole."""
    size = len(picture)
    angle = rng.uniform(0, 2 * np.pi)
    row, column = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    ramp = 1 + 0.12 * noise * (np.cos(angle) * column + np.sin(angle) * row)
    lit: Picture = picture * (ramp * np.exp(rng.normal(0, 0.06 * noise)))[..., None]
    return lit


def _silhouette(rng: np.random.Generator, kind: str, size: int) -> Plane:
    """Where the product is, 0 to 1, somewhere near the middle."""
    canvas = Image.new("L", (size, size), 0)
    _SHAPES[kind](ImageDraw.Draw(canvas), size)
    angle, zoom = rng.normal(0, 4), rng.uniform(0.92, 1.12)
    moved_x, moved_y = rng.uniform(-0.04, 0.04, 2) * size
    turned = canvas.rotate(angle, Image.Resampling.BILINEAR, translate=(round(moved_x), round(moved_y)))
    wide = round(size * zoom)
    grown = turned.resize((wide, wide), Image.Resampling.BILINEAR)
    left = (wide - size) // 2
    framed = grown.crop((left, left, left + size, left + size)).filter(ImageFilter.GaussianBlur(0.7))
    return np.asarray(framed, np.float64) / 255


def _box(size: int, *corners: float) -> list[float]:
    return [corner * size for corner in corners]


def _mug(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.rectangle(_box(size, 0.22, 0.22, 0.68, 0.82), fill=255)
    draw.arc(_box(size, 0.55, 0.33, 0.88, 0.68), -90, 90, fill=255, width=size // 14)


def _cushion(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.rounded_rectangle(_box(size, 0.17, 0.2, 0.83, 0.82), radius=0.12 * size, fill=255)


def _bag(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.polygon(_box(size, 0.24, 0.38, 0.76, 0.38, 0.86, 0.88, 0.14, 0.88), fill=255)
    draw.arc(_box(size, 0.33, 0.12, 0.67, 0.62), 180, 360, fill=255, width=size // 18)


def _lamp(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.polygon(_box(size, 0.33, 0.12, 0.67, 0.12, 0.86, 0.58, 0.14, 0.58), fill=255)
    draw.rectangle(_box(size, 0.46, 0.58, 0.54, 0.84), fill=255)
    draw.ellipse(_box(size, 0.3, 0.8, 0.7, 0.9), fill=255)


def _vase(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.ellipse(_box(size, 0.22, 0.34, 0.78, 0.9), fill=255)
    draw.rectangle(_box(size, 0.4, 0.12, 0.6, 0.45), fill=255)


def _blanket(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.polygon(_box(size, 0.12, 0.3, 0.8, 0.18, 0.9, 0.76, 0.2, 0.86), fill=255)


def _notebook(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.rectangle(_box(size, 0.25, 0.13, 0.75, 0.87), fill=255)


def _bottle(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.rounded_rectangle(_box(size, 0.3, 0.32, 0.7, 0.92), radius=0.08 * size, fill=255)
    draw.rectangle(_box(size, 0.42, 0.08, 0.58, 0.36), fill=255)


def _clock(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.ellipse(_box(size, 0.15, 0.15, 0.85, 0.85), fill=255)


def _bowl(draw: ImageDraw.ImageDraw, size: int) -> None:
    draw.pieslice(_box(size, 0.1, 0.0, 0.9, 0.84), 0, 180, fill=255)
    draw.rectangle(_box(size, 0.1, 0.34, 0.9, 0.44), fill=255)


_SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, int], None]] = {
    "mug": _mug,
    "cushion": _cushion,
    "bag": _bag,
    "lamp": _lamp,
    "vase": _vase,
    "blanket": _blanket,
    "notebook": _notebook,
    "bottle": _bottle,
    "clock": _clock,
    "bowl": _bowl,
}
