"""A tantivy index in memory or in a folder of this process, and the plain files that it is saved as.

tantivy writes lock files beside an index even to read it, and changes the files of an index in place. A saved
index is never opened itself: a temporary folder with links to its files is. The saved folder may be
read-only, and updates stay in the process.
"""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import tantivy

from recsys.errors import BundleError

WORDS: Final = "words"  # tokenizer of a field whose words are separated by spaces
RAW: Final = "raw"  # tokenizer of a field whose whole text is one term
ITEM: Final = "item"  # field of the item id
_META: Final = "meta.json"
_BUILD_BYTES: Final = 128_000_000  # buffer of building
_CHANGE_BYTES: Final = 15_000_000  # buffer of an update, the least that tantivy takes


class WorkingFolder:
    """A temporary folder, removed when the object is collected."""

    def __init__(self) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="recsys-lexical-"))
        except OSError as error:
            raise BundleError(
                f"the lexical index needs a writable temporary folder; set TMPDIR to one: {error}"
            ) from None
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class TermIndex:
    """A tantivy index. A change is visible to every search that begins after it."""

    def __init__(self, index: tantivy.Index, schema: tantivy.Schema, path: Path | None) -> None:
        index.register_tokenizer(WORDS, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
        index.config_reader("manual")
        index.reload()
        self._index, self.schema, self.path = index, schema, path
        self.searcher = index.searcher()

    @classmethod
    def build(
        cls, path: Path | None, schema: tantivy.Schema, documents: Iterable[tantivy.Document]
    ) -> "TermIndex":
        """An index of `documents` in the new folder `path`, or in memory."""
        if path is not None:
            path.mkdir()
        built = cls(tantivy.Index(schema, path=str(path) if path is not None else None), schema, path)
        built.change((), documents, heap_bytes=_BUILD_BYTES)
        return built

    @classmethod
    def open(cls, saved: Path, path: Path, schema: tantivy.Schema) -> "TermIndex":
        """The index that is saved in `saved`, worked on in the new folder `path`. Raises `BundleError`."""
        path.mkdir()
        try:
            for name in _file_names(saved):
                os.symlink((saved / name).resolve(strict=True), path / name)
            return cls(tantivy.Index.open(str(path)), schema, path)
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(
                f"{saved}: not a lexical index, or a damaged one; build it again: {error}"
            ) from None

    def save(self, saved: Path) -> None:
        """Write the index to the new folder `saved`: the files of its segments and their list."""
        assert self.path is not None, "tantivy cannot write an index in memory to files"
        saved.mkdir()
        for name in _file_names(self.path):
            shutil.copyfile(self.path / name, saved / name)

    def change(
        self,
        deleted: Iterable[int],
        added: Iterable[tantivy.Document],
        *,
        heap_bytes: int = _CHANGE_BYTES,
    ) -> None:
        """Delete the documents of the items `deleted`, then add documents. One change at a time."""
        writer = self._index.writer(heap_size=heap_bytes, num_threads=1)
        for item in deleted:
            writer.delete_documents_by_term(ITEM, item)
        for document in added:
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self.searcher = self._index.searcher()


def _file_names(folder: Path) -> list[str]:
    """The files of the index in `folder`: the list of its segments, and all files of these segments."""
    meta = json.loads((folder / _META).read_text("utf-8"))
    segments = {segment["segment_id"].replace("-", "") for segment in meta["segments"]}
    names = sorted(path.name for path in folder.iterdir() if path.name.split(".")[0] in segments)
    return [_META, *names]
