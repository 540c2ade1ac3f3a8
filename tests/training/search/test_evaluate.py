"""Evaluation of search on seven items made by hand, against a slow reference and hand-computed values."""

import io
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.console import Console
from search_parts import picture, query, scorer, text

from recsys.errors import RequestError
from recsys.history import History
from recsys.search import (
    Calibration,
    FusionWeights,
    PersonalScores,
    Searcher,
    SearchResults,
    SearchSettings,
)
from training.search import GradedQuery, SearchEvaluation, evaluate_search, search_tables
from training.search.quality.lists import ListMaker
from training.search.quality.results import DENSE, HYBRID, LEXICAL, PERSONAL

SETTINGS = SearchSettings()
ASKED = (
    # Titles: 2, 3, 4, 5. Words: 2 and 4 alike, then nothing. Relevant: 3.
    GradedQuery(query=query(text("red", 0.0)), grades={3: 1.0}, group="ann"),
    GradedQuery(query=query(text("shoe", 90.0)), grades={5: 2.0, 3: 1.0}, group="ann"),
    GradedQuery(query=query(text("hat", 60.0)), grades={4: 1.0}, group="bob"),
)


def measured(queries=ASKED, *, settings=SETTINGS, personalizer=None, parts=None, **options):
    searcher = Searcher(parts or scorer(heads=None), settings, personalizer)
    return evaluate_search(searcher, queries, **options)


def values(found: SearchEvaluation, metric: str) -> dict[str, float]:
    return {name: each[metric].value for name, each in found.systems.items()}


def test_each_leg_alone_by_hand():
    found = measured()
    ndcg = values(found, "ndcg@10")
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    # lexical: "red" finds 2, 4 and not 3; "shoe" 2, 3; "hat" 4, 5.
    of_b = second / (2 + second)
    assert ndcg[LEXICAL] == pytest.approx((0 + of_b + 1) / 3)
    # title: 0 degrees 2, 3; 90 degrees 5, 4, 3; 60 degrees 4.
    of_b = (2 + third) / (2 + second)
    assert ndcg["title"] == pytest.approx((second + of_b + 1) / 3)
    assert set(found.systems) == {LEXICAL, "title", DENSE, HYBRID}, "no leg of pictures without heads"
    assert values(found, "recall@10")[LEXICAL] == pytest.approx((0 + 1 / 2 + 1) / 3)
    assert values(found, "mrr@100")["title"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found.best_leg == "title"
    assert (found.num_queries, found.num_unanswerable, found.num_clusters) == (3, 0, 2)


@pytest.mark.parametrize("has_calibration", [False, True])
def test_the_lists_are_those_of_a_search_for_each_system(has_calibration: bool):
    """One scoring of a query for all systems, against a search for each of them."""
    calibration = Calibration(intercept=-2.0, weights={"coverage": 4.0}) if has_calibration else None
    settings = SearchSettings(
        calibration={} if calibration is None else {"text": calibration},
        min_relevance=0.5,
        fusion={"text": FusionWeights(standardized={"lexical": 1.0, "title": 0.5, "popularity": 0.2})},
    )
    searcher = Searcher(scorer(), settings)
    plain = searcher.with_settings(settings.model_copy(update={"fusion": {}}))
    red, shoe = text("red", 30.0), text("shoe", 90.0)
    asked = [
        query(red), query(text("violin", 10.0)), query(picture(45.0)), query(shoe, picture(20.0)),
        query(red, replace(shoe, weight=-0.5)), replace(query(red), modality_weights={"title": 0.0}),
        query(picture(45.0), replace(red, weight=-1.0)),
    ]  # fmt: skip
    maker = ListMaker(searcher, 7, None)
    assert {"lexical", "title", "image", DENSE} == set(maker.systems)
    num_unanswered = 0
    for each in asked:
        found = maker.lists(GradedQuery(query=each, grades={2: 1.0}, group="g"))
        expected = searcher.search(each, 7, min_relevance=0.0, personal=0.0, explain=False)
        _assert_equal(found.by_system[HYBRID], expected)
        for name, off in maker.systems.items():
            alone = replace(each, modality_weights={**each.modality_weights, **dict.fromkeys(off, 0.0)})
            if found.by_system[name] is None:
                num_unanswered += 1
                with pytest.raises(RequestError, match="modality_weights"):
                    plain.search(alone, 7, min_relevance=0.0, personal=0.0)
            else:
                expected = plain.search(alone, 7, min_relevance=0.0, personal=0.0, explain=False)
                _assert_equal(found.by_system[name], expected)
        if has_calibration:
            _assert_equal(found.ended, searcher.search(each, 7, personal=0.0, explain=False))
        else:
            assert found.ended is None
    assert num_unanswered > 3


def _assert_equal(found: SearchResults | None, expected: SearchResults) -> None:
    assert found is not None
    assert found.items.tolist() == expected.items.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.relevance, expected.relevance)
    assert found.explanations == expected.explanations


def test_the_intervals_draw_users_and_differences_are_paired():
    found = measured()
    # Two users: a resample is ann alone, bob alone, or both; the queries of ann stay together.
    of_ann, of_bob = (measured([each for each in ASKED if each.group == user]) for user in ("ann", "bob"))
    for system, metrics in found.systems.items():
        possible = (
            of_ann.systems[system]["ndcg@10"].value,
            of_bob.systems[system]["ndcg@10"].value,
            metrics["ndcg@10"].value,
        )
        assert metrics["ndcg@10"].low == pytest.approx(min(possible))
        assert metrics["ndcg@10"].high == pytest.approx(max(possible))
    gap = found.differences[LEXICAL]["ndcg@10"]
    assert gap.value == pytest.approx(
        found.systems[HYBRID]["ndcg@10"].value - found.systems[LEXICAL]["ndcg@10"].value
    )
    assert gap.low >= found.systems[HYBRID]["ndcg@10"].low - found.systems[LEXICAL]["ndcg@10"].high
    assert found.beats_best_leg == found.differences["title"]["ndcg@10"]


def test_a_leg_has_no_value_for_a_query_that_it_cannot_answer():
    asked = GradedQuery(query=query(picture(0.0)), grades={6: 1.0}, group="d")
    found = measured([*ASKED, asked])
    words = measured()
    assert values(found, "ndcg@10")[LEXICAL] == pytest.approx(values(words, "ndcg@10")[LEXICAL])
    assert values(found, "ndcg@10")["image"] == 1, "it answers the picture alone"
    assert found.num_clusters == 3
    assert set(measured([asked]).systems) == {"image", DENSE, HYBRID}


def test_the_personal_order_is_measured_for_known_users():
    def likes_five(history: History, items: np.ndarray) -> PersonalScores:
        return PersonalScores(
            scores=(items == 5).astype(np.float32), past_items=np.zeros(len(items), np.int64)
        )

    known = [ASKED[0], replace(ASKED[1], history=History.empty()), ASKED[2]]
    found = measured(known, personalizer=likes_five, settings=SearchSettings(personal=1.0))
    only_b = measured([ASKED[1]])
    assert found.systems[PERSONAL]["mrr@100"].value == 1, "5 is first"
    gap = found.systems[PERSONAL]["ndcg@10"].value - only_b.systems[HYBRID]["ndcg@10"].value
    assert found.personal["ndcg@10"].value == pytest.approx(gap)
    assert found.systems[HYBRID] == measured().systems[HYBRID], "the hybrid is impersonal"
    impersonal = measured(known, personalizer=likes_five, personal=0.0)
    assert impersonal.personal["ndcg@10"].value == 0
    assert not measured().personal


def test_reliability_and_the_end_of_lists():
    # Relevance is the sigmoid of 4 * (coverage - 0.5): .88 with the word and .12 without it.
    calibration = Calibration(intercept=-2.0, weights={"coverage": 4.0})
    settings = SearchSettings(calibration={"text": calibration}, min_relevance=0.5)
    unanswerable = [
        GradedQuery(query=query(text("violin", 0.0)), grades={}, group="x"),
        GradedQuery(query=query(text("blue", 0.0)), grades={2: 0.0}, group="y"),
    ]
    found = measured([*ASKED, *unanswerable], settings=settings)
    assert found.num_unanswerable == 2
    assert found.reliability is not None
    assert found.endings is not None
    low, high = found.reliability.bins
    # Hits: every item that a leg judges. With the word: 2, 4; 2, 3; 4, 5. Relevant: none; 3; 4.
    assert (high.num_hits, high.share_relevant) == (6, pytest.approx(2 / 6))
    assert high.mean_relevance == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)
    assert (low.num_hits, low.share_relevant) == (6, pytest.approx(2 / 6))  # 3 of "a" and 5 of "b"
    expected = (abs(high.mean_relevance - 1 / 3) + abs(low.mean_relevance - 1 / 3)) / 2
    assert found.reliability.error == pytest.approx(expected)
    # At the threshold: "a" has 2 and 4, none relevant; "b" 2 and 3; "c" 4 and 5. "violin" ends empty.
    assert found.endings.share_found is not None
    assert found.endings.share_found.value == pytest.approx(2 / 3)
    assert found.endings.share_empty is not None
    assert found.endings.share_empty.value == 0
    assert found.endings.mean_length == 2
    assert found.endings.share_answered_wrongly is not None
    assert found.endings.share_answered_wrongly.value == 0.5
    assert measured().reliability is None
    assert measured().endings is None


def test_results_survive_json_and_are_shown():
    calibration = Calibration(intercept=-2.0, weights={"coverage": 4.0})
    settings = SearchSettings(calibration={"text": calibration}, min_relevance=0.5)
    found = measured(settings=settings, description="three queries")
    read = SearchEvaluation.of_dict(json.loads(json.dumps(asdict(found), allow_nan=False)))
    assert read == found
    assert read.flat()["search/title/ndcg@10"] == found.systems["title"]["ndcg@10"].value
    assert set(found.milliseconds) >= {"lexical", "dense", "fusion", "whole"}
    console = Console(width=250, record=True, file=io.StringIO())
    for table in search_tables(found):
        console.print(table)
    shown = console.export_text()
    for words in ("NDCG@10", "hybrid", "best leg", "three queries", "3 queries of 2 users", "95%"):
        assert words in shown


def test_without_an_answerable_query():
    found = measured([GradedQuery(query=query(text("violin", 0.0)), grades={}, group="x")])
    assert (found.num_queries, found.num_unanswerable, found.num_clusters) == (1, 1, 0)
    assert not found.systems
    assert found.best_leg is None
    assert list(search_tables(found))
