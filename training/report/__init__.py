"""`report.html`: what a run came to, in one file that needs no other."""

from training.report.collect import collect
from training.report.write import write_plots, write_report

__all__ = [
    "collect",
    "write_plots",
    "write_report",
]
