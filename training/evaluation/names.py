"""Views and metrics as tables and sentences name them."""

from collections.abc import Mapping

PLACES: Mapping[str, str] = {
    "warm": "on warm items",
    "cold_full": "on new items in the whole catalogue",
    "cold_pool": "among new items alone",
}
METRICS: Mapping[str, str] = {
    "recall": "Recall", "hr": "HR", "ndcg": "NDCG", "mrr": "MRR", "map": "MAP",
    "coverage": "Coverage", "gini": "Gini", "novelty": "Novelty", "ild": "Diversity", "arp": "Popularity",
}  # fmt: skip


def metric_name(metric: str) -> str:
    """ "ndcg@10" as "NDCG@10"."""
    name, _, k = metric.partition("@")
    return f"{METRICS.get(name, name)}@{k}"
