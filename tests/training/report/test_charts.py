"""Charts: round ticks, points where they belong, names that do not cover each other."""

from itertools import pairwise

import pytest

from training.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    TOP,
    Band,
    Chart,
    Series,
    Shape,
    Whisker,
    bar_chart,
    interval_chart,
    line_chart,
    ticks,
)

WORDS = {"title": "title", "description": "words", "x_label": "x", "y_label": "y"}


def shapes(chart: Chart, kind: str) -> list[Shape]:
    return [shape for shape in chart.shapes if kind in shape.kind.split()]


def number(shape: Shape, name: str) -> float:
    return float(shape.attributes[name])


@pytest.mark.parametrize(
    ("low", "high", "num", "expected"),
    [
        (0, 1, 4, (0, 0.5, 1)),
        (0, 0.37, 4, (0, 0.1, 0.2, 0.3)),
        (3, 97, 4, (50,)),
        (1, 5, 5, (1, 2, 3, 4, 5)),
        (-0.05, 0.05, 4, (-0.05, 0, 0.05)),
        (7, 7, 4, (7,)),
    ],
)
def test_ticks_are_round(low: float, high: float, num: int, expected: tuple[float, ...]) -> None:
    assert ticks(low, high, num) == pytest.approx(expected)


class TestLines:
    def test_epochs_are_whole(self) -> None:
        chart = line_chart([Series(name="a", kind="main", x=[1, 2, 3], y=[1.5, 2.5, 3.5])], **WORDS)
        below = [shape.text for shape in shapes(chart, "tick") if number(shape, "y") > HEIGHT - BOTTOM + 10]
        assert below == ["1", "2", "3"]

    def test_first_and_last_point_stand_in_the_corners(self) -> None:
        chart = line_chart([Series(name="up", kind="main", x=[1, 2, 3], y=[0, 1, 2], mark=1)], **WORDS)
        (line,) = shapes(chart, "line")
        first, middle, last = (
            tuple(map(float, p.split(","))) for p in str(line.attributes["points"]).split()
        )
        assert first == (LEFT, HEIGHT - BOTTOM)
        assert last[1] == TOP
        (ring,) = shapes(chart, "ring")
        assert (number(ring, "cx"), number(ring, "cy")) == middle
        assert ring.hint == "up: 1"

    def test_one_epoch_is_a_dot(self) -> None:
        chart = line_chart([Series(name="one", kind="main", x=[1], y=[5.0])], **WORDS)
        assert len(shapes(chart, "dot")) == 1

    def test_names_at_the_ends_keep_apart_and_inside(self) -> None:
        series = [Series(name=f"line {at}", kind="main", x=[0, 1], y=[at, 0]) for at in range(4)]
        places = sorted(number(shape, "y") for shape in shapes(line_chart(series, **WORDS), "name"))
        assert all(after - before >= 12.9 for before, after in pairwise(places))
        assert places[-1] <= HEIGHT - BOTTOM + 5

    def test_a_long_curve_is_thinned_and_keeps_its_ends(self) -> None:
        num = 10 * MAX_POINTS
        chart = line_chart([Series(name="long", kind="main", x=range(num), y=range(num))], **WORDS)
        points = str(shapes(chart, "line")[0].attributes["points"]).split()
        assert len(points) == MAX_POINTS
        assert points[0] == f"{LEFT},{HEIGHT - BOTTOM}"
        assert points[-1].endswith(f",{TOP}")


class TestBars:
    def test_heights_are_in_proportion(self) -> None:
        bars = shapes(bar_chart([("a", 2), ("b", 4), ("c", 0)], **WORDS), "bar")
        heights = [number(bar, "height") for bar in bars]
        assert heights == pytest.approx([(HEIGHT - BOTTOM - TOP) / 2, HEIGHT - BOTTOM - TOP, 0])
        assert bars[1].hint == "b: 4"

    def test_labels_that_do_not_fit_are_left_out(self) -> None:
        chart = bar_chart([(f"2024-{at:02d}-01", 1) for at in range(60)], **WORDS)
        labels = [shape for shape in shapes(chart, "tick") if shape.text.startswith("2024")]
        assert 2 <= len(labels) <= 6


class TestIntervals:
    def whisker(self, value: float, low: float, high: float) -> Whisker:
        return Whisker(kind="main", value=value, low=low, high=high, text=f"{value}")

    def chart(self, *bands: Band) -> Chart:
        return interval_chart(bands, title="title", description="words", x_label="x")

    def test_the_dot_lies_on_its_line(self) -> None:
        chart = self.chart(Band(label="a", whiskers=(self.whisker(0.5, 0.25, 1.0),)))
        (line,), (dot,) = shapes(chart, "whisker"), shapes(chart, "dot")
        x1, x2 = number(line, "x1"), number(line, "x2")
        assert number(dot, "cx") == pytest.approx(x1 + (x2 - x1) / 3, abs=0.2)
        assert number(dot, "cy") == number(line, "y1")

    def test_a_row_without_figures_says_why(self) -> None:
        chart = self.chart(Band(label="new", note="nobody to count"))
        assert any(shape.text == "nobody to count" for shape in chart.shapes)
        assert shapes(chart, "dot") == []

    def test_all_zero_is_drawn(self) -> None:
        chart = self.chart(Band(label="a", whiskers=(self.whisker(0.0, 0.0, 0.0),)))
        assert number(shapes(chart, "dot")[0], "cx") == number(shapes(chart, "whisker")[0], "x1")
