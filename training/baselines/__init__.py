"""Baselines, each with settings chosen on validation alone.

Every baseline implements `TopK` of training/evaluation/evaluate.py. Its parameters of items are fitted on
training positives alone. At test time it reads the training and validation positives of a user.
"""

from training.baselines.chance import Random
from training.baselines.choices import read_choices, save_choices, settings_words
from training.baselines.collaborative import ALS, BPR, EASE, BPRSettings, ItemItem
from training.baselines.competitors import evaluate_baselines, make_competitors
from training.baselines.content import ContentNeighbors, ContentSettings
from training.baselines.fusion import Fusion, FusionSettings
from training.baselines.known import KnownEvents
from training.baselines.popularity import Popularity, PopularitySettings, RecentPopularity
from training.baselines.table import Baseline, ChosenSettings, choose_baselines

__all__ = [
    "ALS",
    "BPR",
    "EASE",
    "BPRSettings",
    "Baseline",
    "ChosenSettings",
    "ContentNeighbors",
    "ContentSettings",
    "Fusion",
    "FusionSettings",
    "ItemItem",
    "KnownEvents",
    "Popularity",
    "PopularitySettings",
    "Random",
    "RecentPopularity",
    "choose_baselines",
    "evaluate_baselines",
    "make_competitors",
    "read_choices",
    "save_choices",
    "settings_words",
]
