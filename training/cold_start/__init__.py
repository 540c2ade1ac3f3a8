"""Cold items: content regressed onto learned vectors, and the calibration of their scores."""

from training.cold_start.content_regression import ContentRegression
from training.cold_start.fit import ColdItems, cold_items_of, fit_cold_start_head, pseudo_cold_vectors
from training.cold_start.tradeoff import K, OperatingPoint, WarmColdTradeoff
from training.cold_start.validation_users import PastInteractions, ValidationUsers

__all__ = [
    "ColdItems",
    "ContentRegression",
    "K",
    "OperatingPoint",
    "PastInteractions",
    "ValidationUsers",
    "WarmColdTradeoff",
    "cold_items_of",
    "fit_cold_start_head",
    "pseudo_cold_vectors",
]
