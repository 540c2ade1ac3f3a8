"""The report of a run: `report.html`, one HTML file that needs no other file and no network."""

from training.report.collect import collect
from training.report.write import write_plots, write_report

__all__ = [
    "collect",
    "write_plots",
    "write_report",
]
