"""The table beyond accuracy: one sentence for each metric, with the values of the run."""

from dataclasses import replace

from report_parts import evaluation, gap, view

from recsys.metrics.bootstrap import Estimate
from training.evaluation.results import Evaluation
from training.report.beyond import beyond

MAIN = {"coverage@10": gap(0.5, 0.4, 0.6), "ild@10": gap(0.75, 0.7, 0.8), "arp@10": gap(1234.5, 1200, 1300)}
OTHER = {"coverage@10": gap(0.25, 0.2, 0.3), "ild@10": gap(0.74, 0.7, 0.8)}
GAPS = {"coverage@10": gap(0.25, 0.1, 0.4), "ild@10": gap(0.01, -0.1, 0.1)}


def evaluated(gaps: dict[str, Estimate] = GAPS) -> Evaluation:
    found = view(recsys=0.5, random=0.1, popularity=0.25)
    models = {name: {**by, **(MAIN if name == "recsys" else OTHER)} for name, by in found.models.items()}
    warm = replace(found, models=models, differences={"popularity": gaps})
    return replace(evaluation(warm=warm), content=("title", "review_text"))


def test_rows_and_cells() -> None:
    found = beyond(evaluated(), "popularity")
    assert found is not None
    assert (found.view, found.num_users) == ("warm", 100)
    assert found.metrics == ("coverage@10", "ild@10", "arp@10"), "metrics that any model has, accuracy aside"
    assert [(row.model, row.kind) for row in found.rows] == [
        ("recsys", "main"), ("popularity", "competitor"), ("random", "reference"),
    ]  # fmt: skip
    assert found.rows[0].cells == tuple(MAIN.values())
    assert found.rows[1].cells == (*OTHER.values(), None)


def test_sentences_follow_the_paired_difference() -> None:
    found = beyond(evaluated(), "popularity")
    assert found is not None
    coverage, diversity, popularity = (each.text for each in found.meanings)
    assert coverage == (
        "Coverage@10: share of the 7 items that are in at least one list. "
        "Here 0.5000, popularity 0.2500: more."
    )
    assert "by their title and review text" in diversity
    assert diversity.endswith("Here 0.7500, popularity 0.7400: no clear difference.")
    assert popularity.endswith("training events of a listed item."), "popularity has no value to compare with"
    fewer = beyond(evaluated({"coverage@10": gap(-0.2, -0.3, -0.1)}), "popularity")
    assert fewer is not None
    assert fewer.meanings[0].text.endswith(": less.")


def test_without_a_baseline_the_metrics_are_explained_alone() -> None:
    found = beyond(evaluated(), None)
    assert found is not None
    assert found.meanings[0].text == "Coverage@10: share of the 7 items that are in at least one list."


def test_without_such_metrics_there_is_no_table() -> None:
    assert beyond(evaluation(warm=view(recsys=0.5)), None) is None
    assert beyond(evaluation(), None) is None
