"""Validation users before some items existed: events on these items become ground truth."""

import numpy as np
from model_parts import tiny_history

from training.cold_start.validation_users import PastInteractions, ValidationUsers

NEW = np.isin(np.arange(30), [5, 7])


def _users(past: bool = True) -> ValidationUsers:
    histories = [tiny_history([3, 5, 4, 7, 5], review_text={}), tiny_history([8, 9], review_text={})]

    def embed(given):
        return np.array([[history.item.sum(), len(history)] for history in given], np.float32)

    return ValidationUsers(
        user_UD=embed(histories),
        ground_truth=[np.array([7, 11]), np.array([5])],
        seen=[history.seen for history in histories],
        past=PastInteractions(histories=histories, chosen=[np.array([3, 5, 5]), np.array([8])], embed=embed)
        if past
        else None,
    )


def test_before_they_came_all_that_was_chosen_of_them_is_to_be_found():
    before = _users().before(NEW)
    np.testing.assert_array_equal(before.user_UD, [[7, 2], [17, 2]])
    assert [list(items) for items in before.ground_truth] == [[5, 7], [5]]
    assert [list(items) for items in before.seen] == [[3, 4], [8, 9]]


def test_without_past_interactions_users_stay_as_they_are():
    users = _users(past=False)
    assert users.before(NEW) is users


def test_some_of_them_keep_their_own_past():
    some = _users().only([1], ordered=np.array([[4, 6]]))
    np.testing.assert_array_equal(some.user_UD, [[17, 2]])
    np.testing.assert_array_equal(some.ordered, [[4, 6]])
    assert [list(items) for items in some.before(NEW).ground_truth] == [[5]]
