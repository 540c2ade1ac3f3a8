"""The chart of how new items are let in: lines of the calibration's best points, the chosen one ringed."""

from dataclasses import replace

import pytest
from training.cold_start.calibration import Calibration, Point
from training.report.new_items import new_items_chart, words

from training.cold_start.fit import NewItems
from training.fitting.record import Fit


def point(first: int, bias: float, ndcg: float, recall: float) -> Point:
    return Point(length=1.0, first=first, bias=bias, warm_ndcg=ndcg, new_recall=recall)


CHOSEN = point(9, 0.2, 0.195, 0.05)
CALIBRATION = Calibration(
    curve=(
        point(1, 0.0, 0.199, 0.01),
        point(1, 0.1, 0.190, 0.03),
        point(1, 0.15, 0.189, 0.02),  # dearer and worse than the one before
        point(1, 0.2, 0.100, 0.20),  # half of all is lost
        point(9, 0.0, 0.200, 0.01),
        CHOSEN,
    ),
    warm_alone=0.2,
    chosen=CHOSEN,
    budget=0.03,
)
FIT = Fit(
    at="", curve=(), best_epoch=0, best_score=None, ranker=None, num_items=0, coverage={}, versions={},
    machine={}, new_items=NewItems(cold_from=9, calibration=CALIBRATION),
)  # fmt: skip


def test_lines_hold_what_no_cheaper_point_reaches() -> None:
    chart = new_items_chart(FIT)
    assert chart is not None
    lines = [shape for shape in chart.shapes if shape.tag == "polyline"]
    assert [line.kind for line in lines] == ["line ours", "line rival"]
    assert [str(line.attributes["points"]).count(",") for line in lines] == [2, 2]
    names = [shape.text for shape in chart.shapes if shape.kind.startswith("name")]
    assert names == ["from place 9", "from place 1"]
    (ring,) = [shape for shape in chart.shapes if shape.kind == "ring ours"]
    assert ring.hint == "from place 9: 0.05"


def test_words_say_what_it_costs_and_brings() -> None:
    said = words(CALIBRATION)
    assert "from place 9 on" in said
    assert "lose 2.5% of their NDCG@20 of 0.2000" in said
    assert "5.0% of what users choose of new items is expected among the first 20" in said


@pytest.mark.parametrize("new", [None, NewItems()])
def test_without_a_calibration_there_is_no_chart(new: NewItems | None) -> None:
    assert new_items_chart(replace(FIT, new_items=new)) is None
