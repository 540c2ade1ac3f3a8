"""Slices and paired differences, counted by hand on four users."""

import math
from dataclasses import replace

import numpy as np
import pytest
from report_parts import IDS, answers, lists

from recsys.batches import Floats
from training.slices import FEW_USERS, by_history, by_popularity, differences

MODELS = ("recsys", "popularity")


def popularity(**counts: int) -> Floats:
    found = np.zeros(IDS.size, np.float32)
    for name, count in counts.items():
        found[IDS.strict(name)] = count
    return found


def test_thirds_of_the_items_sought_and_the_new_ones() -> None:
    # Sought and warm: a 90, b 40, c 30, d 5, e 1. The first two of five (rounded up) are rare.
    parts = by_popularity(answers(), popularity(a=90, b=40, c=30, d=5, e=1), MODELS, 3)
    assert [part.name for part in parts] == ["popular", "middle", "rare", "new"]
    popular, middle, rare, new = parts
    assert popular.description == "items with more than 40 positive training events"
    assert middle.description == "items with 6 to 40 of them"
    assert rare.description == "items with at most 5"
    assert [(part.num_users, part.num_pairs) for part in parts] == [(1, 1), (2, 2), (2, 2), (1, 1)]
    # a: user 1 finds it. b and c: found in second place by users 1 and 2, c first by popularity for 2.
    assert popular.models["recsys"]["recall@3"].value == 1.0
    assert middle.models["recsys"]["ndcg@3"].value == pytest.approx(1 / math.log2(3))
    assert middle.models["popularity"]["ndcg@3"].value == pytest.approx(0.5)
    assert rare.models["recsys"]["recall@3"].value == 0.0
    assert rare.models["popularity"]["recall@3"].value == 0.5
    assert new.models["recsys"]["ndcg@3"].value == 1.0
    assert new.models["difference"]["ndcg@3"].value == 1.0
    assert all(part.is_small for part in parts)


def test_items_of_one_popularity_stay_together() -> None:
    parts = by_popularity(answers(), popularity(a=3, b=3, c=3, d=3, e=3), MODELS, 3)
    assert [part.num_pairs for part in parts] == [0, 0, 5, 1]
    assert parts[0].models == {}, "nobody seeks what is more popular than that"


def test_users_by_what_is_known_of_them() -> None:
    new, light, heavy = by_history(answers(), answers().warm, MODELS, 3)
    assert [part.num_users for part in (new, light, heavy)] == [1, 2, 1]  # 2; 7 and 9; 30
    assert light.description == "users with 5 to 9"
    assert heavy.description == "users with more than 9"
    assert new.models["recsys"]["recall@3"].value == 1.0
    assert light.models["recsys"]["recall@3"].value == 0.5
    assert heavy.models["recsys"]["recall@3"].value == 0.0
    whole = sum(part.num_users * part.models["recsys"]["recall@3"].value for part in (new, light, heavy)) / 4
    assert whole == pytest.approx((1 + 1 + 0 + 0) / 4), "the parts add up to the view"


def test_ours_alone_has_no_difference() -> None:
    new, *_ = by_history(answers(), answers().warm, ["recsys"], 3)
    assert set(new.models) == {"recsys"}


def test_differences_are_paired_by_user() -> None:
    found = differences(answers(), answers().warm, "recsys", 3, "recall@3")
    # recsys 1, 1, 0, 0; popularity 0, 1, 0, 1
    assert set(found) == {"popularity"}
    assert found["popularity"].value == 0.0
    assert found["popularity"].low < 0 < found["popularity"].high
    kept = answers()
    same = replace(kept, models={"recsys": kept.models["recsys"], "again": kept.models["recsys"]})
    twin = differences(same, kept.warm, "recsys", 3, "recall@3")["again"]
    assert (twin.value, twin.low, twin.high) == (0, 0, 0), "equal lists differ for no draw of users"


def test_nobody_with_truth_no_difference() -> None:
    assert differences(answers(), lists(["", "", "", ""]), "recsys", 3, "recall@3") == {}


def test_a_list_shorter_than_k_misses_what_it_lacks() -> None:
    new, *_ = by_history(answers(), answers().warm, MODELS, 10)
    assert new.models["recsys"]["recall@10"].value == 1.0


def test_a_part_is_small_below_a_number_of_users() -> None:
    part = by_history(answers(), answers().warm, MODELS, 3)[0]
    assert not replace(part, num_users=FEW_USERS).is_small
    assert replace(part, num_users=FEW_USERS - 1).is_small
