"""Which items have which words of a query, from one search for all words.

A word adds a power of two to the score of a document that has it, so that the score of a document names its
words.

Legend: U words and phrases of a query, K items.
"""

from collections.abc import Sequence

import numpy as np

from recsys.arrays import Floats, Ints
from recsys.search.lexical.hits import are_few, looked_up, scored
from recsys.search.lexical.matching import MOST_AT_ONCE, Matcher, Unit
from recsys.search.lexical.storage import TermIndex


def strengths(index: TermIndex, matcher: Matcher, units: Sequence[Unit], items: Ints) -> Floats:
    """The weight of the best alternative of each unit that each item has, 0 for none. Shape [U, K].

    The weight of a word or phrase as it is written is 1.
    """
    strength = np.zeros((len(units), len(items)), np.float32)
    if are_few(matcher.most(units), len(items)):
        for at, by_weight in enumerate(matcher.items_with(units)):
            for weight, having in by_weight:  # the largest weight comes last
                has_K = looked_up(having, np.ones(len(having), np.float32), items) > 0
                strength[at, has_K] = weight
        return strength
    graded = [(at, weight) for at, unit in enumerate(units) for weight in sorted(set(unit.terms.values()))]
    for first in range(0, len(graded), MOST_AT_ONCE):
        some = graded[first : first + MOST_AT_ONCE]
        query = matcher.naming([(units[at], weight) for at, weight in some])
        bits_K = scored(index, query, items).astype(np.int64)
        for bit, (at, weight) in enumerate(some):  # of one unit the largest weight comes last
            strength[at, (bits_K >> bit) & 1 == 1] = weight
    return strength
