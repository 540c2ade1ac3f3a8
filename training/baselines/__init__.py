"""Baselines, each with settings chosen on validation alone.

Every baseline answers by `TopK` of training/evaluation/evaluate.py. What it holds of items comes from
training positives alone; what it knows of a user when asked are the positives of training and validation.
"""

from training.baselines.als import ALS
from training.baselines.bpr import BPR, BPRSettings
from training.baselines.chance import Random
from training.baselines.choices import read_choices, save_choices, settings_words
from training.baselines.competitors import make_competitors
from training.baselines.content import ContentNeighbors, ContentSettings
from training.baselines.fusion import Fusion, FusionSettings
from training.baselines.item_item import ItemItem
from training.baselines.known import Known
from training.baselines.popularity import Popularity, PopularitySettings, RecentPopularity
from training.baselines.table import Baseline, Chosen, choose_baselines

__all__ = [
    "ALS",
    "BPR",
    "BPRSettings",
    "Baseline",
    "Chosen",
    "ContentNeighbors",
    "ContentSettings",
    "Fusion",
    "FusionSettings",
    "ItemItem",
    "Known",
    "Popularity",
    "PopularitySettings",
    "Random",
    "RecentPopularity",
    "choose_baselines",
    "make_competitors",
    "read_choices",
    "save_choices",
    "settings_words",
]
