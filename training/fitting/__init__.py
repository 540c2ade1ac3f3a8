"""One fit: from a split and its vectors to towers, ranker and recommender."""

from training.fitting.checkpoint_key import tower_settings
from training.fitting.fit import FitChoices, Fitted, HeldOutUsers, fit, fit_towers
from training.fitting.inputs import FitInputs, audit
from training.fitting.joint_fit import JointFit, announce, dismiss, follow, record_plan
from training.fitting.record import (
    FitRecord,
    read_audits,
    read_fit_records,
    record_audit,
    record_fit,
    validation_metrics,
)
from training.fitting.refit import choices_of_towers, newest_events_split
from training.fitting.torch_recommender import make_recommender
from training.fitting.validation import tower_ndcg, validation_users

__all__ = [
    "FitChoices",
    "FitInputs",
    "FitRecord",
    "Fitted",
    "HeldOutUsers",
    "JointFit",
    "announce",
    "audit",
    "choices_of_towers",
    "dismiss",
    "fit",
    "fit_towers",
    "follow",
    "make_recommender",
    "newest_events_split",
    "read_audits",
    "read_fit_records",
    "record_audit",
    "record_fit",
    "record_plan",
    "tower_ndcg",
    "tower_settings",
    "validation_metrics",
    "validation_users",
]
