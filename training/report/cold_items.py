"""The cost of cold ranks for warm items and their gain for cold items, as a chart and in words."""

from training.cold_start import K, OperatingPoint, WarmColdTradeoff
from training.fitting import FitRecord
from training.report.charts import Chart, Series, line_chart


def cold_items_chart(fit: FitRecord) -> Chart | None:
    """A line over patterns of cold ranks, the configured pattern ringed; None where nothing was measured."""
    tradeoff = fit.cold_items.tradeoff if fit.cold_items is not None else None
    if tradeoff is None:
        return None
    points = sorted(tradeoff.grid, key=lambda point: (-point.warm_ndcg, point.cold_recall))
    recalls = {
        K: [point.cold_recall for point in points],
        10: [point.cold_recall_10 for point in points],
        5: [point.cold_recall_5 for point in points],
    }
    lines = [
        Series(
            name=f"Recall@{k}",
            kind=kind,
            x=[tradeoff.warm_loss(point) for point in points],
            y=recalls[k],
            mark=points.index(tradeoff.configured) if tradeoff.configured in points else None,
        )
        for k, kind in ((K, "main"), (10, "variant"), (5, "reference"))
    ]
    return line_chart(
        lines,
        title="Ranks of cold items",
        description=words(tradeoff),
        x_label=f"loss of NDCG@{K} on warm items",
        y_label="Recall of cold items",
        note=f"Ringed: {ranks_in_words(tradeoff.configured)}, by model.cold_ranks.",
        percent=True,
    )


def words(tradeoff: WarmColdTradeoff) -> str:
    """The configured ranks, the loss on warm items and the recall of cold items."""
    configured = tradeoff.configured
    recalls = [configured.cold_recall_5, configured.cold_recall_10, configured.cold_recall]
    at_5, at_10, at_20 = (f"{recall:.1%}" for recall in recalls)
    return (
        f"Cold items have {ranks_in_words(configured)}. Expected on validation: warm items lose "
        f"{tradeoff.warm_loss_10(configured):.1%} of their NDCG@10 and "
        f"{tradeoff.warm_loss(configured):.1%} of their NDCG@{K} of {tradeoff.warm_only_ndcg:.4f}, and the "
        f"first 5, 10 and {K} ranks contain {at_5}, {at_10} and {at_20} of the cold items that users choose. "
        "Recall is measured on warm items that were ranked as if they were cold."
    )


def ranks_in_words(point: OperatingPoint) -> str:
    """The ranks of a pattern, such as "the ranks 10, 17 and 19 of each 20"."""
    if not point.cold_ranks:
        return "only ranks after the last warm item"
    *first, last = (str(rank) for rank in point.cold_ranks)
    if not first:
        return f"the rank {last} of each {K}"
    return f"the ranks {', '.join(first)} and {last} of each {K}"
