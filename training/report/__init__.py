"""The report of a run: `report.html`, one HTML file that needs no other file and no network."""

from training.report.charts import Series, line_chart
from training.report.collect import collect
from training.report.write import standalone, write_plots, write_report

__all__ = [
    "Series",
    "collect",
    "line_chart",
    "standalone",
    "write_plots",
    "write_report",
]
