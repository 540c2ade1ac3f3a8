"""Charts as lists of shapes, which the template writes as SVG. `kind` of a shape is a CSS class of style.css.

A chart has a fixed size in CSS pixels, so its text has the size of the page's text on a narrow screen too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Attribute = str | float

WIDTH, HEIGHT = 360.0, 236.0
TOP, BOTTOM, LEFT = 24.0, 40.0, 48.0
LETTER, BOLD = 6.3, 7.3  # mean width of a letter, plain and bold; there is no font to measure
ROW = 27.0  # height of a row of an interval chart
MAX_POINTS = 240  # of a line; more would be closer than one pixel


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One SVG element; `hint` is its tooltip."""

    tag: str
    kind: str
    attributes: Mapping[str, Attribute]
    text: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Legend:
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart. `description` replaces the drawing for screen readers; `note` is printed below the title."""

    title: str
    description: str
    note: str
    width: float
    height: float
    shapes: tuple[Shape, ...]
    legend: tuple[Legend, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line; the point with index `mark` is ringed."""

    name: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]
    mark: int | None = None


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """A value and its interval."""

    kind: str
    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Band:
    """One labelled row of an interval chart; a row without whiskers shows its `note`."""

    label: str
    whiskers: tuple[Whisker, ...] = ()
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...] = field(default=())

    def at(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    note: str = "",
    percent: bool = False,
) -> Chart:
    """Lines over common axes; each has its name at its end."""
    names = [each.name for each in series]
    right = 12.0 + max((len(name) for name in names), default=0) * BOLD
    x_values = [v for each in series for v in each.x]
    whole = all(value == int(value) for value in x_values) and not percent
    x = _scale(x_values, LEFT, WIDTH - right, num_ticks=5, whole=whole)
    y = _scale([v for each in series for v in each.y], HEIGHT - BOTTOM, TOP, num_ticks=4)
    shapes = [*_axes(x, y, x_label, y_label, percent)]
    for each in series:
        keep = _thinned(len(each.x))
        points = " ".join(f"{x.at(each.x[at])},{y.at(each.y[at])}" for at in keep)
        shapes.append(Shape(tag="polyline", kind=f"line {each.kind}", attributes={"points": points}))
        if len(each.x) == 1:
            shapes.append(_dot(x.at(each.x[0]), y.at(each.y[0]), f"dot {each.kind}", 3.0))
        if each.mark is not None:
            where = (x.at(each.x[each.mark]), y.at(each.y[each.mark]))
            shapes.append(
                _dot(*where, f"ring {each.kind}", 5.0, hint=f"{each.name}: {each.y[each.mark]:.4g}")
            )
    ends = _apart([y.at(each.y[-1]) for each in series], least=13.0)
    for each, end in zip(series, ends, strict=True):
        at = {"x": x.at(each.x[-1]) + 8, "y": end + 4}
        shapes.append(Shape(tag="text", kind=f"name {each.kind}", attributes=at, text=each.name))
    return _chart(title, description, note, shapes)


def bar_chart(
    bars: Sequence[tuple[str, float]],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    note: str = "",
) -> Chart:
    """Vertical bars, with as many labels below as there is space for."""
    y = _scale([0.0, *(value for _, value in bars)], HEIGHT - BOTTOM, TOP, num_ticks=4)
    step = (WIDTH - LEFT - 8) / max(len(bars), 1)
    longest = max((len(label) for label, _ in bars), default=1)
    every = max(1, math.ceil((longest + 1.5) * LETTER / step))
    shapes = [*_horizontal(y), *_labels(x_label, y_label, WIDTH - 8)]
    for at, (label, value) in enumerate(bars):
        left, top = LEFT + at * step, y.at(value)
        box = {
            "x": round(left + 0.08 * step, 1),
            "y": top,
            "width": round(0.84 * step, 1),
            "height": round(y.start - top, 1),
        }
        shapes.append(Shape(tag="rect", kind="bar", attributes=box, hint=f"{label}: {value:,.0f}"))
        if at % every == 0:
            shapes.append(_text(label, left + step / 2, HEIGHT - BOTTOM + 15, "tick", anchor="middle"))
    return _chart(title, description, note, shapes)


def interval_chart(
    bands: Sequence[Band],
    *,
    title: str,
    description: str,
    x_label: str,
    note: str = "",
    legend: Sequence[Legend] = (),
) -> Chart:
    """One row for each band: a dot at the value, a line over its interval, the value as text at the right."""
    whiskers = [whisker for band in bands for whisker in band.whiskers]
    left = 10.0 + max((len(band.label) for band in bands), default=0) * LETTER
    right = 12.0 + max((len(whisker.text) for whisker in whiskers), default=0) * BOLD
    heights = [max(ROW, 16.0 * len(band.whiskers) + 10) for band in bands]
    first_row = 6.0
    bottom = first_row + sum(heights)
    x = _scale(
        [0.0, *(w.high for w in whiskers), *(w.low for w in whiskers)], left, WIDTH - right, num_ticks=4
    )
    shapes = _vertical(x, first_row, bottom)
    shapes += [_text(x_label, (left + WIDTH - right) / 2, bottom + 32, "label", anchor="middle")]
    top = first_row
    for band, height in zip(bands, heights, strict=True):
        shapes.append(_text(band.label, 0.0, top + height / 2 + 4, f"row {band.kind}"))
        if band.note:
            shapes.append(_text(band.note, left + 4, top + height / 2 + 4, "tick"))
        first = top + height / 2 - 8.0 * (len(band.whiskers) - 1)
        for at, whisker in enumerate(band.whiskers):
            shapes += _whisker(whisker, x, first + 16.0 * at, WIDTH - right + 8)
        top += height
    height = bottom + BOTTOM
    return Chart(
        title=title,
        description=description,
        note=note,
        width=WIDTH,
        height=height,
        shapes=tuple(shapes),
        legend=tuple(legend),
    )


def _chart(title: str, description: str, note: str, shapes: Sequence[Shape]) -> Chart:
    return Chart(
        title=title,
        description=description,
        note=note,
        width=WIDTH,
        height=HEIGHT,
        shapes=tuple(shapes),
    )


def ticks(low: float, high: float, num: int, *, whole: bool = False) -> tuple[float, ...]:
    """About `num` tick values between `low` and `high`, spaced by 1, 2 or 5 times a power of ten.

    With `whole`, the spacing is at least 1.
    """
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return (low,)
    rough = span / num
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(at * step, 12) for at in range(first, last + 1))


def _scale(
    values: Sequence[float], start: float, end: float, *, num_ticks: int, whole: bool = False
) -> _Scale:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high == low:
        low, high = (low - 0.5, high + 0.5) if low else (0.0, 1.0)
    return _Scale(low=low, high=high, start=start, end=end, ticks=ticks(low, high, num_ticks, whole=whole))


def _axes(x: _Scale, y: _Scale, x_label: str, y_label: str, percent: bool) -> list[Shape]:
    shapes = _horizontal(y, percent=percent)
    for value in x.ticks:
        place = x.at(value), HEIGHT - BOTTOM + 15
        shapes.append(_text(_number(value, x.ticks, percent), *place, "tick", anchor="middle"))
    return [*shapes, *_labels(x_label, y_label, x.end)]


def _horizontal(y: _Scale, *, percent: bool = False) -> list[Shape]:
    """Horizontal grid lines with their values at the left."""
    shapes = []
    for value in y.ticks:
        ends = {"x1": LEFT, "x2": WIDTH - 8, "y1": y.at(value), "y2": y.at(value)}
        shapes.append(Shape(tag="line", kind="grid", attributes=ends))
        shapes.append(
            _text(_number(value, y.ticks, percent), LEFT - 6, y.at(value) + 4, "tick", anchor="end")
        )
    return shapes


def _vertical(x: _Scale, top: float, bottom: float) -> list[Shape]:
    shapes = []
    for value in x.ticks:
        ends = {"x1": x.at(value), "x2": x.at(value), "y1": top, "y2": bottom}
        shapes.append(Shape(tag="line", kind="grid", attributes=ends))
        shapes.append(_text(_number(value, x.ticks), x.at(value), bottom + 15, "tick", anchor="middle"))
    return shapes


def _labels(x_label: str, y_label: str, right: float) -> list[Shape]:
    return [
        _text(x_label, (LEFT + right) / 2, HEIGHT - 6, "label", anchor="middle"),
        _text(y_label, 0.0, 9.0, "label"),
    ]


def _whisker(whisker: Whisker, x: _Scale, y: float, text_x: float) -> list[Shape]:
    ends = {"x1": x.at(whisker.low), "x2": x.at(whisker.high), "y1": y, "y2": y}
    return [
        Shape(tag="line", kind=f"whisker {whisker.kind}", attributes=ends),
        _dot(x.at(whisker.value), y, f"dot {whisker.kind}", 4.5, hint=whisker.text),
        _text(whisker.text, text_x, y + 4, f"value {whisker.kind}"),
    ]


def _dot(x: float, y: float, kind: str, radius: float, *, hint: str = "") -> Shape:
    return Shape(tag="circle", kind=kind, attributes={"cx": x, "cy": round(y, 1), "r": radius}, hint=hint)


def _text(text: str, x: float, y: float, kind: str, *, anchor: str = "start") -> Shape:
    place: dict[str, Attribute] = {"x": round(x, 1), "y": round(y, 1)}
    if anchor != "start":
        place["text-anchor"] = anchor
    return Shape(tag="text", kind=kind, attributes=place, text=text)


def _number(value: float, among: Sequence[float], percent: bool = False) -> str:
    """`value` with as many digits as make the ticks `among` distinct."""
    if percent:
        return f"{value:.0%}"
    step = among[1] - among[0] if len(among) > 1 else abs(value) or 1.0
    if max(map(abs, among)) >= 10_000:
        return f"{value / 1000:,.{max(0, -math.floor(math.log10(step / 1000)))}f}k" if value else "0"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _thinned(num: int) -> list[int]:
    """At most `MAX_POINTS` evenly spaced indices below `num`, with the first and the last."""
    if num <= MAX_POINTS:
        return list(range(num))
    return sorted({round(at * (num - 1) / (MAX_POINTS - 1)) for at in range(MAX_POINTS)})


def _apart(places: Sequence[float], *, least: float) -> list[float]:
    """`places` in their order, moved so that neighbours are at least `least` pixels apart."""
    order = sorted(range(len(places)), key=lambda at: places[at])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    excess = max([0.0, *(place - (HEIGHT - BOTTOM) for place in moved)])
    return [place - excess for place in moved]
