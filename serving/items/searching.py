"""`LiveSearch`: the search part of a bundle with the items that came, changed and went since.

Legend: N items, R changed items.
"""

from collections.abc import Sequence

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.modalities import EncoderKind
from recsys.search import (
    ChangedRows,
    DenseLeg,
    Document,
    ExtendedLeg,
    ItemWords,
    LexicalIndex,
    build_leg,
)
from serving.engine import Engine
from serving.items.change import Change
from serving.items.content import Content
from serving.items.encoder import ItemEncoder
from serving.search import SearchEngine


class LiveSearch:
    """The legs, the lexical index and the words of `search`, and their changes; one change at a time."""

    def __init__(self, search: SearchEngine, encoder: ItemEncoder) -> None:
        self._base, self._encoder = search, encoder
        scorer = search.searcher.scorer
        self._has_words: Bools = np.array(scorer.has_words)
        self._documents: dict[int, Document] = {}  # of the changed items; an empty one for a removed item
        self._contents: dict[int, Content] = {}

    def changed(self, engine: Engine, rows: Ints, changes: Sequence[Change]) -> SearchEngine:
        """The search over the catalogue of `engine` after these changes of the items `rows` [R]."""
        num_items = engine.bundle.item_ids.size
        self._has_words = np.pad(self._has_words, (0, num_items - len(self._has_words)))
        own = []  # those whose words and vectors change, not only their fields
        for row, each in zip(rows.tolist(), changes, strict=True):
            if each.content is None:
                continue
            own.append(row)
            document = _document(row, each, each.content)
            self._documents[row], self._contents[row] = document, each.content
            self._has_words[row] = any((document.title, document.text, document.categories))
        self._has_words = self._has_words.copy()
        scorer = self._base.searcher.scorer
        self._change_words(own)
        changed = np.array(sorted(self._contents), np.int64)
        return self._base.over(
            engine,
            scorer.over(
                [self._leg(leg, changed, num_items) for leg in scorer.legs],
                num_items=num_items,
                item_words=self._item_words(num_items),
                has_words=self._has_words,
                popularity=engine.bundle.popularity,
            ),
        )

    def _change_words(self, rows: Sequence[int]) -> None:
        index = self._base.searcher.scorer.words
        if not isinstance(index, LexicalIndex) or not rows:
            return
        documents = [self._documents[row] for row in rows]
        index.update([each for each in documents if self._has_words[each.item]])
        gone = [each.item for each in documents if not self._has_words[each.item]]
        if gone:
            index.delete(np.array(gone, np.int64))

    def _item_words(self, num_items: int) -> ItemWords | None:
        words = self._base.searcher.scorer.item_words
        return None if words is None else words.over(self._documents, num_items, self._encoder.words)

    def _leg(self, leg: DenseLeg, changed: Ints, num_items: int) -> DenseLeg:
        width = leg.vectors.shape[1]
        vectors: Floats = np.zeros((len(changed), width), np.float32)
        present = np.zeros(len(changed), np.bool_)
        for at, row in enumerate(changed.tolist()):
            found = self._contents[row].vectors.get(leg.name)
            if found is not None and len(found) == width:
                vectors[at], present[at] = found, True
        kind: EncoderKind = leg.kind
        heads = self._base.searcher.scorer.heads if leg.shared is not None else None
        made = build_leg(leg.name, kind, vectors, present, heads)
        if leg.shared is not None and made.shared is None:
            made.shared = np.zeros((len(changed), leg.shared.shape[1]), np.float16)
        return ExtendedLeg(leg, ChangedRows(rows=changed, leg=made), num_items)


def _document(row: int, change: Change, content: Content) -> Document:
    fields = change.fields
    values = (value for each in fields.categories.values() for value in each)
    return Document(
        item=row,
        title=fields.title or "",
        text=fields.text or "",
        categories=tuple(dict.fromkeys(values)),
        transcript=content.transcript,
    )
