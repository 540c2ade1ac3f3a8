"""Write the report's content as one HTML file. Only this module imports `jinja2`."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recsys.files import replacing
from training.evaluation import FEW_USERS, metric_name
from training.report.collect import Report
from training.report.words import formatted

SECTIONS = {
    "results": "Results",
    "modalities": "Contribution of each modality",
    "training": "Training",
    "data": "Data",
    "slices": "Slices",
    "rejected": "Rejected rows and media",
    "examples": "Examples",
    "method": "Method",
}
WORDS = {"ahead": "better", "behind": "worse", "even": "no clear difference"}
SIGNS = {"ahead": "▲", "behind": "▼", "even": "≈"}


def render(report: Report) -> str:
    """The page as HTML. Text from the data is escaped; the page needs no other file and runs no script."""
    page = _environment().get_template("template.html")
    style = (resources.files("training.report") / "style.css").read_text("utf-8")
    return page.render(
        report=report,
        sections=SECTIONS,
        signs=SIGNS,
        words=WORDS,
        few_users=FEW_USERS,
        style=Markup(style),  # not from the data, and escaping would break its > and quotes
    )


def write_report(report: Report, path: Path) -> Path:
    """Write the page to `path`: to a temporary file first, which is then renamed."""
    with replacing(path) as temporary:
        temporary.write_text(render(report), "utf-8")
    return path


def _environment() -> Environment:
    filters: dict[str, Any] = {"formatted": formatted, "metric_name": metric_name}
    environment = Environment(
        loader=PackageLoader("training.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment
