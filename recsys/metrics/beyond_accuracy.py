"""Metrics of lists beyond accuracy: coverage, exposure, popularity, novelty, diversity. Needs scipy.

Shape suffixes: U users, K ranks, S slices of the ranks, N items, D width of a modality's vectors, X any axes.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix, csr_matrix

from recsys.arrays import Bools, Floats, Ints
from recsys.ids import PAD
from recsys.item_features import ItemFeatures
from recsys.metrics.ranking import Doubles
from recsys.modalities import BY_NAME, Modality

OF_A_SET = ("coverage", "gini")  # of all lists together
PER_USER = ("novelty", "ild", "arp")  # means over users
BEYOND = (*OF_A_SET, *PER_USER)
_ROUNDING = 1e-12  # of a sum in double precision
_USERS_AT_ONCE = 4096
_ROWS_AT_ONCE = 16_384  # vectors that are in memory in double precision


def coverage(exposure_XN: npt.NDArray[np.integer], num_rankable: int) -> Doubles:
    """Fraction of the `num_rankable` items that are in at least one list. Shape [X].

    `exposure_XN` is the number of lists with each item; items in no list may be left out.
    (Herlocker et al. 2004, catalogue coverage.)
    """
    return np.asarray((exposure_XN > 0).sum(-1) / num_rankable, np.float64)


def gini(exposure_XN: npt.NDArray[np.integer], num_rankable: int) -> Doubles:
    """Gini index of the exposure. Shape [X]. 0: every item is in equally many lists; 1: one item is in all.

    With x_1 <= ... <= x_n: sum of (2 j - n - 1) x_j / ((n - 1) sum of x) (Shani and Gunawardana 2011).
    Items in no list may be left out of `exposure_XN`; they count among the n = `num_rankable`. NaN without
    any list.
    """
    in_order_XN = np.sort(exposure_XN, axis=-1)
    num_listed = in_order_XN.shape[-1]
    place_N = np.arange(num_rankable - num_listed + 1, num_rankable + 1)
    numerator = in_order_XN @ (2.0 * place_N - num_rankable - 1)
    total = in_order_XN.sum(-1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(numerator / (total * max(num_rankable - 1, 1)), np.float64)


def information(popularity_N: npt.NDArray[np.floating]) -> Doubles:
    """Self-information of each item in bits, -log2 of its share of all positive training events. Shape [N].

    An item without an event counts as an item with one event, the least popular one possible.
    (Zhou et al. 2010.)
    """
    counts_N = popularity_N.astype(np.float64)
    bits_N: Doubles = np.log2(max(counts_N.sum(), 1.0)) - np.log2(np.maximum(counts_N, 1.0))
    return bits_N


def per_user(
    ranked_UK: Ints, ks: Sequence[int], *, popularity_N: npt.NDArray[np.floating], content: "Content | None"
) -> dict[str, Doubles]:
    """`{"novelty@10": [U], "ild@10": ..., "arp@10": ...}`; NaN for a user whose list is too short.

    - novelty@k: mean `information` of the items listed.
    - arp@k: their mean number of positive training events (average recommendation popularity,
      Yin et al. 2012, Abdollahpouri et al. 2019).
    - ild@k: mean distance between two items of a list in `content` (Ziegler et al. 2005); absent where there
      is none.
    """
    values = {"novelty": information(popularity_N), "arp": popularity_N.astype(np.float64)}
    found = {name: _listed_means(value_N, ranked_UK, ks) for name, value_N in values.items()}
    if content is not None:
        found["ild"] = content.diversity(ranked_UK, ks)
    return {f"{name}@{k}": found[name][k] for k in ks for name in PER_USER if name in found}


def _listed_means(value_N: Doubles, ranked_UK: Ints, ks: Sequence[int]) -> dict[int, Doubles]:
    listed_UK = ranked_UK != PAD
    value_UK = np.where(listed_UK, value_N[ranked_UK], 0.0)
    return {k: _ratio(value_UK[:, :k].sum(1), listed_UK[:, :k].sum(1)) for k in ks}


def _ratio(sums: Doubles, counts: Ints) -> Doubles:
    """NaN where there is nothing to count."""
    ratio: Doubles = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return ratio


class Exposure:
    """The items of each user's list, from which the exposure in any resample of the users is counted."""

    def __init__(self, ranked_UK: Ints, ks: Sequence[int]) -> None:
        self.dtype = np.dtype(np.int16 if len(ranked_UK) < 2**15 else np.int32)  # holds a number of users
        ids, item = np.unique(ranked_UK[:, : max(ks)], return_inverse=True)
        item_UK = item.reshape(len(ranked_UK), -1) - (PAD in ids)  # padding is no item
        self.num_listed = len(ids) - (PAD in ids)
        bounds = [0, *sorted(set(ks))]
        self._steps = {k: self._members(item_UK[:, before:k]) for before, k in pairwise(bounds)}

    def _members(self, item_UK: Ints) -> csr_matrix:
        user, column = np.nonzero(item_UK >= 0)
        ones = np.ones(len(user), self.dtype)
        return csr_matrix((ones, (item_UK[user, column], user)), (self.num_listed, len(item_UK)))

    def counts(self, drawn_UR: npt.NDArray[np.integer]) -> Iterator[tuple[int, Ints]]:
        """For each k the exposure: the number of lists with each item. Shape [R, N], N items of any list.

        `drawn_UR` is how often each user is drawn; the sum of a column is at most the number of users.
        """
        drawn_UR = drawn_UR.astype(self.dtype)
        total_NR = np.zeros((self.num_listed, drawn_UR.shape[1]), self.dtype)
        for k, members_NU in self._steps.items():
            total_NR += members_NU @ drawn_UR
            yield k, np.ascontiguousarray(total_NR.T, np.int32)  # the fastest layout and type to sort


class Content:
    """Vectors of the items' media, for distances that are the same for every model.

    Each modality's vectors are standardised over the items that have the modality, and scaled to unit length.
    An item's vector is the concatenation of its modalities' vectors, zeros for a missing one, scaled to unit
    length. The cosine of two items with the same modalities is the mean of their cosines in each modality.
    Numeric fields, categories and ids are no media.
    """

    def __init__(self, items: ItemFeatures) -> None:
        self.names = tuple(name for name in BY_NAME if name in items.dense and name != Modality.NUMERIC)
        self._items = items
        self._scales = {name: _scale(items.dense[name], items.observed(name)) for name in self.names}
        self._num_N: Ints = np.zeros(items.size, np.int64) + sum(items.observed(name) for name in self.names)

    @classmethod
    def of(cls, items: ItemFeatures) -> "Content | None":
        """The content of `items`; None where no item has a medium."""
        content = cls(items)
        return content if content.names else None

    def unit(self, name: str, ids: Ints) -> Doubles:
        """The part of the items' vectors that belongs to modality `name`. Shape [len(ids), D]."""
        has = self._items.observed(name)[ids]
        mean_D, std_D = self._scales[name]
        vectors_ND: Doubles = (self._items.dense[name][ids] - mean_D) / std_D
        length_N = np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND) * self._num_N[ids])
        scale_N = np.divide(1.0, length_N, out=np.zeros_like(length_N), where=has & (length_N > 0))
        vectors_ND *= scale_N[:, None]
        return vectors_ND

    def diversity(self, ranked_UK: Ints, ks: Sequence[int]) -> dict[int, Doubles]:
        """For each k, mean 1 - cosine over the pairs of items with content among the first k. Each [U].

        NaN where fewer than two of the first k have content.
        """
        parts = [
            self._diversity(ranked_UK[start : start + _USERS_AT_ONCE], ks)
            for start in range(0, len(ranked_UK), _USERS_AT_ONCE)
        ]
        return {k: np.concatenate([np.empty(0), *(part[k] for part in parts)]) for k in ks}

    def _diversity(self, ranked_UK: Ints, ks: Sequence[int]) -> dict[int, Doubles]:
        """`diversity` of some users. The sum of a list's cosines is the squared norm of its vectors' sum."""
        ids, column = np.unique(ranked_UK[:, : max(ks)], return_inverse=True)
        column_UK = column.reshape(len(ranked_UK), -1)
        square_Uk = np.zeros((len(ranked_UK), len(ks)))
        own_N = np.zeros(len(ids))  # squared length: 1, or 0 for an item whose vectors equal the mean
        order = np.argsort(ks)
        bounds = [0, *(ks[at] for at in order)]
        steps = [_members(column_UK[:, before:k], len(ids)) for before, k in pairwise(bounds)]
        for name in self.names:
            sums_SUD = np.zeros((len(steps), len(ranked_UK), self._items.dense[name].shape[1]))
            for start in range(0, len(ids), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                unit_ND = self.unit(name, ids[part])
                own_N[part] += np.einsum("nd,nd->n", unit_ND, unit_ND)
                for sum_UD, members_UN in zip(sums_SUD, steps, strict=True):
                    sum_UD += members_UN[:, part] @ unit_ND
            for at, sum_UD in zip(order, np.cumsum(sums_SUD, axis=0, out=sums_SUD), strict=True):
                square_Uk[:, at] += np.einsum("ud,ud->u", sum_UD, sum_UD)
        has_UK, own_UK = self._num_N[ids][column_UK] > 0, own_N[column_UK]
        found = {}
        for at, k in enumerate(ks):
            num_U = has_UK[:, :k].sum(1)
            cosines_U = square_Uk[:, at] - own_UK[:, :k].sum(1)
            found[k] = 1.0 - _ratio(cosines_U, num_U * (num_U - 1))
        return found


def _members(column_UK: Ints, width: int) -> csc_matrix:
    """The columns of each row as a sparse matrix, stored by column. Shape [U, width]."""
    starts = np.arange(len(column_UK) + 1) * column_UK.shape[1]
    ones = np.ones(column_UK.size)
    return csr_matrix((ones, column_UK.ravel(), starts), (len(column_UK), width)).tocsc()


def _scale(vectors_ND: Floats, present_N: Bools) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of each column over the rows that are present, computed in parts.

    The deviation of a column that is constant, up to rounding, is infinite, so that the column becomes zeros.
    """
    rows = np.flatnonzero(present_N)
    parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
    zero = np.zeros(vectors_ND.shape[1])
    num = max(len(rows), 1)
    mean_D = sum((vectors_ND[part].sum(0, dtype=np.float64) for part in parts), zero) / num
    squares = (((vectors_ND[part] - mean_D) ** 2).sum(0) for part in parts)
    std_D = np.sqrt(sum(squares, zero) / num)
    std_D[std_D <= _ROUNDING * np.abs(mean_D)] = np.inf
    return mean_D, std_D
