"""Checks the reviews that models can read: the table of allowed reviews, pooled vectors, attached vectors.

Legend: U users, V vectors, N items, D width.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import Dataset, MediaVectors, MediumVectors, encode
from features.inputs import ReviewVectors
from features.leakage.counts import NEVER, EventCounts
from features.leakage.events import AuditedEvents, among
from features.leakage.rules import Rules
from features.splits import CONTEXT, TEST, TRAIN, VALIDATION, Cut, Split
from recsys.arrays import Bools, Floats, Ints
from recsys.columns import Columns
from recsys.errors import LeakError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemFeatures

REVIEW_REMEDY = "let features.splits.review_visibility.allowed_reviews choose the reviews, and read no others"
_VECTORS_AT_ONCE = 1 << 16


def reviewers_of(events: AuditedEvents, reviews: pl.DataFrame) -> Bools:
    """Users who wrote any of `reviews`. Shape [U]."""
    wrote = np.zeros(len(events.users), np.bool_)
    codes = events.codes_of(reviews[Columns.USER].unique())
    wrote[codes[codes >= 0]] = True
    return wrote


def check_allowed(
    events: AuditedEvents, found: EventCounts, dataset: Dataset, allowed: pl.DataFrame, rules: Rules
) -> None:
    """Raises `LeakError` where `allowed` has a review of a held pair, or one from after the cut-off."""
    if not allowed.height:
        return
    user = events.codes_of(allowed[Columns.USER])
    held = among(events.keys(user, encode(allowed[Columns.ITEM], events.item_ids)), found.held)
    _reject(allowed, held & (user >= 0), "a review of a pair with an event outside training may be read")
    cut = cut_of(found, events.split, dataset.has_clock) if rules.derived else None
    own, for_all = _cut_offs(found, rules, cut)
    cut_off = np.minimum(np.append(own, NEVER)[user], for_all)  # the last entry is for authors without events
    time = allowed[Columns.TIMESTAMP]
    dated = time.is_not_null().to_numpy()
    late = dated & (time.fill_null(-NEVER).to_numpy() >= cut_off)
    whose = "the cut-off for all users" if for_all < NEVER else "its author's first held event"
    _reject(allowed, late, f"a review dated at or after {whose} may be read")
    if dataset.has_clock:
        undated = ~dated & (cut_off < NEVER)
        _reject(
            allowed, undated, f"a review without a date may be read, although it may be later than {whose}"
        )


def check_pooled(
    events: AuditedEvents,
    found: EventCounts,
    dataset: Dataset,
    vectors: MediaVectors,
    allowed: pl.DataFrame,
    features: ItemFeatures,
) -> None:
    """Raises `LeakError` where an item's pooled review vector is not the mean of its allowed reviews.

    The vectors of `dense_as_cold` must be the mean over the allowed reviews whose authors have no training
    event on the item.
    """
    item_of_review = encode(dataset.reviews[Columns.ITEM], events.item_ids)
    author = events.codes_of(dataset.reviews[Columns.USER])
    readable_row = dataset.reviews[Columns.ROW].is_in(allowed[Columns.ROW].implode()).to_numpy()
    has_event = among(events.keys(author, item_of_review), found.trained) & (author >= 0)
    for table, dense, present, readable in (
        ("dense", features.dense, features.present, readable_row),
        ("dense_as_cold", features.dense_as_cold, features.present_as_cold, readable_row & ~has_event),
    ):
        for name in vectors.reviews.keys() & dense.keys():
            medium = vectors.reviews[name]
            item_V, allowed_V = item_of_review[medium.owner], readable[medium.owner]
            wrong_N = _not_means(dense[name], present[name], medium, item_V, allowed_V)
            if wrong_N.any():
                item = int(wrong_N.argmax())
                hidden = medium.owner[~allowed_V & (item_V == item)]
                raise LeakError(
                    f"the item's {name!r} is not the mean of the "
                    f"{(allowed_V & (item_V == item)).sum()} reviews of it that may be read; "
                    f"{len(hidden)} more may not",
                    table=f"ItemFeatures.{table}[{name!r}]",
                    user=dataset.reviews[Columns.USER][int(hidden[0])] if len(hidden) else None,
                    item=events.item_name(item),
                    remedy=REVIEW_REMEDY,
                )


def _not_means(
    pooled_ND: Floats, present_N: Bools, medium: MediumVectors, item_V: Ints, allowed_V: Bools
) -> Bools:
    """Items whose vector is not the mean of their vectors with a true `allowed_V`. Shape [N].

    The projections of both on one random direction are compared, which needs less memory than the vectors.
    """
    direction_D = np.random.default_rng(0).standard_normal(medium.vectors.shape[1:])
    projected_V = _project(medium.vectors, direction_D)
    count_N = np.bincount(item_V[allowed_V], minlength=len(pooled_ND))
    sum_N = np.bincount(item_V[allowed_V], projected_V[allowed_V], minlength=len(pooled_ND))
    expected_N = sum_N / np.maximum(count_N, 1)
    size = float(np.sqrt(np.mean(projected_V**2))) if len(projected_V) else 0.0
    rounding_N = size * (2e-6 + 2e-7 * np.sqrt(count_N))  # of sums in single precision
    wrong_N: Bools = np.abs(_project(pooled_ND, direction_D) - expected_N) > rounding_N
    wrong_N |= present_N & (count_N == 0)
    wrong_N[:NUM_RESERVED] = False
    return wrong_N


def check_attached(
    events: AuditedEvents,
    dataset: Dataset,
    reviews: ReviewVectors | None,
    allowed: pl.DataFrame,
    histories: Mapping[str, History],
    *,
    table: str,
) -> None:
    """Raises `LeakError` where an event carries a review that may not be read, or that is dated after the
    user's next event. A review is identified by author, item and vector.
    """
    for attribute, medium in (
        ("review_text", reviews.text if reviews else None),
        ("review_audio", reviews.audio if reviews else None),
    ):
        carried = {user: own for user, each in histories.items() if (own := getattr(each, attribute))}
        if not carried:
            continue
        known = _earliest(events, dataset, medium, allowed, carried)
        for user, vectors in carried.items():
            history = histories[user]
            for at, vector in vectors.items():
                date = known.get((user, int(history.item[at]), vector.tobytes()))
                following = int(history.timestamp[at + 1]) if at + 1 < len(history) else NEVER
                if date is None or date > following:
                    raise LeakError(
                        "an event carries a review that may not be read"
                        if date is None
                        else "an event carries a review that is later than the user's next event",
                        table=table,
                        user=user,
                        item=events.item_name(int(history.item[at])),
                        remedy=REVIEW_REMEDY,
                    )


def _cut_offs(found: EventCounts, rules: Rules, cut: Cut | None) -> tuple[Ints, int]:
    """Cut-off of reviews of each author [U], and of all reviews; NEVER where there is none."""
    never = np.full(found.first.shape[1], NEVER)
    if rules.for_all:
        return never, int(found.first_of(VALIDATION, TEST, CONTEXT).min())
    if not rules.derived:
        return found.first_of(*rules.cut_off) if rules.cut_off else never, NEVER
    match cut:
        case "for_all":
            return found.first_of(VALIDATION, TEST), int(found.first_of(TEST).min())
        case "by_user":
            return found.first_of(VALIDATION, TEST), NEVER
        case _:
            return found.first_of(VALIDATION), NEVER


def cut_of(found: EventCounts, split: Split, has_clock: bool) -> Cut | None:
    """The order of the files of a predefined split in time; None where it is unknown.

    It is unknown here which file a context event is from. If there is any, `split.cut` is returned.
    """
    if found.of_part(CONTEXT).any():
        return split.cut
    last, first = found.last_of(TRAIN, VALIDATION), found.first_of(TEST)
    if has_clock and last.max() <= first.min():
        return "for_all"
    both = (last > -NEVER) & (first < NEVER)
    return "by_user" if both.any() and bool((last[both] <= first[both]).all()) else "overlapping"


def _reject(reviews: pl.DataFrame, wrong: Bools, what: str) -> None:
    if wrong.any():
        row = reviews.row(int(wrong.argmax()), named=True)
        raise LeakError(
            f"{what}: row {row[Columns.ROW]} of the reviews",
            table="split.reviews",
            user=row[Columns.USER],
            item=row[Columns.ITEM],
            remedy=REVIEW_REMEDY,
        )


def _earliest(
    events: AuditedEvents,
    dataset: Dataset,
    medium: MediumVectors | None,
    allowed: pl.DataFrame,
    carried: Mapping[str, object],
) -> dict[tuple[str, int, bytes], int]:
    """Earliest date of the allowed reviews of these users, by author, item and vector."""
    if medium is None:
        return {}
    own = dataset.reviews.with_row_index("position").filter(
        pl.col(Columns.ROW).is_in(allowed[Columns.ROW].implode()) & pl.col(Columns.USER).is_in(list(carried))
    )
    vector_row_of = {owner: place for place, owner in enumerate(medium.owner.tolist())}
    columns = ("position", Columns.USER, Columns.TIMESTAMP)
    items = encode(own[Columns.ITEM], events.item_ids).tolist()
    dates: dict[tuple[str, int, bytes], int] = {}
    for (position, user, time), item in zip(own.select(columns).iter_rows(), items, strict=True):
        place = vector_row_of.get(position)
        if place is not None:
            key = (user, item, medium.vectors[place].tobytes())
            date = -NEVER if time is None else int(time)
            dates[key] = min(date, dates.get(key, NEVER))
    return dates


def _project(vectors: Floats, direction_D: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Dot products in double precision, without a copy of all vectors. Shape [V]."""
    parts = [
        vectors[start : start + _VECTORS_AT_ONCE].astype(np.float64) @ direction_D
        for start in range(0, len(vectors), _VECTORS_AT_ONCE)
    ]
    return np.concatenate([np.empty(0), *parts])
