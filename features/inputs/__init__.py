"""Model inputs: item features, users' histories, and the view of a split that training reads."""

from features.inputs.histories import (
    HistoryBuilder,
    IdMaps,
    KnownUsers,
    ReviewVectors,
    SeenItems,
    build_maps,
    build_schema,
)
from features.inputs.history_file import iter_histories, load_histories, save_histories
from features.inputs.item_features import MAX_CATEGORY_VALUES, NumericScale, build_item_features
from features.inputs.review_sentiment import Quality, annotate_reviewers, read_quality
from features.inputs.user_items import UserItems

__all__ = [
    "MAX_CATEGORY_VALUES",
    "HistoryBuilder",
    "IdMaps",
    "KnownUsers",
    "NumericScale",
    "Quality",
    "ReviewVectors",
    "SeenItems",
    "UserItems",
    "annotate_reviewers",
    "build_item_features",
    "build_maps",
    "build_schema",
    "iter_histories",
    "load_histories",
    "read_quality",
    "save_histories",
]
