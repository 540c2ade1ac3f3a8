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
SPARE: Final = 32  # hits beyond k, so that ties at the cut cost no second search
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


def are_few(most: int, num_items: int) -> bool:
    """Whether reading all of at most `most` matches is faster than a search among `num_items` items."""
    return most <= _MATCHES_OF_ONE_LOOKUP * num_items


def scored(index: TermIndex, query: Query, items: Ints) -> Floats:
    """The score of each of `items` by a search among them, 0 where the query does not match. Shape [K]."""
    wanted, at = np.unique(items, return_inverse=True)
    found, found_score = hits(index.searcher, _restricted(query, wanted, index.schema), len(wanted))
    order = np.argsort(found)
    return looked_up(found[order], found_score[order], wanted)[at]


def looked_up(found: Ints, found_score: Floats, items: Ints) -> Floats:
    """The score of each of `items` from those of the ascending `found`, 0 for the others. Shape [K]."""
    if not len(found):
        return np.zeros(len(items), np.float32)
    at = np.minimum(np.searchsorted(found, items), len(found) - 1)
    score: Floats = np.where(found[at] == items, found_score[at], np.float32(0))
    return score


def best_matches(found: Ints, found_score: Floats, k: int, allowed: Bools | None) -> tuple[Ints, Floats]:
    """As `best`, from all matches and their scores, best first."""
    kept = _are_allowed(found, allowed)
    return _ordered(found[kept], found_score[kept], k)


def best(index: TermIndex, query: Query, k: int, allowed: Bools | None) -> tuple[Ints, Floats]:
    """The k best items of `allowed` [N] and their scores; ties as in `LexicalIndex.search`.

    More and more hits are taken until the group of ties at rank k is complete. Where that would take more
    hits than a search among the allowed items alone, these alone are searched.
    """
    searcher = index.searcher
    num_allowed = searcher.num_docs if allowed is None else int(allowed.sum())
    limit = (k + SPARE) * max(searcher.num_docs // max(num_allowed, 1), 1)
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
