"""The section of knock-outs: charts in percent, a row for each group, and no section without results."""

from knockout_parts import found
from report_parts import gap

from training.report.charts import Chart
from training.report.modalities import modalities

LOSS = gap(-0.068, -0.09, -0.05)


def texts(chart: Chart, kind: str) -> list[str]:
    return [shape.text for shape in chart.shapes if shape.tag == "text" and kind in shape.kind.split()]


def test_a_chart_a_view_with_users() -> None:
    content = modalities(found({"review_text": {"absent": {"warm": LOSS}}, "cat:colour": {}}))
    assert content is not None
    (chart,) = content.charts
    assert chart.title == "Recall@10 on warm items"
    assert texts(chart, "row") == ["review text", "colour"]
    assert texts(chart, "value") == ["−34%", "0%", "0%", "0%"]
    assert [each.text for each in chart.legend] == ["absent", "shuffled"]
    assert chart.description == "review text: absent −34%, shuffled 0%; colour: absent 0%, shuffled 0%"
    assert "0.2000" in chart.note
    assert "40 users" in chart.note


def test_a_whisker_ends_where_the_interval_ends() -> None:
    content = modalities(
        found({"title": {"absent": {"warm": LOSS}, "shuffled": {"warm": gap(0.0, 0.0, 0.0)}}})
    )
    assert content is not None
    lines = [shape.attributes for shape in content.charts[0].shapes if "whisker" in shape.kind]
    dots = [shape.attributes for shape in content.charts[0].shapes if shape.tag == "circle"]
    zero = float(lines[1]["x1"])
    assert lines[1]["x1"] == lines[1]["x2"] == dots[1]["cx"]
    left, right, dot = (zero - float(x) for x in (lines[0]["x1"], lines[0]["x2"], dots[0]["cx"]))
    assert left > dot > right > 0
    assert abs(left / right - 0.09 / 0.05) < 0.02
    assert abs(dot / right - 0.068 / 0.05) < 0.02


def test_the_table_has_every_view_and_way() -> None:
    content = modalities(found({"title": {"noise": {"warm": LOSS, "cold_pool": LOSS}}}, num_drawn=10))
    assert content is not None
    ways = ("absent", "shuffled", "noise")
    assert content.columns == tuple(f"{view}, {way}" for view in ("warm", "cold_pool") for way in ways)
    assert [row.name for row in content.rows] == ["title"]
    assert content.rows[0].cells[2] == "−34% (−45% to −25%)"
    assert content.rows[0].cells[0] == "0% (−5% to +5%)"
    assert content.users == "10 of 50 test users, drawn at random with a fixed seed"


def test_where_nothing_was_found_nothing_can_be_lost() -> None:
    content = modalities(found({"title": {"absent": {"warm": LOSS}}}, full=0.0))
    assert content is not None
    assert content.rows[0].cells == ("–", "–", "–")
    assert "the full model has no hit" in content.charts[0].description


def test_without_knock_outs_or_users_there_is_no_section() -> None:
    assert modalities(None) is None
    assert modalities(found({"title": {}})) is None
