"""Which items have which words of a query, from one search for all words.

A word adds a power of two to the score of a document that has it, so that the score of a document names its
words.

Legend: U words and phrases of a query, K items.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from tantivy import Occur, Query

from recsys.arrays import Floats, Ints
from recsys.search.lexical.hits import scored
from recsys.search.lexical.matching import Matcher, Unit
from recsys.search.lexical.storage import TermIndex

_MOST_AT_ONCE: Final = 24  # powers of two whose sum is exact in float32


def strengths(index: TermIndex, matcher: Matcher, units: Sequence[Unit], items: Ints) -> Floats:
    """The weight of the best alternative of each unit that each item has, 0 for none. Shape [U, K].

    The weight of a word or phrase as it is written is 1.
    """
    strength = np.zeros((len(units), len(items)), np.float32)
    graded = [
        (at, weight, matcher.having(terms for terms, own in unit.terms.items() if own == weight))
        for at, unit in enumerate(units)
        for weight in sorted(set(unit.terms.values()))
    ]
    most = matcher.most(units)
    for first in range(0, len(graded), _MOST_AT_ONCE):
        some = graded[first : first + _MOST_AT_ONCE]
        named = Query.boolean_query(
            [
                (Occur.Should, Query.const_score_query(query, float(2**bit)))
                for bit, (_, _, query) in enumerate(some)
            ]
        )
        bits_K = scored(index, named, items, most).astype(np.int64)
        for bit, (at, weight, _) in enumerate(some):  # of one unit the largest weight comes last
            strength[at, (bits_K >> bit) & 1 == 1] = weight
    return strength
