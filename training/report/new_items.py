"""How new items were let in: what that costs known ones and how many are found, as a chart and in words."""

from collections.abc import Sequence

from training.cold_start.calibration import Calibration, K, Point
from training.fitting.record import FitRecord
from training.report.charts import Chart, Series, line_chart

MAX_LOSS = 0.25  # of the known items' NDCG; what costs more is not drawn
KINDS = ("ours", "competitor", "part", "reference")


def new_items_chart(fit: FitRecord) -> Chart | None:
    """A line a first place; None where nothing was calibrated."""
    calibration = fit.new_items.calibration if fit.new_items is not None else None
    if calibration is None:
        return None
    chosen = calibration.chosen
    series: list[Series] = []
    for first in sorted(
        {point.first for point in calibration.curve}, key=lambda first: first != chosen.first
    ):
        points = _worthwhile(calibration, first)
        if not points:
            continue
        series.append(
            Series(
                name=f"from place {first}",
                kind=KINDS[len(series) % len(KINDS)],
                x=[_loss(calibration, point) for point in points],
                y=[point.new_recall for point in points],
                mark=points.index(chosen) if chosen in points else None,
            )
        )
    if not series:
        return None
    return line_chart(
        series,
        title="How new items are let in",
        description=words(calibration),
        x_label=f"NDCG@{K} that known items lose",
        y_label=f"Recall@{K} of new items",
        note=f"Ringed: what was chosen on validation, where {calibration.budget:.1%} may be lost.",
        percent=True,
    )


def words(calibration: Calibration) -> str:
    """What was chosen, what it costs, and what it brings."""
    chosen = calibration.chosen
    lost = _loss(calibration, chosen)
    return (
        f"New items stand from place {chosen.first} on; known ones lose {lost:.1%} of their NDCG@{K} of "
        f"{calibration.warm_alone:.4f}, and {chosen.new_recall:.1%} of what users choose of new items is "
        f"expected among the first {K}, by how often known items that played new ones were right."
    )


def _loss(calibration: Calibration, point: Point) -> float:
    return 1.0 - point.warm_ndcg / calibration.warm_alone if calibration.warm_alone else 0.0


def _worthwhile(calibration: Calibration, first: int) -> Sequence[Point]:
    """Of one first place the points that no cheaper one reaches, in order of what they cost."""
    every = {*calibration.curve, calibration.chosen}
    points = [point for point in every if point.first == first and _loss(calibration, point) <= MAX_LOSS]
    points.sort(key=lambda point: (_loss(calibration, point), -point.new_recall))
    kept: list[Point] = []
    for point in points:
        if not kept or point.new_recall > kept[-1].new_recall or point == calibration.chosen:
            kept.append(point)
    return kept
