"""`LiveSearch`: the search part of a bundle with the items that came, changed and went since.

Legend: N items, R changed items.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Ints
from recsys.search import (
    ChangedRows,
    DenseLeg,
    Document,
    ExtendedLeg,
    LexicalIndex,
    build_leg,
)
from serving.engine import Engine
from serving.items.change import Change
from serving.items.content import Content
from serving.items.encoder import ItemEncoder
from serving.search import SearchEngine

Halves = npt.NDArray[np.float16]


class LiveSearch:
    """The legs, the lexical index and the words of `search`, and their changes; one change at a time."""

    def __init__(self, search: SearchEngine, encoder: ItemEncoder) -> None:
        self._base, self._encoder = search, encoder
        scorer = search.searcher.scorer
        self._has_words: Bools = np.array(scorer.has_words)
        self._item_words = scorer.item_words
        # By leg, the vectors of the changed items: own and shared, None where there is none.
        self._vectors: dict[str, dict[int, tuple[Halves | None, Halves | None]]] = {
            leg.name: {} for leg in scorer.legs
        }

    def changed(self, engine: Engine, rows: Ints, changes: Sequence[Change]) -> SearchEngine:
        """The search over the catalogue of `engine` after these changes of the items `rows` [R]."""
        num_items = engine.bundle.item_ids.size
        self._has_words = np.pad(self._has_words, (0, num_items - len(self._has_words)))
        own = {  # those whose words and vectors change, not only their fields
            row: (each, each.content)
            for row, each in zip(rows.tolist(), changes, strict=True)
            if each.content is not None
        }
        documents = {row: _document(row, *each) for row, each in own.items()}
        for row, document in documents.items():
            self._has_words[row] = any((document.title, document.text, document.categories))
        scorer = self._base.searcher.scorer
        self._change_words(documents)
        if self._item_words is not None:
            self._item_words = self._item_words.over(documents, num_items, self._encoder.words)
        for leg in scorer.legs:
            self._change_vectors(leg, {row: content for row, (_, content) in own.items()})
        return self._base.over(
            engine,
            scorer.over(
                [self._leg(leg, num_items) for leg in scorer.legs],
                num_items=num_items,
                item_words=self._item_words,
                has_words=self._has_words,
                popularity=engine.bundle.popularity,
            ),
        )

    def _change_words(self, documents: Mapping[int, Document]) -> None:
        index = self._base.searcher.scorer.words
        if not isinstance(index, LexicalIndex) or not documents:
            return
        present = [each for row, each in documents.items() if self._has_words[row]]
        if present:
            index.update(present)
        gone = [row for row in documents if not self._has_words[row]]
        if gone:
            index.delete(np.array(gone, np.int64))

    def _change_vectors(self, leg: DenseLeg, contents: Mapping[int, Content]) -> None:
        """Take the vectors of the changed items into those of a leg, projected to the shared space."""
        width = leg.vectors.shape[1]
        found = {row: content.vectors.get(leg.name) for row, content in contents.items()}
        fits = {row: vector for row, vector in found.items() if vector is not None and len(vector) == width}
        self._vectors[leg.name] |= dict.fromkeys(contents, (None, None))
        if not fits:
            return
        heads = self._base.searcher.scorer.heads if leg.shared is not None else None
        has = np.ones(len(fits), np.bool_)
        made = build_leg(leg.name, leg.kind, np.stack(list(fits.values())), has, heads)
        for at, row in enumerate(fits):
            shared = None if made.shared is None else made.shared[at]
            if made.present[at]:
                self._vectors[leg.name][row] = (made.vectors[at], shared)

    def _leg(self, leg: DenseLeg, num_items: int) -> DenseLeg:
        """The leg with all changed items."""
        vectors = self._vectors[leg.name]
        rows = sorted(vectors)
        own = np.zeros((len(rows), leg.vectors.shape[1]), np.float16)
        shared = None if leg.shared is None else np.zeros((len(rows), leg.shared.shape[1]), np.float16)
        present = np.zeros(len(rows), np.bool_)
        for at, row in enumerate(rows):
            vector, projected = vectors[row]
            if vector is not None:
                own[at], present[at] = vector, True
            if shared is not None and projected is not None:
                shared[at] = projected
        changed = DenseLeg(name=leg.name, kind=leg.kind, vectors=own, present=present, shared=shared)
        return ExtendedLeg(leg, ChangedRows(rows=np.array(rows, np.int64), leg=changed), num_items)


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
