"""suggest: titles, category values and words that complete what is typed."""

import numpy as np
import pytest

from recsys.search import Document, LexicalIndex, LexicalSettings


@pytest.fixture(scope="module")
def index() -> LexicalIndex:
    return LexicalIndex.build(
        [
            Document(item=2, title="Red Shoes", categories=("Footwear", "Shoes"), popularity=3),
            Document(item=3, title="Running shoes", categories=("Footwear", "Sport")),
            Document(
                item=4, title="Red lamp", categories=("Light",), popularity=9, text="A reddish lampshade. The"
            ),
            Document(item=5, title="red shoes", categories=("Shoes",), popularity=1, text="reddish there"),
            Document(item=6, title="Café crème", text="theatre"),
            Document(item=7, title="登山鞋男"),
        ],
        LexicalSettings(),
    )


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("re", ["Red lamp", "Red Shoes", "red", "reddish"]),
        ("RED S", ["Red Shoes"]),
        ("red ", ["Red lamp", "Red Shoes"]),
        ("sh", ["Shoes", "Red Shoes", "Running shoes"]),
        ("shoes re", ["Red Shoes", "shoes red", "shoes reddish"]),
        ("foot", ["Footwear"]),
        ("lamp", ["Red lamp", "lampshade"]),
        ("the", ["theatre"]),
        ("cafe c", ["Café crème"]),
        ("crème", ["Café crème"]),
        ("登", ["登山鞋男", "登山鞋"]),
        ("登山鞋", ["登山鞋男"]),
        ("red, sh", ["Red Shoes"]),
        ("zzz", []),
        ("", []),
        ("  ", []),
        ("-", []),
        ("😀", []),
    ],
)
def test_what_is_typed_is_completed(index: LexicalIndex, typed: str, expected: list[str]) -> None:
    assert [each.text for each in index.suggest(typed, 10)] == expected


def test_a_suggestion_names_its_kind_and_item(index: LexicalIndex) -> None:
    found = [(each.text, each.kind, each.item) for each in index.suggest("sh", 10)]
    assert found == [("Shoes", "category", None), ("Red Shoes", "title", 2), ("Running shoes", "title", 3)]
    assert [(each.kind, each.item) for each in index.suggest("reddi", 1)] == [("word", None)]


def test_the_best_k_are_the_first_of_more(index: LexicalIndex) -> None:
    everything = index.suggest("r", 10)
    assert len(everything) > 3
    for k in range(len(everything)):
        assert index.suggest("r", k) == everything[:k]


def test_equal_titles_are_one_suggestion_however_many_there_are() -> None:
    documents = [Document(item=item, title="Lamp", popularity=1) for item in range(2, 300)]
    documents.append(Document(item=300, title="Lamp oil"))
    index = LexicalIndex.build(documents, LexicalSettings())
    assert [(each.text, each.item) for each in index.suggest("la", 2)] == [("Lamp", 2), ("Lamp oil", 300)]


def test_long_and_odd_titles_are_suggested() -> None:
    index = LexicalIndex.build(
        [Document(item=2, title="red\x00\u202e shoe\n" + "x" * 5_000), Document(item=3, title="\ud800blue")],
        LexicalSettings(),
    )
    assert index.suggest("red sh", 1)[0].text.startswith("red")
    assert index.suggest("red shoe " + "x" * 5_000, 1)[0].item == 2
    assert index.suggest("blu", 1)[0].text == "blue"


def test_a_part_of_the_items_completes_its_titles_and_categories_alone(index: LexicalIndex) -> None:
    allowed = np.isin(np.arange(8), [4, 5])

    def completed(typed: str, k: int = 10) -> list[tuple[str, int | None]]:
        found = index.suggest(typed, k, allowed=allowed, is_category=lambda value: value == "Shoes")
        return [(each.text, each.item) for each in found]

    assert completed("re") == [("Red lamp", 4), ("red shoes", 5)], "no words, and no title of item 2"
    assert completed("sh") == [("Shoes", None), ("red shoes", 5)]
    assert completed("foot") == completed("caf") == []
    assert completed("re", 1) == [("Red lamp", 4)]
    assert index.suggest("sh", 10, allowed=np.zeros(8, np.bool_)) == []
