"""item_documents: texts, categories, allowed reviews and transcripts of each item."""

from pathlib import Path

import numpy as np
from dataset_parts import load

from features.dataset import Dataset, MediaVectors
from features.documents import item_documents
from recsys.columns import Columns
from recsys.ids import IdMap
from recsys.search import Document

ITEMS = "id,title,plot,genre,tags\na,Alien,A ship,Horror,space|Horror\nb,,,,\nc,Cars,Races,Family,\n"
EVENTS = "user,item,time\nu,a,1\nv,c,2\n"
REVIEWS = "user,item,time,words,voice\nu,a,1,scary,\nv,a,2,dark,one.wav\nv,c,3,,two.wav\nu,c,4,loud,\n"


def dataset(root: Path) -> Dataset:
    return load(
        root,
        {"items.csv": ITEMS, "events.csv": EVENTS, "reviews.csv": REVIEWS, "one.wav": b"1", "two.wav": b"2"},
        items={"text": ["plot"], "categories": ["genre", "tags"], "lists": {"tags": "|"}},
        reviews={
            "path": "reviews.csv", "user": "user", "item": "item", "timestamp": "time", "text": "words",
            "audio": "voice",
        },
    )  # fmt: skip


def test_the_texts_of_each_item(tmp_path: Path) -> None:
    shop = dataset(tmp_path)
    vectors = MediaVectors(
        items={},
        reviews={},
        transcripts={1: "very dark", 2: "so fast"},
        video_transcripts={2: "start your engines"},
    )
    ids = IdMap(["a", "b", "c"])
    popularity = np.array([0, 0, 7, 0, 1], np.float32)
    documents = item_documents(shop, ids, reviews=shop.reviews, vectors=vectors, popularity=popularity)
    assert list(documents) == [
        Document(
            item=2, title="Alien", text="A ship", categories=("Horror", "space"),
            reviews="scary\n\ndark\n\nvery dark", popularity=7,
        ),
        Document(item=3),
        Document(
            item=4, title="Cars", text="Races", categories=("Family",), transcript="start your engines",
            reviews="so fast\n\nloud", popularity=1,
        ),
    ]  # fmt: skip


def test_a_review_that_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    shop = dataset(tmp_path)
    vectors = MediaVectors(items={}, reviews={}, transcripts={1: "very dark", 2: "so fast"})
    allowed = shop.reviews.filter(shop.reviews[Columns.TEXT].is_in(["scary"]))
    reviews = {
        each.title: each.reviews
        for each in item_documents(shop, IdMap(["c", "a"]), reviews=allowed, vectors=vectors)
    }
    assert reviews == {"Cars": "", "Alien": "scary"}


def test_ids_follow_the_map_and_transcripts_are_optional(tmp_path: Path) -> None:
    shop = dataset(tmp_path)
    documents = list(item_documents(shop, IdMap(["c", "a"]), reviews=shop.reviews))
    assert [(each.item, each.title, each.reviews) for each in documents] == [
        (2, "Cars", "loud"), (3, "Alien", "scary\n\ndark"),
    ]  # fmt: skip


def test_a_dataset_without_texts_categories_and_reviews(tmp_path: Path) -> None:
    shop = load(tmp_path, {})
    ids = IdMap(shop.items[Columns.ITEM].to_list())
    documents = list(item_documents(shop, ids, reviews=shop.reviews))
    assert [each.item for each in documents] == list(range(2, ids.size))
    assert {(each.text, each.categories, each.reviews) for each in documents} == {("", (), "")}
