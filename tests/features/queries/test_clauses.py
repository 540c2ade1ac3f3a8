"""Weights and number of the clauses of a query."""

import math

import pytest

from features.queries.clauses import MAX_WEIGHT, QueryLimits, TextClause, checked_clauses
from recsys.errors import RequestError

LIMITS = QueryLimits(max_clauses=3)


def clauses(*weights: float) -> list[TextClause]:
    return [TextClause(name=f"clauses.{at}", text="red", weight=weight) for at, weight in enumerate(weights)]


def test_clauses_of_weight_0_are_left_out() -> None:
    kept = checked_clauses(clauses(1.0, 0.0, -0.5), LIMITS)
    assert [each.name for each in kept] == ["clauses.0", "clauses.2"]


@pytest.mark.parametrize(
    ("weights", "field", "message"),
    [
        ((), "query", "is empty"),
        ((1, 1, 1, 1), "clauses", "has 4 entries; give at most 3"),
        ((0, 0), "clauses", "every weight is 0"),
        ((-1,), "clauses", "only moves items down, add one that finds items"),
        ((0, -1), "clauses", "no weight is above 0"),
        ((1, math.nan), "clauses.1.weight", "must be a number from -100 to 100"),
        ((math.inf,), "clauses.0.weight", "must be a number"),
        ((1, -MAX_WEIGHT - 1), "clauses.1.weight", "must be a number"),
    ],
)
def test_what_is_refused(weights: tuple[float, ...], field: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        checked_clauses(clauses(*weights), LIMITS)
    assert refused.value.field == field
