"""Updates, deletes, saving and opening."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from lexical_parts import found, index_of

from recsys.arrays import Ints
from recsys.checksums import files_below, sha256_of
from recsys.errors import BundleError, DiskFullError, RecsysError
from recsys.search import Document, LexicalIndex, LexicalSettings, parse_words


def ids(*items: int) -> Ints:
    return np.array(items, np.int64)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of "rote Häuser" and "blaue Schuhe"."""
    directory = tmp_path_factory.mktemp("built") / "lexical"
    documents = [Document(item=2, title="rote Häuser"), Document(item=3, title="blaue Schuhe")]
    LexicalIndex.build(documents, LexicalSettings(languages=("german",)), directory)
    return directory


@pytest.fixture
def directory(built: Path, tmp_path: Path) -> Path:
    """A copy of the built index."""
    shutil.copytree(built, tmp_path / "lexical")
    return tmp_path / "lexical"


def checksums(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.rglob("*") if path.is_file()}


def test_a_change_is_visible_to_the_next_search() -> None:
    index = index_of("red shoe", "blue hat", "red hat")
    index.update([Document(item=3, title="green lamp"), Document(item=9, title="red lamp", text="bright")])
    assert len(index) == 4
    assert found(index, "blue") == []
    assert found(index, "lamp") == [3, 9]
    assert found(index, "birght") == [9], "new words are in the vocabulary"
    assert [each.text for each in index.suggest("green", 5)] == ["green lamp"]
    index.delete(ids(2, 9, 77, 0))
    assert found(index, "red") == [4]
    assert found(index, "shoe") == []
    assert index.suggest("red l", 5) == []
    index.update([Document(item=2, title="red shoe")])
    assert found(index, "red") == [2, 4]


def test_many_changes_end_in_the_last_state() -> None:
    index = index_of()
    for at in range(4):
        index.update([Document(item=item, title=f"state{at} item{item}") for item in range(2, 6)])
    assert len(index) == 4
    assert found(index, "state3") == [2, 3, 4, 5]
    assert found(index, '"state2"') == []
    index.delete(ids(2, 3, 4, 5))
    assert len(index) == 0
    assert found(index, "state3") == []


def test_an_index_is_saved_and_opened(built: Path) -> None:
    index = LexicalIndex.open(built)
    assert index.settings.languages == ("german",)
    assert found(index, "haus") == [2]
    assert [each.text for each in index.suggest("bl", 5)] == ["blaue Schuhe", "blaue"]
    assert found(index, "schuee") == [3]


def test_opening_and_changing_leave_the_saved_files_alone(directory: Path, tmp_path: Path) -> None:
    before = checksums(directory)
    assert sorted(files_below(directory)) == sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    ), "no hidden files, so that a bundle has all of them"
    assert not [name for name in before if "lock" in name]
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    index = LexicalIndex.open(directory)
    index.update([Document(item=2, title="grüne Lampe")])
    assert found(index, "lampen") == [2]
    assert found(index, "haus") == []
    assert checksums(directory) == before
    assert found(LexicalIndex.open(directory), "haus") == [2]
    index.save(tmp_path / "changed")
    assert found(LexicalIndex.open(tmp_path / "changed"), "lampe") == [2]
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o755)


def test_the_working_folder_goes_with_the_index(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "working"))
    with pytest.raises(BundleError, match="needs a writable temporary folder; set TMPDIR"):
        LexicalIndex.open(built)
    (tmp_path / "working").mkdir()
    index = LexicalIndex.open(built)
    assert len(os.listdir(tmp_path / "working")) == 1
    del index
    assert os.listdir(tmp_path / "working") == []


def test_a_folder_of_another_kind_is_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"lexical.json: no such file"):
        LexicalIndex.open(tmp_path)
    settings = json.loads((directory / "lexical.json").read_text())
    (directory / "lexical.json").write_text(json.dumps(settings | {"format": 99}))
    with pytest.raises(BundleError, match="format 99 is not 2; build the index again"):
        LexicalIndex.open(directory)
    (directory / "lexical.json").write_text("{")
    with pytest.raises(BundleError, match=r"lexical.json: cannot be read"):
        LexicalIndex.open(directory)


@pytest.mark.parametrize("part", ["documents", "vocabulary", "suggestions"])
def test_a_damaged_index_is_refused(directory: Path, part: str) -> None:
    (directory / part / "meta.json").write_text('{"segments": [')
    with pytest.raises(BundleError, match=f"{part}: not a lexical index, or a damaged one"):
        LexicalIndex.open(directory)
    (directory / part / "meta.json").unlink()
    with pytest.raises(BundleError, match=f"{part}: not a lexical index, or a damaged one"):
        LexicalIndex.open(directory)


def test_a_failed_build_leaves_the_former_index(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*paths: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(DiskFullError):
        LexicalIndex.build([Document(item=2, title="Hut")], LexicalSettings(), directory)
    monkeypatch.undo()
    assert found(LexicalIndex.open(directory), "haus") == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["lexical"]


def test_an_index_in_memory_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(RecsysError, match="build it with the directory"):
        index_of("red").save(tmp_path / "lexical")
    assert not (tmp_path / "lexical").exists()


def test_searches_during_changes_see_whole_states() -> None:
    """Every document has the word; a search never finds fewer or more than two of them."""
    index = index_of("oak", "oak")
    failures: list[object] = []
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            items = index.search(parse_words("oak"), 10)[0].tolist()
            if items != [2, 3]:
                failures.append(items)

    searching = threading.Thread(target=search)
    searching.start()
    for at in range(5):
        index.update([Document(item=2, title=f"oak {at}"), Document(item=3, title=f"oak {at}")])
    ended.set()
    searching.join()
    assert failures == []
