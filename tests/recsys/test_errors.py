"""Messages have the rejected value and the remedy."""

import pytest

from recsys import errors
from recsys.errors import (
    ConfigError,
    DataError,
    LeakError,
    MissingExtraError,
    RecsysError,
    RequestError,
    did_you_mean,
)


def test_every_error_belongs_to_the_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 16
    assert all(issubclass(kind, RecsysError) for kind in kinds)


@pytest.mark.parametrize("kind", [ConfigError, DataError, RequestError])
def test_callers_mistakes_are_value_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, ValueError)


def test_data_error_lists_every_problem() -> None:
    error = DataError("ratings.csv", ["row 3: user is empty", "row 7: rating 'x' is no number"])
    assert error.problems == ("row 3: user is empty", "row 7: rating 'x' is no number")
    assert str(error) == "ratings.csv\n  - row 3: user is empty\n  - row 7: rating 'x' is no number"


def test_data_error_without_problems_is_its_message() -> None:
    assert str(DataError("empty")) == "empty"


def test_missing_extra_says_what_to_install() -> None:
    assert "pip install 'recsys[faiss]'" in str(MissingExtraError("faiss-cpu", "faiss"))


def test_a_leak_names_where_it_is_and_the_remedy() -> None:
    error = LeakError("popularity counts too much", table="popularity", item="x", remedy="count less")
    assert str(error) == "leak: popularity counts too much (popularity, item 'x'); count less"
    assert (error.table, error.user, error.item) == ("popularity", None, "x")


def test_request_error_names_the_field() -> None:
    error = RequestError("item_id", "unknown item 'x'")
    assert (error.field, str(error)) == ("item_id", "item_id: unknown item 'x'")


def test_did_you_mean_names_the_nearest_or_all() -> None:
    assert did_you_mean("epoch", ["epochs", "seed"]) == "did you mean 'epochs'?"
    assert did_you_mean("zzz", ["seed", "epochs"]) == "known: epochs, seed"


def test_a_long_list_of_names_is_cut() -> None:
    assert did_you_mean("zzz", (f"{n:03}" for n in range(1000))).endswith(", 018, 019 and 980 more")
