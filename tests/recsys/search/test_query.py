"""Clauses and queries that cannot be answered are refused with the field and the remedy."""

import numpy as np
import pytest
from search_parts import at, picture, query, text

from recsys.errors import RequestError
from recsys.search import EncodedClause, EncodedQuery


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_a_weight_is_finite_and_not_0(weight):
    with pytest.raises(RequestError, match="weight = "):
        text("red", weight=weight)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "smell", "item": 2}, "kind"),
        ({"kind": "text"}, "clauses"),
        ({"kind": "item", "item": 1}, "item"),
        ({"kind": "image", "vectors": {"image": np.array([1.0, np.nan], np.float32)}}, "vectors"),
        ({"kind": "image", "vectors": {"image": np.ones((1, 2), np.float32)}}, "vectors"),
    ],
)
def test_a_clause_with_nothing_to_search_for(values, field):
    with pytest.raises(RequestError) as caught:
        EncodedClause(**values)
    assert caught.value.field == field


def test_a_query_has_a_positive_clause():
    with pytest.raises(RequestError, match="an empty query"):
        EncodedQuery(clauses=())
    with pytest.raises(RequestError, match="add one with a positive weight"):
        query(text("red", weight=-1.0), picture(0.0, weight=-2.0))
    assert query(text("red"), picture(0.0, weight=-2.0)).positive == (text("red"),)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_factors_of_legs_are_not_negative(weight):
    with pytest.raises(RequestError, match=r"modality_weights\.image"):
        query(text("red", 0.0), image=weight)


def test_vectors_of_a_clause_are_kept_as_given():
    np.testing.assert_array_equal(picture(60.0).vectors["image"], at(60.0))
