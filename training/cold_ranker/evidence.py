"""Lists of pseudo-cold items with the evidence that the cold ranker reads.

Pseudo-cold items are warm items that are ranked as if they were cold. A fold is a random sample of them. Its
items are removed from the histories of validation users, and a user's choices among them, before validation
or in it, are the ground truth. The vector of an item comes from a content regression that was fitted without
the item (cross-fitting), and the content neighbours read the item as a cold item.

Legend: L lists (of a user and a fold), P pseudo-cold items of a fold, F kinds of evidence, N items, U users,
    M neighbors of an item, S content sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures
from training.candidates import Neighbors, content_neighbors
from training.cold_start import ValidationUsers

MAX_USERS = 500  # of each fold, sampled at random
POPULAR_NEIGHBORS = 10  # warm items whose popularity is read for an item


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the cosines of a modality become evidence; the exponent is 1 or 1 / power."""

    power: float
    exponent: float


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The users who chose any pseudo-cold item of one fold, without these items in their histories."""

    items: Ints  # [P] ids, ascending
    user: Ints  # [L] number of the user among all validation users
    ground_truth: Sequence[Ints]  # [L]
    seen: Sequence[Ints]  # [L]
    histories: Sequence[History]  # [L]
    towers_LP: Floats  # the towers' scores
    neighbors: Mapping[str, Neighbors]  # modality -> the nearest pseudo-cold items of every item
    has_P: Mapping[str, Bools]  # modality -> which pseudo-cold items have it
    popularity_P: Floats  # mean log(1 + events) of the nearest warm items, NaN where unknown

    def content(self, modality: str, form: "Form") -> Floats:
        """(Mean over the history of cosine ** power) ** exponent. Shape [L, P]."""
        near = self.neighbors[modality]
        size = len(near.item)
        place_NM = np.searchsorted(self.items, near.item).clip(max=len(self.items) - 1)
        weight_NM = near.sharpened(form.power)
        row = np.repeat(np.arange(size), near.item.shape[1])
        table_NP = csr_matrix((weight_NM.ravel(), (row, place_NM.ravel())), shape=(size, len(self.items)))
        score_LP: Floats = (_counts(self.histories, size) @ table_NP).toarray().astype(np.float32)
        return score_LP**form.exponent


def standardised(score_LP: Floats, known_P: Bools) -> Floats:
    """(score - mean) / deviation over the items `known_P` of each list; 0 for all others, and without any."""
    if not known_P.any():
        return np.zeros_like(score_LP)
    known_LP = score_LP[:, known_P]
    mean_L1, deviation_L1 = known_LP.mean(1, keepdims=True), known_LP.std(1, keepdims=True)
    scaled_LP = np.where(deviation_L1 > 1e-9, (score_LP - mean_L1) / np.maximum(deviation_L1, 1e-9), 0.0)
    scaled_LP[:, ~known_P] = 0.0
    return scaled_LP.astype(np.float32)


def standardised_known(value_P: Floats) -> Floats:
    """(value - mean) / deviation over the values that are not NaN; 0 for NaN. Shape [P]."""
    known_P = ~np.isnan(value_P)
    return standardised(np.where(known_P, value_P, 0.0)[None].astype(np.float32), known_P)[0]


def make_folds(
    features: ItemFeatures,
    users: ValidationUsers,
    pseudo_cold_ND: Floats,
    *,
    modalities: Sequence[str],
    num_folds: int,
    num_items: int,
    num_neighbors: int,
    seed: int,
) -> Iterator[Fold]:
    """Disjoint folds, each with at most `num_items` pseudo-cold items; a fold without a list is left out."""
    rng = np.random.default_rng([seed, 2])
    shuffled = rng.permutation(np.flatnonzero(pseudo_cold_ND.any(1)))
    # No more than half of the warm items are taken away at once.
    num_items = min(num_items, len(shuffled) // num_folds, int(features.trained.sum()) // 2)
    for fold in range(num_folds):
        items = np.sort(shuffled[fold * num_items : (fold + 1) * num_items])
        pool_N = np.zeros(features.size, np.bool_)
        pool_N[items] = True
        sampled = rng.permutation(len(users.ground_truth))[:MAX_USERS]
        before = users.only(sampled).before(pool_N)
        assert before.past is not None
        truth = [
            np.setdiff1d(each[pool_N[each]], seen)
            for each, seen in zip(before.ground_truth, before.seen, strict=True)
        ]
        has_history = [bool((history.item >= NUM_RESERVED).any()) for history in before.past.histories]
        rows = [row for row, each in enumerate(truth) if len(each) and has_history[row]]
        if not rows:
            continue
        warm_N = features.trained & ~pool_N
        neighbors = {
            name: content_neighbors(features, name, items, num_neighbors, as_cold=True) for name in modalities
        }
        yield Fold(
            items=items,
            user=sampled[rows],
            ground_truth=[truth[row] for row in rows],
            seen=[before.seen[row] for row in rows],
            histories=[before.past.histories[row] for row in rows],
            towers_LP=(before.user_UD[rows] @ pseudo_cold_ND[items].T).astype(np.float32),
            neighbors=neighbors,
            has_P={name: np.isin(items, near.item) for name, near in neighbors.items()},
            popularity_P=nearest_popularity(features, neighbors, items, warm_N),
        )


def nearest_popularity(
    features: ItemFeatures, neighbors: Mapping[str, Neighbors], items: Ints, warm_N: Bools
) -> Floats:
    """For each of `items`, the mean log(1 + events) of the nearest warm items by each modality. Shape [P].

    `neighbors` are the nearest of `items` to every item. NaN where no warm item has the item as a neighbor.
    """
    logged_N = np.log1p(features.popularity)
    total_P, count_P = np.zeros(len(items)), np.zeros(len(items))
    for near in neighbors.values():
        row, column = np.nonzero((near.cosine > 0) & warm_N[:, None])
        item, cosine = near.item[row, column], near.cosine[row, column]
        order = np.lexsort((row, -cosine, item))
        item, row = item[order], row[order]
        first = np.searchsorted(item, item)
        best = np.arange(len(item)) - first < POPULAR_NEIGHBORS
        place = np.searchsorted(items, item[best])
        sum_P = np.bincount(place, logged_N[row[best]], minlength=len(items))
        num_P = np.bincount(place, minlength=len(items))
        total_P += np.where(num_P > 0, sum_P / np.maximum(num_P, 1), 0.0)
        count_P += num_P > 0
    with np.errstate(invalid="ignore"):
        return (total_P / np.where(count_P > 0, count_P, np.nan)).astype(np.float32)


def _counts(histories: Sequence[History], size: int) -> csr_matrix:
    """Share of each item in the events of each history. Shape [L, N]."""
    length = np.array([len(history.item) for history in histories])
    row = np.repeat(np.arange(len(histories)), length)
    item = np.concatenate([history.item for history in histories])
    real = item >= NUM_RESERVED
    share = 1.0 / np.maximum(length, 1)[row]
    return csr_matrix((share[real], (row[real], item[real])), shape=(len(histories), size))
