"""The findings in words follow from the results, good or bad."""

from dataclasses import replace

import pytest
from report_parts import evaluation, gap, view

from features.leakage.audit import Audit
from recsys.metrics.bootstrap import Estimate
from training.evaluation.names import metric_name
from training.report.words import (
    Comparison,
    Finding,
    audit_words,
    baselines,
    compare,
    findings,
    formatted,
    headline,
    listed,
    main_view,
    short,
    tagline,
    verdict,
)

AHEAD, EVEN, BEHIND = gap(0.02, 0.01, 0.03), gap(0.01, -0.01, 0.03), gap(-0.02, -0.03, -0.01)
COMPETITORS = ("als", "popularity")


def comparison(
    gaps: dict[str, Estimate], *, view: str = "warm", num_users: int = 100, **values: float
) -> Comparison:
    models = {"recsys": gap(0.2, 0.1, 0.3)} | {name: gap(0.1, 0.05, 0.15) for name in gaps}
    models |= {name: gap(value, value, value) for name, value in values.items()}
    return Comparison(view=view, metric="ndcg@10", num_users=num_users, models=models, gaps=gaps)


def reported(each: Comparison, *competitors: str) -> list[tuple[str, str]]:
    return [(found.verdict, found.text) for found in findings(each, competitors).found]


def test_a_difference_counts_where_its_interval_does_not_contain_zero() -> None:
    assert [verdict(each) for each in (AHEAD, EVEN, BEHIND)] == ["ahead", "even", "behind"]
    assert verdict(gap(0.0, 0.0, 0.0)) == "even"
    assert verdict(gap(0.1, 0.0, 0.2)) == "even"


@pytest.mark.parametrize(
    ("als", "popularity", "expected"),
    [
        (AHEAD, AHEAD, "Better than ALS and popularity on warm items"),
        (EVEN, AHEAD, "Not clearly better than ALS on warm items"),
        (BEHIND, AHEAD, "Worse than ALS on warm items"),
        (BEHIND, BEHIND, "Worse than ALS and popularity on warm items"),
        (EVEN, BEHIND, "Worse than popularity on warm items"),
    ],
)
def test_the_tagline_names_better_competitors_first(
    als: Estimate, popularity: Estimate, expected: str
) -> None:
    assert tagline(comparison({"als": als, "popularity": popularity}), COMPETITORS) == expected


def test_without_a_baseline_nothing_is_claimed() -> None:
    assert tagline(comparison({}), ()).startswith("No baseline was evaluated")


def test_the_headline_has_value_interval_and_users() -> None:
    assert headline(comparison({}, num_users=1)) == (
        "NDCG@10 is 0.2000 (95% interval 0.1000 to 0.3000) on warm items, over 1 test user."
    )


class TestFindings:
    def test_each_competitor_has_its_own(self) -> None:
        each = comparison({"als": BEHIND, "popularity": EVEN})
        assert findings(each, COMPETITORS).found == (
            Finding(verdict="behind", text="Worse than ALS", gap=BEHIND),
            Finding(verdict="even", text="No clear difference from popularity", gap=EVEN),
        )

    def test_competitors_without_a_hit_share_one(self) -> None:
        each = comparison({"als": AHEAD, "popularity": AHEAD}, als=0.0, popularity=0.0)
        assert reported(each, *COMPETITORS) == [("ahead", "ALS and popularity have no hit")]
        assert reported(each, "popularity") == [("ahead", "Popularity has no hit")]

    def test_a_hit_is_no_merit_where_chance_has_more(self) -> None:
        each = comparison({"als": AHEAD, "random": BEHIND}, als=0.0)
        assert reported(each, "als") == [("even", "ALS has no hit"), ("behind", "Worse than chance")]

    def test_chance_has_no_finding_where_the_model_is_better(self) -> None:
        assert reported(comparison({"random": AHEAD})) == []

    def test_gains_of_the_ranker_and_of_content(self) -> None:
        each = comparison({"recsys, towers alone": BEHIND, "id-only model": AHEAD})
        assert reported(each) == [
            ("behind", "The ranker worsens the result"), ("ahead", "Content improves the result"),
        ]  # fmt: skip
        each = comparison({"recsys, towers alone": EVEN})
        assert reported(each) == [("even", "The ranker makes no clear difference")]

    def test_the_share_of_the_oracle(self) -> None:
        each = comparison({"random": AHEAD, "oracle": BEHIND}, random=0.1, oracle=0.5)
        assert reported(each) == [("even", "25% of the distance from chance to the oracle")]

    def test_few_users_are_unreliable(self) -> None:
        assert reported(comparison({"als": AHEAD}, num_users=7), "als")[-1] == (
            "even",
            "With only 7 users none of these differences is reliable",
        )


def test_competitors_are_ordered_and_variants_are_none() -> None:
    values = {"recsys": 0.5, "recsys, towers alone": 0.6, "popularity": 0.1, "als": 0.2, "random": 0.9}
    assert baselines(evaluation(warm=view(**values)), "warm", "ndcg@10") == ["als", "popularity"]


def test_the_main_view_of_a_test_of_cold_items_alone() -> None:
    assert main_view(evaluation(warm=view(), cold_full=view())) == "warm"
    assert main_view(evaluation(cold_full=view())) == "cold_full"


def test_a_comparison_has_the_results_of_its_view() -> None:
    warm = replace(view(recsys=0.5, popularity=0.25), differences={"popularity": {"ndcg@10": AHEAD}})
    results = evaluation(warm=warm)
    found = compare(results, "warm")
    assert found is not None
    assert found.gaps == {"popularity": AHEAD}
    assert found.models["recsys"].value == 0.5
    assert compare(results, "cold_full") is None


def test_names_and_numbers() -> None:
    assert formatted(-0.01234) == "−0.0123"
    assert formatted(1234.56) == "1,234.6"
    assert metric_name("ndcg@10") == "NDCG@10"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert short("a\n b", 10) == "a b"
    assert short("x" * 20, 10) == "x" * 9 + "…"


def test_the_audit_names_its_checks_and_omissions() -> None:
    audits = {
        "main": Audit(checked=("a", "b"), not_checked=("c",)),
        "refit": Audit(checked=("of the refit",)),
        "test": Audit(checked=("d",), not_checked=("c",)),
    }
    assert audit_words(audits) == "Audited for leaks, none found: a; b; d. Not checked: c."
    assert audit_words({"main": Audit(checked=("a",))}) == "Audited for leaks, none found: a."
    assert "not audited" in audit_words({"refit": Audit(checked=("a",))})
