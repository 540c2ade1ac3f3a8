"""The report's content to one HTML file. The home of `jinja2`."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recsys.files import replacing
from training.evaluation import FEW_USERS, metric_name
from training.report.collect import Report
from training.report.words import figure

SECTIONS = {
    "results": "Results",
    "modalities": "What each modality brings",
    "training": "Training",
    "data": "Data",
    "slices": "Slices",
    "rejected": "Rejected",
    "examples": "Examples",
    "method": "Method",
}
WORDS = {"ahead": "for us", "behind": "against us", "even": "neither"}
SIGNS = {"ahead": "▲", "behind": "▼", "even": "≈"}


def render(report: Report) -> str:
    """The page. Everything from the data is escaped; it needs no other file and runs no script."""
    page = _environment().get_template("template.html")
    style = (resources.files("training.report") / "style.css").read_text("utf-8")
    return page.render(
        report=report,
        sections=SECTIONS,
        signs=SIGNS,
        words=WORDS,
        few_users=FEW_USERS,
        style=Markup(style),  # ours, and full of > and quotes
    )


def write_report(report: Report, path: Path) -> Path:
    """Write the page to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(render(report), "utf-8")
    return path


def _environment() -> Environment:
    filters: dict[str, Any] = {"figure": figure, "metric_name": metric_name}
    environment = Environment(
        loader=PackageLoader("training.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment
