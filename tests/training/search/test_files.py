"""Queries and judgements in the public forms, and what is said of files that are wrong."""

from pathlib import Path

import numpy as np
import pytest

from features.queries import Clause, ItemClause, TextClause
from recsys.errors import DataError
from recsys.history import History
from recsys.ids import IdMap
from recsys.retrieval import Owners
from recsys.search import EncodedClause, EncodedQuery, parse_words
from training.search import graded_queries, read_qrels, read_query_files

ITEMS = IdMap(["mug", "vase", "bowl", "a b"])
QRELS = "q1 0 mug 1\nq1 0 vase 0\nq2 0 bowl 2\n\nq3 0 mug -1\n"


def encode(clauses: list[Clause]) -> EncodedQuery:
    (clause,) = clauses
    if isinstance(clause, ItemClause):
        return EncodedQuery(clauses=(EncodedClause(kind="item", item=clause.item),))
    assert isinstance(clause, TextClause)
    return EncodedQuery(clauses=(EncodedClause(kind="text", words=parse_words(clause.text)),))


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def qrels(tmp_path: Path) -> Path:
    return write(tmp_path / "qrels.txt", QRELS)


def test_judgements_of_trec_and_beir_are_equal(tmp_path: Path, qrels: Path) -> None:
    expected = {"q1": {"mug": 1.0, "vase": 0.0}, "q2": {"bowl": 2.0}, "q3": {"mug": -1.0}}
    assert read_qrels(qrels) == expected
    rows = "q1\tmug\t1\nq1\tvase\t0\nq2\tbowl\t2\nq3\tmug\t-1\n"
    assert read_qrels(write(tmp_path / "a.tsv", "query-id\tcorpus-id\tscore\n" + rows)) == expected
    assert read_qrels(write(tmp_path / "b.tsv", rows)) == expected
    assert read_qrels(write(tmp_path / "c.tsv", "q1\ta b\t1")) == {"q1": {"a b": 1.0}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.jsonl", '{"_id": "q1", "text": "a mug", "metadata": {}}\n{"_id": "q2", "text": "bowl"}\n'),
        ("q.tsv", "q1\ta mug\nq2\tbowl\n"),
        ("q.tsv", "query_id\tquery\nq1\ta mug\nq2\tbowl\n"),
        ("q.csv", "query_id,query\nq1,a mug\nq2,bowl\nq9,not judged\n"),
    ],
)
def test_queries_in_each_form(tmp_path: Path, qrels: Path, name: str, text: str) -> None:
    files = read_query_files(write(tmp_path / name, text), qrels)
    found, notes = graded_queries(files, ITEMS, encode)
    assert [each.group for each in found] == ["query q1", "query q2"]
    assert [each.grades for each in found] == [{2: 1.0, 3: 0.0}, {4: 2.0}]
    assert all(each.is_answerable and each.history is None for each in found)
    assert not notes


def test_users_items_and_queries_that_nothing_answers(tmp_path: Path, qrels: Path) -> None:
    rows = "query_id,query,item_id,user_id\nq1,,vase,ann\nq3,violin,,bob\n"
    files = read_query_files(write(tmp_path / "q.csv", rows), qrels)
    past = History.empty()
    found, _ = graded_queries(files, ITEMS, encode, {"ann": past}.get)
    assert [(each.group, each.history) for each in found] == [("ann", past), ("bob", None)]
    assert found[0].query.clauses[0].item == 3
    assert [each.is_answerable for each in found] == [True, False]


def test_items_that_the_catalogue_lacks_are_left_out_and_counted(tmp_path: Path) -> None:
    judged = write(tmp_path / "qrels.txt", "q1 0 mug 1\nq1 0 gone 1\nq2 0 lost 1\n")
    files = read_query_files(write(tmp_path / "q.tsv", "q1\tmug\nq2\tlost\n"), judged)
    found, notes = graded_queries(files, ITEMS, encode)
    assert [each.grades for each in found] == [{2: 1.0}]
    assert notes == (
        "2 judgements are of items that the catalogue lacks",
        "1 queries are left out, because only such items answer them",
    )
    with pytest.raises(DataError, match="has none of the relevant items of 2 queries"):
        graded_queries(files, IdMap(["other"]), encode)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 mug\n", r"row 1: 'q1 mug': write query, 0, item and grade"),
        ("q1 0 mug 1\nq1 0 vase yes\n", r"row 2: grade 'yes' is no number"),
        ("q1 0 mug nan\n", r"row 1: grade 'nan' is no number"),
        ("q1 0 mug 1\nq1 0 mug 2\n", r"row 2: judges 'mug' for query 'q1' again"),
        ("\n", "has no judgements"),
        ("query-id\tcorpus-id\tscore\n", "has no judgements"),
    ],
)
def test_wrong_judgements(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_qrels(write(tmp_path / "qrels.txt", text))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", '{"_id": "q1", "text": "a"}\n{"_id": "q2"}\n', r"row 2: .*: write \{\"_id\""),
        ("q.jsonl", '{"_id": "q1", "text": "a"}\n{"_id"\n', r"row 2: "),
        ("q.tsv", "q1 a mug\n", r"row 1: 'q1 a mug': write an id, a tab and the words"),
        ("q.tsv", "q1\ta\nq1\tb\n", r"row 2: query 'q1' repeats row 1"),
        ("q.tsv", "q1\t \n", r"row 1: query 'q1' has no words|row 1: 'q1': write an id"),
        ("q.tsv", "q7\tother\n", r"judges none of the 1 queries of q.tsv; its first query is 'q1'"),
    ],
)
def test_wrong_queries(tmp_path: Path, qrels: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_query_files(write(tmp_path / name, text), qrels)


def test_a_file_that_is_missing_or_no_text(tmp_path: Path, qrels: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_qrels(tmp_path / "none.txt")
    with pytest.raises(DataError, match="is a folder"):
        read_qrels(tmp_path)
    (tmp_path / "latin.tsv").write_bytes(b"q1\tcaf\xe9\n")
    with pytest.raises(DataError, match="is not UTF-8 at byte 6"):
        read_query_files(tmp_path / "latin.tsv", qrels)


def test_a_query_sees_only_what_its_user_may_see(tmp_path: Path) -> None:
    judged = write(tmp_path / "qrels.txt", "q1 0 mug 1\nq1 0 vase 1\nq2 0 mug 1\nq3 0 bowl 1\n")
    rows = "query_id,query,item_id,user_id\nq1,mug,,ann\nq2,mug,,bob\nq3,bowl,,\n"
    owners = Owners(["ann", "bob", None, None])  # of mug, vase, bowl and "a b"
    files = read_query_files(write(tmp_path / "q.csv", rows), judged)
    found, notes = graded_queries(files, ITEMS, encode, owners=owners)
    assert [each.group for each in found] == ["ann", "query q3"], "bob may not see the only answer"
    assert [each.grades for each in found] == [{2: 1.0}, {4: 1.0}]
    seen = [np.flatnonzero(each.allowed).tolist() for each in found if each.allowed is not None]
    assert seen == [[2, 4, 5], [4, 5]]
    assert notes == (
        "2 judgements are of items that the user of the query may not see",
        "1 queries are left out, because only such items answer them",
    )
    rows = "query_id,query,item_id,user_id\nq3,,vase,ann\n"
    files = read_query_files(write(tmp_path / "like.csv", rows), judged)
    with pytest.raises(DataError, match=r"item_id = 'vase' is no item of the catalogue"):
        graded_queries(files, ITEMS, encode, owners=owners)
