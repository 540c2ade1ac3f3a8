"""The sentences and the table: they follow from the intervals of the changes."""

import io

import pytest
from knockout_parts import found
from report_parts import gap
from rich.console import Console

from recsys.metrics.bootstrap import Estimate
from training.knockouts.alteration import Kind
from training.knockouts.words import Verdict, contributions, knockouts_table, percent, plural, verdict_of

LOSS, GAIN, EVEN = gap(-0.068, -0.09, -0.05), gap(0.03, 0.01, 0.05), gap(-0.001, -0.01, 0.01)


@pytest.mark.parametrize(
    ("absent", "shuffled", "expected"),
    [
        (EVEN, EVEN, "nothing"),
        (LOSS, EVEN, "counts"),
        (EVEN, LOSS, "counts"),
        (GAIN, EVEN, "harms"),
        (GAIN, LOSS, "mixed"),
        (gap(-0.01, -0.02, 0.0), gap(0.01, 0.0, 0.02), "nothing"),
    ],
)
def test_nothing_is_brought_where_both_intervals_hold_zero(
    absent: Estimate, shuffled: Estimate, expected: Verdict
) -> None:
    knockouts = found({"image": {"absent": {"warm": absent}, "shuffled": {"warm": shuffled}}})
    assert verdict_of(knockouts, "image", "warm", "recall@10") == expected


def test_noise_is_not_judged() -> None:
    assert verdict_of(found({"image": {"noise": {"warm": LOSS}}}), "image", "warm", "recall@10") == "nothing"


def test_what_brings_nothing_is_told_so() -> None:
    knockouts = found({"image": {"absent": {"warm": EVEN, "cold_pool": EVEN}}})
    (only,) = contributions(knockouts)
    assert only.brings_nothing
    assert only.text == (
        "Pictures bring nothing on these data: neither leaving them out nor exchanging them between the "
        "items changes Recall@10 by more than chance on warm items or among new items alone."
    )


def test_what_counts_is_told_where_and_how_much() -> None:
    changes = {
        "absent": {"warm": EVEN, "cold_full": LOSS, "cold_pool": LOSS},
        "shuffled": {"cold_full": EVEN, "cold_pool": gap(-0.1, -0.12, -0.08)},
    }
    (only,) = contributions(found({"voices": changes}))
    assert not only.brings_nothing
    assert only.text == (
        "Spoken reviews count on new items in the whole catalogue (Recall@10 −34% without them, 0% "
        "exchanged) and among new items alone (Recall@10 −34% without them, −50% exchanged); bring nothing "
        "on warm items."
    )


def test_what_harms_is_told_too() -> None:
    (only,) = contributions(found({"cat:genres": {"absent": {"warm": GAIN}}}))
    assert only.text == ("Values of genres harm on warm items (Recall@10 +15% without them, 0% exchanged).")


def test_a_share_of_nothing_is_not_told() -> None:
    knockouts = found({"title": {"absent": {"warm": GAIN}}}, full=0.0)
    assert knockouts.relative("title", "absent", "warm", "recall@10") is None
    assert contributions(knockouts)[0].text == "Titles harm on warm items."


def test_where_nothing_is_found_anyway_nothing_is_said_to_bring_nothing() -> None:
    (only,) = contributions(found({"image": {"absent": {"warm": EVEN, "cold_pool": EVEN}}}, full=0.0))
    assert not only.brings_nothing
    assert only.text == (
        "Pictures have nothing to lose on warm items and among new items alone, where nothing is "
        "found anyway."
    )


@pytest.mark.parametrize(("absent", "shuffled"), [(LOSS, EVEN), (GAIN, EVEN), (GAIN, LOSS), (EVEN, EVEN)])
def test_few_users_are_no_judges(absent: Estimate, shuffled: Estimate) -> None:
    changes: dict[Kind, dict[str, Estimate]] = {"absent": {"warm": absent}, "shuffled": {"warm": shuffled}}
    few, enough = (found({"image": changes}, num_users=number) for number in (29, 30))
    (only,) = contributions(few)
    assert not only.brings_nothing
    assert only.text == "Pictures are not judged on warm items, where fewer than 30 users count."
    assert verdict_of(enough, "image", "warm", "recall@10") != "few"


def test_a_relative_change_is_the_change_over_the_full_models_value() -> None:
    knockouts = found({"title": {"absent": {"warm": LOSS}}}, full=0.5)
    relative = knockouts.relative("title", "absent", "warm", "recall@10")
    assert relative == gap(-0.068 / 0.5, -0.09 / 0.5, -0.05 / 0.5)
    assert knockouts.relative("title", "absent", "cold_pool", "recall@10") is None, "nobody counts there"


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
    assert (
        "With nothing knocked out: warm 0.2000 (40 users). 10 of 50 test users drawn at random."
        in " ".join(text.split())
    )
    console.print(knockouts_table(knockouts, intervals=False))
    assert "±" not in console.export_text()
