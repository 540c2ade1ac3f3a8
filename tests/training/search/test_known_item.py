"""Known-item queries: texts without the title, of held-out reviews alone, and sentences taken out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from recsys.history import History
from recsys.ids import IdMap
from recsys.retrieval import Owners
from recsys.search import Document, EncodedClause, EncodedQuery, parse_words
from training.search import (
    KnownItemQuery,
    borrowed_queries,
    labelled,
    review_queries,
    sentence_queries,
    without_title,
)


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("The Red Shoe is a nice shoe for me", "Red Shoes", "The is a nice for me"),
        ("Alien's crew is all alone", "Alien", "'s crew is all alone"),
        ("a b red", "Red", None),  # two words are left
        ("red, green and blue", "", "red, green and blue"),
        ("un été à Paris, encore", "Été", "un à Paris, encore"),
    ],
)
def test_words_of_the_title_are_taken_out(text, title, expected):
    assert without_title(text, title) == expected


def test_at_most_64_words():
    assert len(without_title("w " * 100, "title").split()) == 64


def catalogue():
    """Users u0 to u3 have reviewed items a to f; all but the last are held out."""
    users = [f"u{at // 6}" for at in range(24)]
    items = list("abcdef") * 4
    reviews = pl.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "row": list(range(24)),
            "text": [f"alpha words by {user} on it" for user in users[:-2]] + [None, "one two three"],
        }
    )
    titles = pl.DataFrame({"item_id": list("abcdef"), "title": ["Alpha", *"bcdef"]})
    return SimpleNamespace(reviews=reviews, items=titles), IdMap(list("abcdef"))


def made(dataset, ids, **changes):
    options = {
        "readable": dataset.reviews.filter(pl.col("row") == 5),
        "histories": {"u0": History.empty()},
        "transcripts": {22: "what was said of it"},
    }
    return review_queries(dataset, dataset.reviews.head(23), ids, **(options | changes))


def test_reviews_of_held_out_events_become_queries():
    dataset, ids = catalogue()
    queries = made(dataset, ids, max_per_user=10)
    assert len(queries) == 22  # 23 events, of which row 5 may be read
    assert queries[0].text == "words by u0 on it"  # the title of item a is Alpha
    assert queries[1].text == "alpha words by u0 on it"
    assert (queries[0].user, queries[0].item) == ("u0", 2)
    assert queries[0].history is not None
    assert queries[-1].history is None
    assert queries[-1].text == "what was said of it"
    assert ("u0", ids.get("f")) not in {(each.user, each.item) for each in queries}


def test_the_draw_is_seeded_and_limited():
    dataset, ids = catalogue()
    queries, again, other = (
        made(dataset, ids, max_queries=7, max_per_user=3, histories={}, seed=seed) for seed in (0, 0, 1)
    )
    assert queries == again
    assert len(queries) == 7
    assert max(sum(each.user == user for each in queries) for user in ("u0", "u1", "u2", "u3")) <= 3
    assert queries != other


def test_one_sentence_is_taken_out_of_a_description():
    documents = [
        Document(
            item=2, title="Blue hat", text="A hat for the sun. It keeps you cool all day! Wash it by hand."
        ),
        Document(item=3, title="Shoe", text="Only one sentence here"),
        Document(item=4, title="Rain", text="Rain. Rain."),  # nothing is left beside the title
    ]
    queries, left = sentence_queries(documents)
    assert [each.item for each in queries] == [2]
    assert left[1:] == documents[1:]
    words = set(queries[0].text.split())
    assert words
    assert "hat" not in words
    taken = {"A for the sun.", "It keeps you cool all day!", "Wash it by hand."}
    assert queries[0].text in taken
    assert not any(queries[0].text == each for each in left[0].text.split(". "))
    assert len(left[0].text) < len(documents[0].text)


def test_the_answer_of_a_query_is_its_item():
    queries, _ = sentence_queries([Document(item=2, text="first one of all. second one of all.")])

    def encode(text):
        return EncodedQuery(clauses=(EncodedClause(kind="text", words=parse_words(text)),))

    (found,) = labelled(queries, encode)
    np.testing.assert_array_equal(found.relevant, [2])
    assert found.query.clauses[0].words.words[1:] == ("one", "of", "all")
    assert found.group == "item 0"


def test_a_user_searches_only_the_items_that_they_may_see():
    owners = Owners(["ann", "bob", None])  # of the items 2, 3, 4
    past = replace(History.empty(), seen=np.array([2, 3, 4]))

    def encode(text):
        return EncodedQuery(clauses=(EncodedClause(kind="text", words=parse_words(text)),))

    queries = [
        KnownItemQuery(text="a", item=2, user="ann", history=past),
        KnownItemQuery(text="b", item=2, user="bob", history=past),  # may not see it
        KnownItemQuery(text="c", item=4, user="bob", history=past),
        KnownItemQuery(text="d", item=3),  # of nobody, so it is the owner's
    ]
    found = labelled(queries, encode, owners)
    assert [each.relevant.tolist() for each in found] == [[2], [4], [3]]
    assert [np.flatnonzero(each.allowed).tolist() for each in found] == [[2, 4], [3, 4], [3, 4]]
    seen = [None if each.history is None else each.history.seen.tolist() for each in found]
    assert seen == [[2, 4], [3, 4], None]
    assert all(each.allowed is None for each in labelled(queries, encode))
    assert all(each.allowed is None for each in labelled(queries, encode, Owners([None] * 3)))


def test_wanted_items_in_other_peoples_words():
    dataset, ids = catalogue()
    wanted = {"u0": np.array([2, 3, 7]), "u1": np.array([2, 6]), "new": np.array([3])}
    readable = dataset.reviews.filter(~pl.col("row").is_in([0, 8]))  # not item a by u0, item c by u1
    histories = {"u0": History.empty(), "u1": History.empty()}
    for seed in range(5):
        queries, left = borrowed_queries(
            dataset,
            wanted,
            ids,
            readable=readable,
            histories=histories,
            transcripts={22: "what was said of it"},
            seed=seed,
        )
        assert {each.user for each in queries} <= {"u0", "u1"}, "nothing is known of the new user"
        taken = readable.filter(~pl.col("row").is_in(left["row"].to_list()))
        assert taken["item_id"].n_unique() == taken.height, "one review of an item"
        texts = dict(
            zip((ids.get(item) for item in taken["item_id"]), taken.iter_rows(named=True), strict=True)
        )
        assert set(texts) == {each.item for each in queries}, "no other review is taken out"
        for each in queries:
            review = texts[each.item]
            assert review["user_id"] != each.user
            words = review["text"] or "what was said of it"
            assert each.text == without_title(words, "Alpha" if each.item == 2 else "x")
            assert each.item in wanted[each.user]
            assert review["row"] not in (0, 8)
    assert (
        len(borrowed_queries(dataset, wanted, ids, readable=readable, histories=histories, max_queries=2)[0])
        == 2
    )
    one = borrowed_queries(dataset, wanted, ids, readable=readable, histories=histories, max_per_user=1)[0]
    assert len({each.user for each in one}) == len(one)
