"""Charts as files of their own: well-formed, named by their titles, nothing left of before."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from training.report import collect, write_plots
from training.report.charts import Series, line_chart
from training.report.write import charts, standalone

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_alone_has_its_words_and_colours() -> None:
    chart = line_chart(
        [Series(name="main & <other>", kind="main", x=[1, 2], y=[0.5, 0.25])],
        title="Loss < 1", description="it falls", x_label="epoch", y_label="loss",
    )  # fmt: skip
    root = ElementTree.fromstring(standalone(chart))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts[0] == "Loss < 1"
    assert "main & <other>" in texts
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "--main: #" in str(style.text)
    assert "svg .line" in str(style.text)


@pytest.mark.slow
def test_every_chart_of_the_report_is_a_file(walked_run: Any, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.svg").write_text("")
    run = walked_run
    report = collect(run.directory, run.dataset, run.config, name="shop", fingerprint="f00d")
    write_plots(report, tmp_path / "plots")
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert len(names) == len(list(charts(report)))
    assert "training-loss.svg" in names
    assert "old.svg" not in names
    for path in (tmp_path / "plots").iterdir():
        ElementTree.parse(path)
