"""The search part of a bundle is read back as it was written; a damaged one is refused."""

import numpy as np
import pytest
from search_parts import IMAGE_ANGLES, NUM_ITEMS, TITLE_ANGLES, TurnHeads, WordSets, leg, query, scorer, text
from search_parts import TEXTS as WORDS

from recsys.errors import BundleError
from recsys.search import Searcher, SearchSettings, load_search, save_search

HEADS = TurnHeads()
LEGS = [leg("image", "image", IMAGE_ANGLES, HEADS), leg("title", "text", TITLE_ANGLES)]
HAS_WORDS = np.isin(np.arange(NUM_ITEMS), list(WORDS))


@pytest.fixture
def directory(tmp_path):
    save_search(tmp_path / "search", LEGS, has_words=HAS_WORDS)
    return tmp_path / "search"


def test_round_trip(directory):
    popularity = np.array([0, 0, 1, 2, 3, 4, 0], np.float32)
    searcher = load_search(
        directory, SearchSettings(), popularity=popularity, words=WordSets(WORDS), heads=HEADS
    )
    assert [each.name for each in searcher.scorer.legs] == ["title", "image"]  # in the registry's order
    assert isinstance(searcher.scorer.legs[0].vectors, np.memmap)
    assert searcher.scorer.legs[0].shared is None
    expected = Searcher(scorer(legs=LEGS[::-1]), SearchSettings()).search(query(text("red shoe", 0.0)), 10)
    found = searcher.search(query(text("red shoe", 0.0)), 10)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_an_index_is_saved_where_it_is_asked_for(tmp_path):
    pytest.importorskip("faiss")
    save_search(tmp_path, LEGS, has_words=HAS_WORDS, index_kind="faiss")
    title, image = load_search(tmp_path, SearchSettings()).scorer.legs
    assert [each.index.kind for each in (title, image) if each.index is not None] == ["faiss", "faiss"]


def test_folders_of_words_and_heads_are_filled(tmp_path):
    def write(folder):
        (folder / "x").write_text(folder.name)

    save_search(tmp_path, LEGS, has_words=HAS_WORDS, write_words=write, write_heads=write)
    assert (tmp_path / "lexical" / "x").read_text() == "lexical"
    assert (tmp_path / "heads" / "x").read_text() == "heads"


def test_a_missing_or_damaged_file_is_named(directory):
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
