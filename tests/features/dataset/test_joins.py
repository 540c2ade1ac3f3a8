"""Ids that join two tables: misses are counted on both sides, near misses are named and cannot leak."""

from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, problems, reasons, write
from prepared_parts import streamed
from walk_parts import recsys

from features.dataset.joins import KnownIds
from features.dataset.load import load_dataset
from features.splits.make import make_split
from recsys.config import SplitConfig
from recsys.errors import DataError

EVENTS = "user,item,time\n129,1,10\n129,2,20\n130,3,30\n131,1,30\n"
REVIEWS = {"path": "reviews.csv", "user": "user", "item": "item", "text": "text"}


@pytest.mark.parametrize(
    ("id_", "known", "ignored"),
    [
        ("00000129", "129", "leading zeros"),
        ("129", "00000129", "leading zeros"),
        ("anna", "Anna", "case"),
        ("a b", "ab", "white space"),
        ("cafe\u0301", "caf\u00e9", "Unicode normalisation"),
        ("00 AB", "ab", "leading zeros, case, white space and Unicode normalisation"),
    ],
)
def test_a_near_miss_names_the_difference(id_: str, known: str, ignored: str) -> None:
    near = KnownIds(pl.Series([known, "other"])).near_misses(pl.Series([id_, "stranger", None, known]))
    assert near.rows() == [(id_, known, ignored)]


@pytest.mark.parametrize("ids", [["0", "00"], ["a", "A"]])
def test_ids_that_are_known_as_they_are_written_are_no_near_misses(ids: list[str]) -> None:
    assert KnownIds(pl.Series(ids)).near_misses(pl.Series(ids)).height == 0


def test_users_with_leading_zeros_are_counted_and_named(tmp_path: Path) -> None:
    users = "id,town\n00000129,Bonn\n00000130,Rom\n131,Oslo\n7,Lima\n"
    root = write(
        tmp_path, {"events.csv": EVENTS, "users.csv": users},
        users={"path": "users.csv", "id": "id", "categories": ["town"]},
    )  # fmt: skip
    for dataset in (load_dataset(root), streamed(root)):
        assert dataset.unmatched_ids == {
            "rows of users without interactions": 3, "users of the interactions without a row": 2,
        }  # fmt: skip
    answer = recsys("check", root)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert (
        "Warning: [users] users.csv: column 'id': 1 of 4 users have interactions; 2 differ from users of "
        "the interactions in leading zeros only ('00000129' here, '129' there): write both alike" in said
    )
    assert "ids without a match" in said


def test_most_users_being_near_misses_is_an_error(tmp_path: Path) -> None:
    users = "id,town\n00000129,Bonn\n00000130,Rom\n00000131,Oslo\n"
    root = write(
        tmp_path, {"events.csv": EVENTS, "users.csv": users},
        users={"path": "users.csv", "id": "id", "categories": ["town"]},
    )  # fmt: skip
    for read in (load_dataset, streamed):
        with pytest.raises(DataError) as caught:
            read(root)
        assert caught.value.problems == (
            "[users] users.csv: column 'id': 0 of 3 users have interactions; 3 differ from users of the "
            "interactions in leading zeros only ('00000129' here, '129' there): write both alike, else "
            "nothing is learned from their fields",
        )
    answer = recsys("check", root)
    assert answer.code == 1
    assert "0 of 3 users have interactions" in answer.err
    assert "DataError" not in answer.err


@pytest.mark.parametrize("kind", [pl.Decimal(38, 1), pl.Float64])
def test_a_number_without_a_fraction_is_the_same_id_as_an_integer(tmp_path: Path, kind: pl.DataType) -> None:
    events = pl.DataFrame(
        {
            "user": ["a", "a", "b", "b"],
            "item": pl.Series([1.0, 2.0, 3.0, 1.5]).cast(kind),
            "time": [1, 2, 3, 4],
        }
    )
    events.write_parquet(tmp_path / "events.parquet")
    root = write(
        tmp_path, {"items.csv": "id,title\n1,x\n2,x\n3,x\n1.5,x\n"}, interactions={"path": "events.parquet"}
    )
    for dataset in (load_dataset(root), streamed(root, part_rows=2)):
        assert dataset.interactions["item_id"].to_list() == ["1", "2", "3", "1.5"]
        (warning,) = dataset.warnings
        assert "column 'item': 1 row ('1.5' in row 3): a number with a fraction as an id" in warning


def test_users_that_have_nothing_to_do_with_the_interactions(tmp_path: Path) -> None:
    section: dict[str, object] = {"path": "users.csv", "id": "id"}
    dataset = load(tmp_path, {"users.csv": "id\nx\ny\n"}, users=section)
    (warning,) = dataset.warnings
    assert warning.endswith(
        "0 of 2 users have interactions (the first is 'x', the interactions have 'a'); unless all of them "
        "are new, write their ids as in the interactions"
    )


def test_strangers_among_reviewers_are_counted_and_stay(tmp_path: Path) -> None:
    reviews = "user,item,text\n129,1,good\nstranger,2,bad\n"
    dataset = load(tmp_path, {"events.csv": EVENTS, "reviews.csv": reviews}, reviews=dict(REVIEWS))
    assert dataset.reviews.height == 2
    assert dataset.warnings == ()
    assert dataset.unmatched_ids == {
        "reviewers without interactions": 1, "users of the interactions without a review": 2,
    }  # fmt: skip


def test_a_review_by_a_near_miss_is_rejected_so_that_it_cannot_leak(tmp_path: Path) -> None:
    """Its (user, item) pair is in the test; the rule of held pairs would not find it."""
    reviews = "user,item,text\n129,1,fine\n130,3,held\n0129,2,leak\n131,1,held\n"
    root = write(tmp_path, {"events.csv": EVENTS, "reviews.csv": reviews}, reviews=dict(REVIEWS))
    for dataset in (load_dataset(root), streamed(root)):
        (entry,) = reasons(dataset)
        reason = "a user who differs from one of the interactions in leading zeros only; write both alike"
        assert entry == ("reviews", 2, "user", "0129", reason)
        assert "3 of 4 reviewers have interactions; 1 differ from users of the" in dataset.warnings[0]
        split = make_split(dataset, SplitConfig(protocol="leave_one_out"), tmp_path / "parts")
        assert "leak" not in split.reviews["text"].to_list()


def test_most_reviewers_being_near_misses_is_an_error(tmp_path: Path) -> None:
    reviews = "user,item,text\n00129,1,a\n00130,2,b\n131,1,c\n"
    (found,) = problems(tmp_path, {"events.csv": EVENTS, "reviews.csv": reviews}, reviews=dict(REVIEWS))
    assert found == (
        "[reviews] reviews.csv: column 'user': 1 of 3 reviewers have interactions; 2 differ from users of "
        "the interactions in leading zeros only ('00129' here, '129' there): write both alike, else their "
        "reviews could not be hidden from a test"
    )


def test_events_on_near_misses_of_items_say_so(tmp_path: Path) -> None:
    events = "user,item,time\na,1,10\na,002,20\nb,9,30\n"
    root = write(tmp_path, {"events.csv": events})
    expected = [
        ("002", "an item that differs from one of the items table in leading zeros only; write both alike"),
        ("9", "an item that the items table does not have"),
    ]
    assert [(value, reason) for *_, value, reason in reasons(load_dataset(root))] == expected
    log = streamed(root).log
    assert [(each["example"]["value"], each["reason"]) for each in log.manifest.rejected] == expected
