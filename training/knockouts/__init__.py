"""The contribution of each modality: a trained system is evaluated without it (absent, shuffled, noise)."""

from training.knockouts.alteration import KINDS, Kind
from training.knockouts.measure import Knockout, Knockouts, measure_knockouts
from training.knockouts.systems import KnockoutSubject
from training.knockouts.words import (
    VERDICT_KINDS,
    Contribution,
    contributions,
    knockouts_table,
    main_metric,
    percent,
)

__all__ = [
    "KINDS",
    "VERDICT_KINDS",
    "Contribution",
    "Kind",
    "Knockout",
    "KnockoutSubject",
    "Knockouts",
    "contributions",
    "knockouts_table",
    "main_metric",
    "measure_knockouts",
    "percent",
]
