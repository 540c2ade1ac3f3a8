"""Write the report as one HTML file, and its charts as SVG files. Only this module imports `jinja2`."""

import re
import shutil
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recsys.files import replacing
from training.evaluation import FEW_USERS, metric_name
from training.report.charts import Attribute, Chart
from training.report.collect import Report
from training.report.words import formatted
from training.search import SEARCH_METRICS

SECTIONS = {
    "results": "Results",
    "search": "Search",
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
MARGIN = 12.0  # around a chart, with room for its title above
TITLE_HEIGHT = 24.0


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
        search_metrics=SEARCH_METRICS,
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


def write_plots(report: Report, folder: Path) -> Path:
    """Write every chart of `report` to `folder`, without what was there; file names are the titles."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, chart in charts(report):
        (folder / f"{_slug(name)}.svg").write_text(standalone(chart), "utf-8")
    return folder


def charts(report: Report) -> Iterator[tuple[str, Chart]]:
    """Charts of the report in its order, each with a name of its own."""
    for view in report.views:
        if view.chart is not None:
            yield f"{view.name} {view.chart.title}", view.chart
    for number, chart in enumerate(report.modalities.charts if report.modalities else (), 1):
        yield f"modalities {number} {chart.title}", chart
    for chart in (*report.curves, *report.data.charts):
        yield chart.title, chart
    for each in report.slices:
        yield f"slices {each.title}", each.chart


def standalone(chart: Chart) -> str:
    """One SVG document, with the colours of the light page and the chart's title."""
    width, height = chart.width + 2 * MARGIN, chart.height + 2 * MARGIN + TITLE_HEIGHT
    shapes = "\n".join(
        f'<{each.tag} class="{escape(each.kind.strip())}"{_attributes(each.attributes)}>{escape(each.text)}'
        + (f"<title>{escape(each.hint)}</title>" if each.hint else "")
        + f"</{each.tag}>"
        for each in chart.shapes
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{-MARGIN} {-MARGIN - TITLE_HEIGHT} {width} {height}">\n'
        f"<style>{_style()}</style>\n<desc>{escape(chart.description)}</desc>\n"
        f'<rect x="{-MARGIN}" y="{-MARGIN - TITLE_HEIGHT}" width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="row" y="-8">{escape(chart.title)}</text>\n{shapes}\n</svg>\n'
    )


def _style() -> str:
    """Of the page's style: the colours, and the rules of shapes."""
    page = (resources.files("training.report") / "style.css").read_text("utf-8")
    colours = re.search(r":root \{[^}]*\}", page)
    assert colours is not None, "style.css names its colours first"
    rules = [line for line in page.splitlines() if line.startswith("svg ")]
    return "\n".join([colours.group(), "svg { font-family: sans-serif; }", *rules])


def _attributes(attributes: Mapping[str, Attribute]) -> str:
    return "".join(f' {name}="{escape(str(value))}"' for name, value in attributes.items())


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
