"""The search part of a bundle is read back as it was written; a damaged one is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from search_parts import IMAGE_ANGLES, NUM_ITEMS, TEXTS, TITLE_ANGLES, at, leg, query

from recsys.errors import BundleError
from recsys.search import (
    DenseLeg,
    Document,
    EncodedClause,
    ItemWords,
    LexicalIndex,
    LexicalSettings,
    OnnxHeads,
    Scorer,
    Searcher,
    SearchSettings,
    items_with_words,
    load_search,
    parse_words,
    save_search,
)

DOCUMENTS = [Document(item=item, title=title) for item, title in TEXTS.items()] + [Document(item=6)]
HAS_WORDS = items_with_words(DOCUMENTS, NUM_ITEMS)
POPULARITY = np.array([0, 0, 1, 2, 3, 4, 0], np.float32)
ASKED = query(EncodedClause(kind="text", words=parse_words("red shoe"), vectors={"text": at(0.0)}))


def write_heads(directory):
    """Heads of text and picture that change nothing, as graphs."""
    for kind in ("text", "image"):
        tensor = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", 2]) for n in ("vector", "shared_vector")
        ]
        node = helper.make_node("Identity", ["vector"], ["shared_vector"])
        graph = helper.make_graph([node], "head", tensor[:1], tensor[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, directory / f"{kind}.onnx")


@pytest.fixture
def saved(tmp_path):
    directory = tmp_path / "search"
    words = LexicalIndex.build(DOCUMENTS, LexicalSettings(), tmp_path / "words")
    (tmp_path / "heads").mkdir()
    write_heads(tmp_path / "heads")
    heads = OnnxHeads.open(tmp_path / "heads")
    legs = [leg("image", "image", IMAGE_ANGLES, heads), leg("title", "text", TITLE_ANGLES)]
    save_search(directory, legs, has_words=HAS_WORDS, words=words, write_heads=write_heads)
    return directory, Scorer(
        legs[::-1], num_items=NUM_ITEMS, heads=heads, words=words, has_words=HAS_WORDS, popularity=POPULARITY
    )


def test_round_trip(saved):
    directory, scorer = saved
    searcher = load_search(directory, SearchSettings(), popularity=POPULARITY)
    assert searcher.scorer.leg_names == ("lexical", "title", "image", "popularity")  # the registry's order
    assert isinstance(searcher.scorer.legs[0].vectors, np.memmap)
    assert searcher.scorer.legs[0].shared is None
    expected, found = (each.search(ASKED, 10) for each in (Searcher(scorer, SearchSettings()), searcher))
    assert len(found) == 5
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.explanations == expected.explanations


def test_what_is_imputed_is_remembered(tmp_path):
    plain = leg("image", "image", IMAGE_ANGLES)
    imputed = np.arange(NUM_ITEMS) == 3
    marked = DenseLeg(
        name="image", kind="image", vectors=plain.vectors, present=plain.present, imputed=imputed
    )
    save_search(tmp_path / "search", [marked, leg("title", "text", TITLE_ANGLES)], has_words=HAS_WORDS)
    legs = {each.name: each for each in load_search(tmp_path / "search", SearchSettings()).scorer.legs}
    np.testing.assert_array_equal(legs["image"].imputed, imputed)
    assert not legs["title"].imputed.any()
    assert not (tmp_path / "search" / "vectors" / "title.imputed.npy").exists()


def test_words_of_the_items(tmp_path):
    words = ItemWords.of(
        DOCUMENTS, NUM_ITEMS, lambda asked: np.ones((len(asked), 3), np.float32), ("english",)
    )
    index = LexicalIndex.build(DOCUMENTS, LexicalSettings(), tmp_path / "words")
    save_search(tmp_path / "search", [], has_words=HAS_WORDS, words=index, item_words=words)
    found = load_search(tmp_path / "search", SearchSettings()).scorer.item_words
    assert found is not None
    assert found.words == ("blue", "green", "hat", "red", "shoe")
    assert [found.words_of(item) for item in (2, 6)] == [("red", "shoe"), ()]


def test_items_with_words():
    assert np.flatnonzero(HAS_WORDS).tolist() == [2, 3, 4, 5]


def test_vectors_alone(tmp_path):
    title = leg("title", "text", TITLE_ANGLES)
    save_search(tmp_path, [title], has_words=np.zeros(NUM_ITEMS, np.bool_))
    assert load_search(tmp_path, SearchSettings()).scorer.leg_names == ("title",)


def test_an_index_is_saved_where_it_is_asked_for(tmp_path):
    pytest.importorskip("faiss")
    legs = [leg("image", "image", IMAGE_ANGLES), leg("title", "text", TITLE_ANGLES)]
    save_search(tmp_path, legs, has_words=HAS_WORDS, index_kind="faiss")
    title, image = load_search(tmp_path, SearchSettings()).scorer.legs
    assert [each.index.kind for each in (title, image) if each.index is not None] == ["faiss", "faiss"]


def test_a_missing_or_damaged_file_is_named(saved):
    directory, _ = saved
    (directory / "vectors" / "title.npy").write_bytes(b"no array")
    with pytest.raises(BundleError, match=r"title\.npy cannot be read"):
        load_search(directory, SearchSettings())
    np.save(directory / "vectors" / "title.npy", np.zeros((3, 2), np.float16))
    with pytest.raises(BundleError, match="7 rows are needed"):
        load_search(directory, SearchSettings())
    (directory / "has_words.npy").unlink()
    with pytest.raises(BundleError, match=r"has_words\.npy"):
        load_search(directory, SearchSettings())


def test_settings_are_json_and_checked():
    settings = SearchSettings(personal=0.3, fusion={"text": {"reciprocal": {"lexical": 1.0}}})
    assert SearchSettings.model_validate_json(settings.model_dump_json()) == settings
    with pytest.raises(ValueError, match="at least max_list_length = 500"):
        SearchSettings(num_candidates=100)
