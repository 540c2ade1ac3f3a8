"""How content a review sounds: its rating foretold from its words and its voice.

A ridge regression of ratings, less what their author gives on average, on the vectors of reviews that may be
read. It is cross-fitted by item: what is said of a review comes from a map that saw no rating of its item, so
that no item's ratings come back to it as what its reviews "say", by way of their authors' means neither.

Legend: R reviews of the dataset, V rated reviews with a vector, W inputs, N items, F folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset.tables import Dataset, MediaVectors, MediumVectors
from features.inputs.histories import ReviewVectors
from features.splits.train_statistics import TrainStatistics
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED, IdMap
from recsys.ridge import solve_ridge

Doubles = npt.NDArray[np.float64]

MIN_RATED = 100  # reviews; with fewer there is nothing to fit on
MAX_RATED = 50_000  # reviews, drawn by lot, that are fitted on
ROWS_AT_ONCE = 1 << 14  # reviews of which something is said at once
NUM_FOLDS = 5
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
AUTHOR_SHRINKAGE = 5.0  # ratings at the mean of all that an author is credited with
ITEM_SHRINKAGE = 2.0  # reviews without a leaning that an item is credited with
MIN_CORRELATION = 0.3  # held out, below which nothing is said of what reviewers feel
MIN_REVIEWS = 3  # of an item of which something is said
SURE = 2.576  # deviations: where items do not differ, one in 200 stands above by chance

PRAISE, ENTHUSIASM = "praise", "enthusiasm"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Of predictions by maps that saw no rating of the item."""

    num_rated: int
    r2: float
    correlation: float
    penalty: float


@dataclass(frozen=True, kw_only=True)
class Sentiment:
    """What is foretold of the reviews that may be read, in units of the rating around 0."""

    by_review: Floats  # [R], NaN where a review may not be read or has no vector
    by_voice: Floats | None  # [R], from the voice alone
    quality: Mapping[str, Quality] = field(default_factory=dict)  # of "text", "voice" and "both"

    def of_items(self, items_R: Ints, num_items: int, chosen_R: Bools) -> tuple[Floats, Bools]:
        """Mean over each item's chosen reviews, drawn to 0 where they are few, and whether it has any.

        Shapes [N, 1] and [N].
        """
        known_R = np.isfinite(self.by_review) & chosen_R
        count_N = np.bincount(items_R[known_R], minlength=num_items)
        sum_N = np.bincount(items_R[known_R], self.by_review[known_R], minlength=num_items)
        return (sum_N / (count_N + ITEM_SHRINKAGE)).astype(np.float32)[:, None], count_N > 0

    def verdicts(self, items_R: Ints, num_items: int) -> list[str | None]:
        """`ENTHUSIASM` or `PRAISE` for items whose reviewers are surely more content than most. [N]

        At least `MIN_REVIEWS` reviews, whose mean is `SURE` deviations of such a mean above that of all
        reviews; nothing where held-out ratings are not foretold.
        """
        praised_N = self._above("both", self.by_review, items_R, num_items)
        sounding_N = self._above("voice", self.by_voice, items_R, num_items)
        return [
            ENTHUSIASM if sounds else PRAISE if is_praised else None
            for is_praised, sounds in zip(praised_N.tolist(), sounding_N.tolist(), strict=True)
        ]

    def _above(self, source: str, said_R: Floats | None, items_R: Ints, num_items: int) -> Bools:
        quality = self.quality.get(source)
        if said_R is None or quality is None or not quality.correlation >= MIN_CORRELATION:
            return np.zeros(num_items, np.bool_)
        known_R = np.isfinite(said_R)
        count_N = np.bincount(items_R[known_R], minlength=num_items)
        sum_N = np.bincount(items_R[known_R], said_R[known_R], minlength=num_items)
        mean, deviation = float(said_R[known_R].mean()), float(said_R[known_R].std())
        number_N = np.maximum(count_N, 1)
        bound_N = sum_N / number_N - SURE * deviation / np.sqrt(number_N)
        above_N: Bools = (count_N >= MIN_REVIEWS) & (bound_N > mean)
        return above_N


def fit_sentiment(
    dataset: Dataset, vectors: MediaVectors, *, train: TrainStatistics, reviews: pl.DataFrame
) -> Sentiment | None:
    """Fitted on `reviews`, which may be read, and their ratings; None where too few are rated.

    A review's rating is its own value, and where it has none that of a training event of its author on its
    item. Choosing the penalty by the same held-out errors as are reported flatters these by next to nothing:
    it is one number out of six.
    """
    media = ReviewVectors.of(vectors)
    parts = {name: m for name, m in (("text", media.text), ("voice", media.audio)) if m is not None}
    readable_R = dataset.reviews[Columns.ROW].is_in(reviews[Columns.ROW].implode()).to_numpy()
    rating_R = _ratings(dataset.reviews, train)
    rating_R[~readable_R] = np.nan
    if not parts:
        return None
    fold_R = _folds(dataset.reviews[Columns.ITEM])
    authors = dataset.reviews[Columns.USER]
    target_FR = np.stack([_centred(rating_R, authors, fold_R != fold) for fold in range(NUM_FOLDS)])
    fits = {
        name: found
        for name, chosen in (("text", ("text",)), ("voice", ("voice",)), ("both", tuple(parts)))
        if set(chosen) <= set(parts)
        and (found := _fit([parts[each] for each in chosen], readable_R, target_FR, fold_R))
    }
    if "both" not in fits:
        return None
    return Sentiment(
        by_review=fits["both"][0],
        by_voice=fits["voice"][0] if "voice" in fits else None,
        quality={name: quality for name, (_, quality) in fits.items()},
    )


def review_items(dataset: Dataset, item_ids: IdMap) -> Ints:
    """Place of each review's item, counted from 0. Shape [R]."""
    places: Ints = item_ids.encode(dataset.reviews[Columns.ITEM]) - NUM_RESERVED
    return places


def _ratings(reviews: pl.DataFrame, train: TrainStatistics) -> Doubles:
    own = reviews[Columns.VALUE].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isnan(own), train.values_of(reviews), own)


def _centred(rating_R: Doubles, authors: pl.Series, by_R: Bools) -> Doubles:
    """Ratings less what their author gives, an author of few ratings being drawn to the mean of all.

    What that is the ratings `by_R` say.
    """
    known_R = np.isfinite(rating_R) & by_R
    if not known_R.any():
        return rating_R
    author_R = authors.rank("dense").to_numpy().astype(np.int64)
    apart_R = rating_R - rating_R[known_R].mean()
    sums = np.bincount(author_R[known_R], apart_R[known_R], minlength=author_R.max() + 1)
    counts = np.bincount(author_R[known_R], minlength=author_R.max() + 1)
    centred: Doubles = apart_R - (sums / (counts + AUTHOR_SHRINKAGE))[author_R]
    return centred


def _folds(items: pl.Series) -> Ints:
    """A fold for each review, the same for all of an item. Shape [R]."""
    place_R = items.rank("dense").to_numpy().astype(np.int64) - 1
    fold_of_item = np.random.default_rng(0).permutation(np.arange(place_R.max(initial=0) + 1) % NUM_FOLDS)
    folds: Ints = fold_of_item[place_R]
    return folds


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """Vectors of reviews, standardised and each part at about unit length, and a last column of 1."""

    parts: Sequence[MediumVectors]  # one vector a review at most, owners ascending
    scales: Sequence[tuple[Doubles, Doubles]]  # mean and deviation of each part

    @classmethod
    def over(cls, parts: Sequence[MediumVectors], rows_V: Ints) -> "_Inputs":
        """Scaled by the reviews in `rows_V`."""
        scales = []
        for medium in parts:
            vector_VM = medium.vectors[np.isin(medium.owner, rows_V)].astype(np.float64)
            scales.append((vector_VM.mean(0), np.maximum(vector_VM.std(0), 1e-6)))
        return cls(parts=parts, scales=scales)

    def of(self, rows_V: Ints) -> Doubles:
        """Of the reviews in `rows_V`; zeros where one lacks a part. Shape [V, W]."""
        blocks = []
        for medium, (mean_M, deviation_M) in zip(self.parts, self.scales, strict=True):
            place_V = np.minimum(np.searchsorted(medium.owner, rows_V), len(medium.owner) - 1)
            has_V = medium.owner[place_V] == rows_V
            block_VM = (medium.vectors[place_V] - mean_M) / deviation_M / len(mean_M) ** 0.5
            blocks.append(block_VM * has_V[:, None])
        return np.concatenate([*blocks, np.ones((len(rows_V), 1))], axis=1)


def _fit(
    parts: Sequence[MediumVectors], readable_R: Bools, target_FR: Doubles, fold_R: Ints
) -> tuple[Floats, Quality] | None:
    """What is said of each readable review with a vector, and how good that is on held-out items.

    `target_FR` are the ratings as the other folds' ratings centre them.
    """
    has_R = np.zeros(len(readable_R), np.bool_)
    for medium in parts:
        has_R[medium.owner] = True
    has_R &= readable_R
    rated_V = np.flatnonzero(has_R & np.isfinite(target_FR[0]))
    rated_V = np.sort(np.random.default_rng(0).permutation(rated_V)[:MAX_RATED])
    fold_V, target_FV = fold_R[rated_V], target_FR[:, rated_V]
    if len(rated_V) < MIN_RATED or len(np.unique(fold_V)) < NUM_FOLDS:
        return None
    inputs = _Inputs.over(parts, rated_V)
    input_VW = inputs.of(rated_V)
    gram_WW = input_VW.T @ input_VW
    maps = {penalty: np.empty((NUM_FOLDS, len(gram_WW))) for penalty in PENALTIES}
    for fold in range(NUM_FOLDS):
        out_VW, moment_W = input_VW[fold_V == fold], input_VW.T @ (target_FV[fold] * (fold_V != fold))
        for penalty, map_FW in maps.items():
            map_FW[fold] = solve_ridge(gram_WW - out_VW.T @ out_VW, moment_W, penalty)
    target_V = target_FV[fold_V, np.arange(len(rated_V))]
    held_out = {penalty: np.einsum("vw,vw->v", input_VW, map_FW[fold_V]) for penalty, map_FW in maps.items()}
    best = min(PENALTIES, key=lambda penalty: float(np.mean((held_out[penalty] - target_V) ** 2)))
    said_R = np.full(len(fold_R), np.nan, np.float32)
    for rows in np.array_split(np.flatnonzero(has_R), max(1, int(has_R.sum()) // ROWS_AT_ONCE)):
        said_R[rows] = np.einsum("vw,vw->v", inputs.of(rows), maps[best][fold_R[rows]])
    return said_R, _quality(held_out[best], target_V, best)


def _quality(said_V: Doubles, target_V: Doubles, penalty: float) -> Quality:
    spread = float(np.var(target_V))
    varies = spread > 0 and float(np.std(said_V)) > 0
    return Quality(
        num_rated=len(target_V),
        r2=1.0 - float(np.mean((said_V - target_V) ** 2)) / spread if spread > 0 else 0.0,
        correlation=float(np.corrcoef(said_V, target_V)[0, 1]) if varies else 0.0,
        penalty=penalty,
    )
