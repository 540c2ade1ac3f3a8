"""Hits of a tantivy query as arrays, and the best k of them in a deterministic order."""

from typing import Final

import numpy as np
import tantivy
from tantivy import Occur, Query

from recsys.arrays import Bools, Floats, Ints
from recsys.retrieval import tie_groups
from recsys.search.lexical.storage import ITEM, TermIndex

# Scores are scaled to a best score of 30 before `tie_groups`, whose tolerance is 3e-5: differences below a
# millionth of the best score are rounding errors, because tantivy adds up a document's words in any order.
_TIE_SCALE: Final = 30.0
_SPARE: Final = 32  # hits beyond k, so that ties at the cut cost no second search
_GROWTH: Final = 4
_MATCHES_OF_ONE_LOOKUP: Final = 8  # that are read in the time in which one item is looked up
_FEW_ITEMS: Final = 1000  # that are faster looked up one by one than as a set of terms


def hits(searcher: tantivy.Searcher, query: Query, limit: int) -> tuple[Ints, Floats]:
    """Item ids and scores of the best `limit` documents, best first."""
    limit = max(min(limit, searcher.num_docs), 1)  # tantivy reserves memory for as many hits
    found = searcher.search(query, limit, count=False).hits
    items = searcher.fast_field_values(ITEM, [address for _, address in found])
    return np.array(items, np.int64), np.array([score for score, _ in found], np.float32)


def count(searcher: tantivy.Searcher, query: Query) -> int:
    """Number of documents that match."""
    return int(searcher.search(query, 1).count)  # type: ignore[attr-defined]


def scored(index: TermIndex, query: Query, items: Ints, most: int) -> Floats:
    """The score of each of `items`, 0 where the query does not match. Shape [K].

    At most `most` documents match. Where that is few, all of them are taken, which is faster than a search
    among the items.
    """
    wanted, at = np.unique(items, return_inverse=True)
    if most <= _MATCHES_OF_ONE_LOOKUP * len(wanted):
        found, found_score = hits(index.searcher, query, most)
    else:
        among = _restricted(query, wanted, index.schema)
        found, found_score = hits(index.searcher, among, len(wanted))
    score = np.zeros(len(wanted), np.float32)
    is_wanted = np.isin(found, wanted)
    score[np.searchsorted(wanted, found[is_wanted])] = found_score[is_wanted]
    return score[at]


def best(index: TermIndex, query: Query, k: int, allowed: Bools | None) -> tuple[Ints, Floats]:
    """The k best items of `allowed` [N] and their scores; ties as in `LexicalIndex.search`.

    More and more hits are taken until the group of ties at rank k is complete. Where that would take more
    hits than a search among the allowed items alone, these alone are searched.
    """
    searcher = index.searcher
    num_allowed = searcher.num_docs if allowed is None else int(allowed.sum())
    limit = (k + _SPARE) * max(searcher.num_docs // max(num_allowed, 1), 1)
    while True:
        if allowed is not None and limit > 2 * num_allowed:
            among = _restricted(query, np.flatnonzero(allowed), index.schema)
            return _ordered(*hits(searcher, among, num_allowed), k)
        items, scores = hits(searcher, query, limit)
        is_all = len(items) < limit
        if len(items):
            group = tie_groups(_scaled(scores)[None])[0]
            kept = _are_allowed(items, allowed)
            if is_all or (kept.sum() >= k and group[kept][k - 1] < group[-1]):
                return _ordered(items[kept], scores[kept], k)
        elif is_all:
            return items, scores
        limit *= _GROWTH


def _ordered(items: Ints, scores: Floats, k: int) -> tuple[Ints, Floats]:
    """The first k of items that are sorted by score, once ties are sorted by id."""
    if not len(items):
        return items, scores
    group = tie_groups(_scaled(scores)[None])[0]
    order = np.lexsort((items, group))[:k]
    first = np.flatnonzero(np.diff(group, prepend=-1))  # the best of each group
    return items[order], scores[first[group[order]]]


def _scaled(scores: Floats) -> Floats:
    largest = scores[0] if scores[0] > 0 else np.float32(1)
    return scores * np.float32(_TIE_SCALE / largest)


def _are_allowed(items: Ints, allowed: Bools | None) -> Bools:
    if allowed is None:
        return np.ones(len(items), np.bool_)
    within = items < len(allowed)
    return within & allowed[np.where(within, items, 0)]


def _restricted(query: Query, items: Ints, schema: tantivy.Schema) -> Query:
    """The query among `items` alone, with the same scores."""
    ids = [int(item) for item in items if item >= 0]
    if len(ids) <= _FEW_ITEMS:
        terms = [(Occur.Should, Query.term_query(schema, ITEM, item, "basic")) for item in ids]
        among = Query.boolean_query(terms)
    else:
        among = Query.term_set_query(schema, ITEM, ids)
    return Query.boolean_query([(Occur.Must, query), (Occur.Must, Query.const_score_query(among, 0.0))])
