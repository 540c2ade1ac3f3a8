"""The chart of cold ranks: their cost and gain, the configured pattern ringed."""

from dataclasses import replace

import pytest

from training.cold_start.fit import ColdItems
from training.cold_start.tradeoff import OperatingPoint, WarmColdTradeoff
from training.fitting.record import FitRecord
from training.fitting.without_events import POPULARITY
from training.report.cold_items import cold_items_chart, words


def point(*ranks: int, ndcg: float, recall: float) -> OperatingPoint:
    return OperatingPoint(
        cold_ranks=ranks,
        warm_ndcg=ndcg,
        cold_recall=recall,
        warm_ndcg_10=2 * ndcg - 0.2,
        cold_recall_10=recall / 2,
        cold_recall_5=0.0,
    )


CONFIGURED = point(10, 17, 19, ndcg=0.195, recall=0.05)
TRADEOFF = WarmColdTradeoff(
    configured=CONFIGURED,
    grid=(point(ndcg=0.2, recall=0.0), point(20, ndcg=0.199, recall=0.02), CONFIGURED),
)
FIT = FitRecord(
    at="", curve=(), best_epoch=0, best_score=None, ranker=None, num_items=0, coverage={}, versions={},
    machine={}, cold_items=ColdItems(tradeoff=TRADEOFF), without_events=POPULARITY,
)  # fmt: skip


def test_the_configured_ranks_are_ringed_on_the_line() -> None:
    chart = cold_items_chart(FIT)
    assert chart is not None
    lines = [shape for shape in chart.shapes if shape.tag == "polyline"]
    assert [str(line.attributes["points"]).count(",") for line in lines] == [3, 3, 3]
    rings = [shape for shape in chart.shapes if shape.kind.startswith("ring")]
    assert [ring.hint for ring in rings] == ["Recall@20: 0.05", "Recall@10: 0.025", "Recall@5: 0"]


def test_words_say_the_cost_and_the_gain() -> None:
    said = words(TRADEOFF)
    assert "Cold items have the ranks 10, 17 and 19 of each 20" in said
    assert "lose 5.0% of their NDCG@10 and 2.5% of their NDCG@20 of 0.2000" in said
    assert "contain 0.0%, 2.5% and 5.0% of the cold items that users choose" in said
    last = replace(TRADEOFF, configured=TRADEOFF.grid[0])
    assert "only ranks after the last warm item" in words(last)


@pytest.mark.parametrize("cold", [ColdItems()])
def test_without_a_measurement_there_is_no_chart(cold: ColdItems) -> None:
    assert cold_items_chart(replace(FIT, cold_items=cold)) is None
