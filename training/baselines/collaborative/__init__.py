"""Baselines that are fitted on events alone, as matrices of users and items."""

from training.baselines.collaborative.als import ALS
from training.baselines.collaborative.bpr import BPR, BPRSettings
from training.baselines.collaborative.ease import EASE
from training.baselines.collaborative.item_item import ItemItem

__all__ = ["ALS", "BPR", "EASE", "BPRSettings", "ItemItem"]
