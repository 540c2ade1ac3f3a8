"""Ablation: the configured model and the same model with one option changed at a time."""

from training.experiments.ablation import ablate
from training.experiments.options import names_in
from training.experiments.table import ablation_table, main_metrics, write_markdown

__all__ = [
    "ablate",
    "ablation_table",
    "main_metrics",
    "names_in",
    "write_markdown",
]
