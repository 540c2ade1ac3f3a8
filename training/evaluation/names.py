"""Names of views and metrics in tables and sentences."""

from collections.abc import Mapping

VIEW_PHRASES: Mapping[str, str] = {
    "warm": "on warm items",
    "cold_full": "on cold items in the whole catalogue",
    "cold_pool": "among cold items alone",
}
METRICS: Mapping[str, str] = {
    "recall": "Recall", "hr": "HR", "ndcg": "NDCG", "mrr": "MRR", "map": "MAP",
    "coverage": "Coverage", "gini": "Gini", "novelty": "Novelty", "ild": "Diversity", "arp": "Popularity",
}  # fmt: skip


def metric_name(metric: str) -> str:
    """ "ndcg@10" as "NDCG@10"."""
    name, _, k = metric.partition("@")
    return f"{METRICS.get(name, name)}@{k}"
