"""Arrays of a dataset's items for the item tower, from the events and reviews that a split allows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import Dataset, MediaVectors, MediumVectors
from features.splits import TrainStatistics, statistics_of
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED, IdMap
from recsys.item_features import ItemFeatures
from recsys.modalities import BY_NAME, Modality

MAX_CATEGORY_VALUES = 8  # values of one field that an item keeps


def build_item_features(
    dataset: Dataset,
    vectors: MediaVectors,
    *,
    train: pl.DataFrame | TrainStatistics,
    reviews: pl.DataFrame,
) -> ItemFeatures:
    """Features of the whole catalogue at the end of training.

    `reviews` are the rows of `dataset.reviews` that may be read. Vocabularies, scales, popularity and the set
    of trained items come from `train` alone.
    """
    item_ids = IdMap(dataset.items[Columns.ITEM].to_list())
    statistics = statistics_of(train)
    trained, popularity = _training_counts(item_ids, statistics)
    dense: dict[str, Floats] = {}
    present: dict[str, Bools] = {}
    imputed: dict[str, Bools] = {}
    for name in BY_NAME:
        found = _dense(name, dataset, vectors, reviews, item_ids, trained)
        if found is not None and found[1].any():
            dense[name], present[name] = found
            if name in vectors.imputed:
                imputed[name] = _fill(dense[name], present[name], vectors.imputed[name])
    as_cold = _reviews_as_cold(dataset, vectors, statistics, reviews, item_ids, tuple(dense))
    category_ids, categories = _categories(dataset.items, trained)
    return ItemFeatures(
        item_ids=item_ids,
        dense=dense,
        present=present,
        categories=categories,
        category_ids=category_ids,
        trained=trained,
        popularity=popularity,
        dense_as_cold={name: vectors for name, (vectors, _) in as_cold.items()},
        present_as_cold={name: has for name, (_, has) in as_cold.items()},
        imputed=imputed,
        owners=tuple(dataset.items[Columns.OWNER]) if Columns.OWNER in dataset.items.columns else (),
    )


def _training_counts(item_ids: IdMap, train: TrainStatistics) -> tuple[Bools, Floats]:
    counts = train.item_counts(item_ids)
    trained, popularity = counts[:, 0] > 0, counts[:, 1].astype(np.float32)
    trained[:NUM_RESERVED] = False
    popularity[:NUM_RESERVED] = 0.0
    return trained, popularity


def _dense(
    name: str, dataset: Dataset, vectors: MediaVectors, reviews: pl.DataFrame, item_ids: IdMap, trained: Bools
) -> tuple[Floats, Bools] | None:
    if name == Modality.NUMERIC:
        return _numeric(dataset.items, trained)
    if name in vectors.items:
        return _reserve(*vectors.items[name].pooled(len(item_ids)))
    if name in vectors.reviews:
        return _reserve(*_review_pool(vectors.reviews[name], dataset, reviews, item_ids))
    return None


def _fill(dense: Floats, present: Bools, medium: MediumVectors) -> Bools:
    """Write the imputed vectors into the rows of items without one; which items got one. Shape [N]."""
    rows = medium.owner + NUM_RESERVED
    assert not present[rows].any(), "only what is missing is imputed"
    dense[rows], present[rows] = medium.vectors, True
    imputed = np.zeros_like(present)
    imputed[rows] = True
    return imputed


def _review_pool(
    medium: MediumVectors, dataset: Dataset, reviews: pl.DataFrame, item_ids: IdMap
) -> tuple[Floats, Bools]:
    """Mean vector of each item's allowed reviews."""
    is_allowed = dataset.reviews[Columns.ROW].is_in(reviews[Columns.ROW].implode()).to_numpy()
    keep = is_allowed[medium.owner]
    item_of_review = item_ids.encode(dataset.reviews[Columns.ITEM]) - NUM_RESERVED
    allowed = MediumVectors(owner=item_of_review[medium.owner[keep]], vectors=medium.vectors[keep])
    return allowed.pooled(len(item_ids))


def _kept_as_cold(statistics: TrainStatistics, reviews: pl.DataFrame) -> pl.DataFrame:
    """The reviews whose authors have no training event on the item.

    Reviews of held (user, item) pairs are left out, so that a cold item has only reviews of authors without
    an event on it, such as testers.
    """
    return reviews.filter(~pl.Series(statistics.has_event(reviews), dtype=pl.Boolean))


def _reviews_as_cold(
    dataset: Dataset,
    vectors: MediaVectors,
    statistics: TrainStatistics,
    reviews: pl.DataFrame,
    item_ids: IdMap,
    modalities: tuple[str, ...],
) -> dict[str, tuple[Floats, Bools]]:
    """Mean vectors of the reviews of `_kept_as_cold`, for items that are read as cold items.

    The mean of many reviews differs from the mean of few. From the mean of all reviews the towers could
    recognise warm items that are read as cold.
    """
    kept = _kept_as_cold(statistics, reviews)
    return {
        name: _reserve(*_review_pool(medium, dataset, kept, item_ids))
        for name, medium in vectors.reviews.items()
        if name in modalities
    }


def _numeric(items: pl.DataFrame, trained: Bools) -> tuple[Floats, Bools] | None:
    """Standardised numeric fields, then their masks; and the items with any. None without a field."""
    scale = NumericScale.of(items, trained[NUM_RESERVED:])
    return None if scale is None else _reserve(*scale.vectors(items))


@dataclass(frozen=True, kw_only=True)
class NumericScale:
    """Mean and standard deviation of each numeric field over the trained items."""

    columns: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]  # 1 where all values are equal
    has_any: Bools  # a field without a value of a trained item has no mean

    @classmethod
    def of(cls, items: pl.DataFrame, trained: Bools) -> "NumericScale | None":
        """The scale of the columns of `items`, of which the rows `trained` count; None without a column."""
        columns = [name for name in items.columns if name.startswith(Columns.NUMERIC_PREFIX)]
        if not columns:
            return None
        raw = items.select(columns).to_numpy().astype(np.float64)
        fitted = np.where(np.isfinite(raw) & trained[:, None], raw, np.nan)
        has_any: Bools = np.asarray(np.isfinite(fitted).any(0))
        filled = np.where(has_any, fitted, 0.0)
        mean, std = np.nanmean(filled, 0), np.nanstd(filled, 0)
        return cls(columns=tuple(columns), mean=mean, deviation=np.where(std > 0, std, 1.0), has_any=has_any)

    def vectors(self, items: pl.DataFrame) -> tuple[Floats, Bools]:
        """Standardised fields, then their masks; and the items with any. Shapes [n, 2F], [n]."""
        raw = items.select(self.columns).to_numpy().astype(np.float64)
        known = np.isfinite(raw) & self.has_any
        scaled = np.where(known, (raw - self.mean) / self.deviation, 0.0).clip(-5, 5)
        return np.concatenate([scaled, known], axis=1).astype(np.float32), known.any(1)


def _categories(items: pl.DataFrame, trained: Bools) -> tuple[dict[str, IdMap], dict[str, Ints]]:
    vocabularies: dict[str, IdMap] = {}
    arrays: dict[str, Ints] = {}
    is_trained = pl.Series(trained[NUM_RESERVED:])
    for column in (name for name in items.columns if name.startswith(Columns.CATEGORY_PREFIX)):
        field = column.removeprefix(Columns.CATEGORY_PREFIX)
        values = items.filter(is_trained)[column].explode().drop_nulls().unique().sort().to_list()
        ids = IdMap(values)
        encoded = [ids.encode((row or [])[:MAX_CATEGORY_VALUES]) for row in items[column].to_list()]
        width = max([1, *map(len, encoded)])
        array = np.zeros((len(items) + NUM_RESERVED, width), np.int64)
        for place, row in enumerate(encoded, NUM_RESERVED):
            array[place, : len(row)] = row
        vocabularies[field], arrays[field] = ids, array
    return vocabularies, arrays


def _reserve(vectors: Floats, present: Bools) -> tuple[Floats, Bools]:
    """Prepend the rows of padding and of the unknown item, which are absent."""
    head = np.zeros((NUM_RESERVED, vectors.shape[1]), np.float32)
    absent = np.zeros(NUM_RESERVED, np.bool_)
    return np.concatenate([head, vectors.astype(np.float32)]), np.concatenate([absent, present])
