"""The sentences and the table: they follow from the intervals of the changes."""

import io
from dataclasses import replace

import pytest
from knockout_parts import found
from report_parts import gap
from rich.console import Console

from recsys.config import load_config
from recsys.errors import ConfigError
from recsys.metrics.bootstrap import Estimate
from training.knockouts.alteration import Kind
from training.knockouts.words import Verdict, contributions, knockouts_table, percent, plural, verdict_of

LOSS, GAIN, EVEN = gap(-0.068, -0.09, -0.05), gap(0.03, 0.01, 0.05), gap(-0.001, -0.01, 0.01)


@pytest.mark.parametrize(
    ("absent", "shuffled", "expected"),
    [
        (EVEN, EVEN, "nothing"),
        (LOSS, EVEN, "helps"),
        (EVEN, LOSS, "helps"),
        (GAIN, EVEN, "harms"),
        (GAIN, LOSS, "mixed"),
        (gap(-0.01, -0.02, 0.0), gap(0.01, 0.0, 0.02), "nothing"),
    ],
)
def test_nothing_is_contributed_where_both_intervals_contain_zero(
    absent: Estimate, shuffled: Estimate, expected: Verdict
) -> None:
    knockouts = found({"image": {"absent": {"warm": absent}, "shuffled": {"warm": shuffled}}})
    assert verdict_of(knockouts, "image", "warm", "recall@10") == expected


def test_noise_has_no_part_in_the_verdict() -> None:
    assert verdict_of(found({"image": {"noise": {"warm": LOSS}}}), "image", "warm", "recall@10") == "nothing"


def test_a_modality_without_a_contribution() -> None:
    knockouts = found({"image": {"absent": {"warm": EVEN, "cold_pool": EVEN}}})
    (only,) = contributions(knockouts)
    assert only.contributes_nothing
    assert only.text == (
        "Pictures contribute nothing on these data: neither removing them nor exchanging them between the "
        "items changes Recall@10 by more than chance on warm items or among cold items alone."
    )


def test_a_contribution_has_its_views_and_sizes() -> None:
    changes = {
        "absent": {"warm": EVEN, "cold_full": LOSS, "cold_pool": LOSS},
        "shuffled": {"cold_full": EVEN, "cold_pool": gap(-0.1, -0.12, -0.08)},
    }
    (only,) = contributions(found({"voices": changes}))
    assert not only.contributes_nothing
    assert only.text == (
        "Spoken reviews help on cold items in the whole catalogue (Recall@10 −34% without them, 0% "
        "exchanged) and among cold items alone (Recall@10 −34% without them, −50% exchanged); contribute "
        "nothing on warm items."
    )


def test_a_modality_that_harms() -> None:
    (only,) = contributions(found({"cat:genres": {"absent": {"warm": GAIN}}}))
    assert only.text == ("Values of genres harm on warm items (Recall@10 +15% without them, 0% exchanged).")


def test_a_share_of_zero_is_not_given() -> None:
    knockouts = found({"title": {"absent": {"warm": GAIN}}}, full=0.0)
    assert knockouts.relative("title", "absent", "warm", "recall@10") is None
    assert contributions(knockouts)[0].text == "Titles harm on warm items."


def test_without_a_hit_of_the_full_model_there_is_no_verdict() -> None:
    (only,) = contributions(found({"image": {"absent": {"warm": EVEN, "cold_pool": EVEN}}}, full=0.0))
    assert not only.contributes_nothing
    assert only.text == (
        "Pictures cannot be measured on warm items and among cold items alone, where the full model has "
        "no hit."
    )


@pytest.mark.parametrize(("absent", "shuffled"), [(LOSS, EVEN), (GAIN, EVEN), (GAIN, LOSS), (EVEN, EVEN)])
def test_few_users_give_no_verdict(absent: Estimate, shuffled: Estimate) -> None:
    changes: dict[Kind, dict[str, Estimate]] = {"absent": {"warm": absent}, "shuffled": {"warm": shuffled}}
    few, enough = (found({"image": changes}, num_users=number) for number in (29, 30))
    (only,) = contributions(few)
    assert not only.contributes_nothing
    assert only.text == "Pictures cannot be measured on warm items, where there are fewer than 30 users."
    assert verdict_of(enough, "image", "warm", "recall@10") != "few_users"


def test_a_relative_change_is_the_change_over_the_full_models_value() -> None:
    knockouts = found({"title": {"absent": {"warm": LOSS}}}, full=0.5)
    relative = knockouts.relative("title", "absent", "warm", "recall@10")
    assert relative == gap(-0.068 / 0.5, -0.09 / 0.5, -0.05 / 0.5)
    assert knockouts.relative("title", "absent", "cold_pool", "recall@10") is None, "the view has no user"


def test_names_and_percents() -> None:
    assert [percent(share) for share in (0.123, -0.5, 0.004, -0.004)] == ["+12%", "−50%", "0%", "0%"]
    assert [plural(name) for name in ("text", "cat:text", "id", "own")] == [
        "descriptions", "values of text", "ids", "own",
    ]  # fmt: skip


def test_the_table_has_a_row_a_target_and_three_columns_a_view() -> None:
    knockouts = found({"title": {"absent": {"warm": LOSS}}, "id": {}}, num_drawn=10)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(knockouts_table(knockouts))
    text = console.export_text()
    assert "change of recall@10" in text
    assert "cold_pool" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("│ title")]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["title", "−34% ±10", "0% ±5", "0% ±5"]
    assert "Full model: warm 0.2000 (40 users). 10 of 50 test users drawn at random." in " ".join(
        text.split()
    )
    console.print(knockouts_table(knockouts, intervals=False))
    assert "±" not in console.export_text()


def test_a_kind_that_was_not_measured_has_no_column() -> None:
    knockouts = found({"title": {"absent": {"warm": LOSS}, "shuffled": {"warm": LOSS}}})
    kept = tuple(each for each in knockouts.knockouts if each.kind != "noise")
    without_noise = replace(knockouts, knockouts=kept)
    assert contributions(without_noise) == contributions(knockouts)
    for measured, columns in ((knockouts, 4), (without_noise, 3)):
        assert len(knockouts_table(measured).columns) == columns


@pytest.mark.parametrize("kinds", [["absent"], ["shuffled", "noise"], ["absent", "absent", "shuffled"]])
def test_verdicts_need_both_kinds(kinds: list[str]) -> None:
    chosen = load_config(overrides=['evaluate.knockout_kinds=["shuffled", "absent"]'])
    assert chosen.evaluate.knockout_kinds == ("shuffled", "absent")
    with pytest.raises(ConfigError, match=r"must name absent and shuffled"):
        load_config(overrides=[f"evaluate.knockout_kinds={kinds}"])
