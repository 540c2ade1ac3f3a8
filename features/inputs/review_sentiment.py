"""An annotation of the catalogue: items whose reviewers are more satisfied than most.

A ridge regression predicts ratings from the vectors of reviews (their words and their voices). The target
of a review is its rating minus its author's mean rating. The regression is cross-fitted by item: the
prediction for a review comes from a fit without any rating of its item, neither as a target nor within an
author's mean. No model reads the annotation; reasons and filters of a served bundle do, so all reviews may be
read.

Legend: R reviews of the dataset, V rated reviews with a vector, W inputs of the regression, M width of one
medium's vectors, N items, F folds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import Dataset, MediaVectors, MediumVectors
from features.inputs.histories import ReviewVectors
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.files import replacing
from recsys.ids import NUM_RESERVED, IdMap
from recsys.ridge import solve_ridge

Doubles = npt.NDArray[np.float64]


# Constants, not settings: with lower bounds, items would be annotated by chance.
MIN_RATED = 100  # rated reviews; a regression on fewer is noise
MAX_RATED = 50_000  # rated reviews that are fitted on, drawn at random: more no longer change the fit
ROWS_AT_ONCE = 1 << 14  # reviews that are predicted at once, which bounds memory
NUM_FOLDS = 5
RIDGE_ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
AUTHOR_SHRINKAGE = 5.0  # pseudo-ratings at the overall mean within an author's mean
MIN_CORRELATION = 0.3  # of held-out predictions and ratings; below it no item is labelled
MIN_REVIEWS = 3  # of an item that is labelled
NUM_DEVIATIONS = 2.576  # of a mean above the overall mean: by chance one item in 200 exceeds it

PRAISE, ENTHUSIASM = "praise", "enthusiasm"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well held-out predictions match the ratings, the author's mean subtracted."""

    num_rated: int
    r2: float
    correlation: float
    ridge_alpha: float


@dataclass(frozen=True, kw_only=True)
class ReviewSentiment:
    """Predicted ratings of reviews, in units of the rating around 0."""

    by_review: Floats  # [R], NaN where a review has no vector
    by_voice: Floats | None  # [R], from the voice alone
    quality: Mapping[str, Quality] = field(default_factory=dict)  # by input: "text", "voice", "both"

    def labels(self, items_R: Ints, num_items: int) -> list[str | None]:
        """`ENTHUSIASM`, `PRAISE` or None for each item. [N]

        A label needs `MIN_REVIEWS` reviews whose mean prediction lies `NUM_DEVIATIONS` standard errors above
        the mean of all reviews, and predictions that correlate with ratings. Enthusiasm is praise by voice.
        """
        praised_N = self._above("both", self.by_review, items_R, num_items)
        enthusiastic_N = self._above("voice", self.by_voice, items_R, num_items)
        return [
            ENTHUSIASM if is_enthusiastic else PRAISE if is_praised else None
            for is_praised, is_enthusiastic in zip(praised_N.tolist(), enthusiastic_N.tolist(), strict=True)
        ]

    def _above(self, source: str, predicted_R: Floats | None, items_R: Ints, num_items: int) -> Bools:
        quality = self.quality.get(source)
        if predicted_R is None or quality is None or not quality.correlation >= MIN_CORRELATION:
            return np.zeros(num_items, np.bool_)
        known_R = np.isfinite(predicted_R)
        count_N = np.bincount(items_R[known_R], minlength=num_items)
        sum_N = np.bincount(items_R[known_R], predicted_R[known_R], minlength=num_items)
        mean, deviation = float(predicted_R[known_R].mean()), float(predicted_R[known_R].std())
        number_N = np.maximum(count_N, 1)
        bound_N = sum_N / number_N - NUM_DEVIATIONS * deviation / np.sqrt(number_N)
        above_N: Bools = (count_N >= MIN_REVIEWS) & (bound_N > mean)
        return above_N


def annotate_reviewers(dataset: Dataset, vectors: MediaVectors, path: Path | None = None) -> list[str | None]:
    """The label of each row of `dataset.items`; None for all where too few reviews have a rating.

    Writes the quality of the predictions to `path`, a JSON file.
    """
    num_items = dataset.items.height
    sentiment = fit_review_sentiment(dataset, vectors)
    if path is not None:
        quality = {} if sentiment is None else sentiment.quality
        with replacing(path) as temporary:
            text = json.dumps({name: asdict(each) for name, each in quality.items()}, indent=2)
            temporary.write_text(text, "utf-8")
    if sentiment is None:
        return [None] * num_items
    place_of_item = IdMap(dataset.items[Columns.ITEM].to_list())
    return sentiment.labels(place_of_item.encode(dataset.reviews[Columns.ITEM]) - NUM_RESERVED, num_items)


def read_quality(path: Path) -> dict[str, Quality]:
    """The quality that `annotate_reviewers` wrote to `path`; empty without a file."""
    if not path.exists():
        return {}
    return {name: Quality(**values) for name, values in json.loads(path.read_text("utf-8")).items()}


def fit_review_sentiment(dataset: Dataset, vectors: MediaVectors) -> ReviewSentiment | None:
    """Predicted ratings of all reviews; None where no medium has vectors or too few reviews are rated.

    A review's rating is its own value; a review without a value takes the latest value among its author's
    events on its item. `Quality` is measured on the same held-out errors that choose `ridge_alpha`; the
    choice among six values hardly biases it.
    """
    media = ReviewVectors.of(vectors)
    parts = {name: m for name, m in (("text", media.text), ("voice", media.audio)) if m is not None}
    if not parts or not dataset.reviews.height:
        return None
    rating_R = _ratings(dataset)
    fold_R = _folds(dataset.reviews[Columns.ITEM])
    authors = dataset.reviews[Columns.USER]
    target_FR = np.stack([_minus_author_mean(rating_R, authors, fold_R != fold) for fold in range(NUM_FOLDS)])
    fits = {
        name: found
        for name, chosen in (("text", ("text",)), ("voice", ("voice",)), ("both", tuple(parts)))
        if set(chosen) <= set(parts) and (found := _fit([parts[each] for each in chosen], target_FR, fold_R))
    }
    if "both" not in fits:
        return None
    return ReviewSentiment(
        by_review=fits["both"][0],
        by_voice=fits["voice"][0] if "voice" in fits else None,
        quality={name: quality for name, (_, quality) in fits.items()},
    )


def _ratings(dataset: Dataset) -> Doubles:
    """Rating of each review, NaN where it has none. Shape [R]."""
    reviews, pair = dataset.reviews, [Columns.USER, Columns.ITEM]
    own = reviews[Columns.VALUE].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if not np.isnan(own).any():
        return own
    events = dataset.events_of_pairs(reviews).drop_nulls(Columns.VALUE).sort(Columns.TIMESTAMP, Columns.ROW)
    latest = events.group_by(pair).agg(found=pl.col(Columns.VALUE).last())
    joined = reviews.join(latest, on=pair, how="left", maintain_order="left")
    return np.where(np.isnan(own), joined["found"].cast(pl.Float64).fill_null(float("nan")).to_numpy(), own)


def _minus_author_mean(rating_R: Doubles, authors: pl.Series, used_R: Bools) -> Doubles:
    """Ratings minus their author's mean over the ratings `used_R`, the mean shrunk to that of all. [R]

    r - m - sum_author(r - m) / (count_author + AUTHOR_SHRINKAGE), with m the mean of all used ratings.
    """
    known_R = np.isfinite(rating_R) & used_R
    if not known_R.any():
        return rating_R
    author_R = authors.rank("dense").to_numpy().astype(np.int64)
    centred_R = rating_R - rating_R[known_R].mean()
    sums = np.bincount(author_R[known_R], centred_R[known_R], minlength=author_R.max() + 1)
    counts = np.bincount(author_R[known_R], minlength=author_R.max() + 1)
    target_R: Doubles = centred_R - (sums / (counts + AUTHOR_SHRINKAGE))[author_R]
    return target_R


def _folds(items: pl.Series) -> Ints:
    """A fold for each review, the same for all reviews of an item. Shape [R]."""
    place_R = items.rank("dense").to_numpy().astype(np.int64) - 1
    fold_of_item = np.random.default_rng(0).permutation(np.arange(place_R.max(initial=0) + 1) % NUM_FOLDS)
    folds: Ints = fold_of_item[place_R]
    return folds


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """Vectors of reviews, standardised, each medium scaled to about unit length, and a last column of 1."""

    parts: Sequence[MediumVectors]  # one vector a review at most, owners ascending
    scales: Sequence[tuple[Doubles, Doubles]]  # mean and deviation of each part

    @classmethod
    def over(cls, parts: Sequence[MediumVectors], rows_V: Ints) -> "_Inputs":
        """Standardised by the reviews in `rows_V`."""
        scales = []
        for medium in parts:
            vector_VM = medium.vectors[np.isin(medium.owner, rows_V)].astype(np.float64)
            scales.append((vector_VM.mean(0), np.maximum(vector_VM.std(0), 1e-6)))
        return cls(parts=parts, scales=scales)

    def of(self, rows_V: Ints) -> Doubles:
        """Inputs of the reviews in `rows_V`, zeros for a medium that a review lacks. Shape [V, W]."""
        blocks = []
        for medium, (mean_M, deviation_M) in zip(self.parts, self.scales, strict=True):
            place_V = np.minimum(np.searchsorted(medium.owner, rows_V), len(medium.owner) - 1)
            has_V = medium.owner[place_V] == rows_V
            block_VM = (medium.vectors[place_V] - mean_M) / deviation_M / len(mean_M) ** 0.5
            blocks.append(block_VM * has_V[:, None])
        return np.concatenate([*blocks, np.ones((len(rows_V), 1))], axis=1)


def _fit(parts: Sequence[MediumVectors], target_FR: Doubles, fold_R: Ints) -> tuple[Floats, Quality] | None:
    """Predictions for each review with a vector, and their quality on held-out items.

    `target_FR[f]` are the targets with author means over the ratings of the other folds.
    """
    has_R = np.zeros(len(fold_R), np.bool_)
    for medium in parts:
        has_R[medium.owner] = True
    rated_V = np.flatnonzero(has_R & np.isfinite(target_FR[0]))
    rated_V = np.sort(np.random.default_rng(0).permutation(rated_V)[:MAX_RATED])
    fold_V, target_FV = fold_R[rated_V], target_FR[:, rated_V]
    if len(rated_V) < MIN_RATED or len(np.unique(fold_V)) < NUM_FOLDS:
        return None
    inputs = _Inputs.over(parts, rated_V)
    input_VW = inputs.of(rated_V)
    weights = _cross_fit(input_VW, target_FV, fold_V)
    target_V = target_FV[fold_V, np.arange(len(rated_V))]
    held_out = {alpha: np.einsum("vw,vw->v", input_VW, each[fold_V]) for alpha, each in weights.items()}
    best = min(RIDGE_ALPHAS, key=lambda alpha: float(np.mean((held_out[alpha] - target_V) ** 2)))
    predicted_R = np.full(len(fold_R), np.nan, np.float32)
    for rows in np.array_split(np.flatnonzero(has_R), max(1, int(has_R.sum()) // ROWS_AT_ONCE)):
        predicted_R[rows] = np.einsum("vw,vw->v", inputs.of(rows), weights[best][fold_R[rows]])
    return predicted_R, _quality(held_out[best], target_V, best)


def _cross_fit(input_VW: Doubles, target_FV: Doubles, fold_V: Ints) -> dict[float, Doubles]:
    """By ridge alpha the weights fitted without each fold. Shape [F, W]."""
    gram_WW = input_VW.T @ input_VW
    weights = {alpha: np.empty((NUM_FOLDS, len(gram_WW))) for alpha in RIDGE_ALPHAS}
    for fold in range(NUM_FOLDS):
        out_VW, moment_W = input_VW[fold_V == fold], input_VW.T @ (target_FV[fold] * (fold_V != fold))
        for alpha, weight_FW in weights.items():
            weight_FW[fold] = solve_ridge(gram_WW - out_VW.T @ out_VW, moment_W, alpha)
    return weights


def _quality(predicted_V: Doubles, target_V: Doubles, ridge_alpha: float) -> Quality:
    spread = float(np.var(target_V))
    varies = spread > 0 and float(np.std(predicted_V)) > 0
    return Quality(
        num_rated=len(target_V),
        r2=1.0 - float(np.mean((predicted_V - target_V) ** 2)) / spread if spread > 0 else 0.0,
        correlation=float(np.corrcoef(predicted_V, target_V)[0, 1]) if varies else 0.0,
        ridge_alpha=ridge_alpha,
    )
