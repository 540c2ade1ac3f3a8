"""Checks that item features and vocabularies are computed from training events alone.

Legend: N items, C numeric fields.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from features.dataset import Dataset, IdMaps
from features.leakage.counts import EventCounts
from features.leakage.events import AuditedEvents
from features.splits import TRAIN
from recsys.arrays import Bools
from recsys.columns import Columns
from recsys.errors import LeakError
from recsys.history import SequenceSchema
from recsys.ids import NUM_RESERVED, UNKNOWN
from recsys.item_features import ItemFeatures
from recsys.modalities import Modality

FEATURES_REMEDY = "build the features of split.train alone (build_item_features)"
_TOLERANCE = 1e-9  # of a mean or deviation, relative to the deviation
_LIMIT = 5.0  # standardised numbers are clipped to [-_LIMIT, _LIMIT]


def trained_items(found: EventCounts) -> Bools:
    """Items with a training event, counted from the events. Shape [N]."""
    trained: Bools = found.of_part(TRAIN) > 0
    trained[:NUM_RESERVED] = False
    return trained


def check_items(events: AuditedEvents, found: EventCounts, dataset: Dataset, features: ItemFeatures) -> None:
    """Raises `LeakError` where item features use events outside `split.train`."""
    trained = trained_items(found)
    _check_id_rows(events, features, trained)
    _check_popularity(events, found, features)
    for field in features.category_ids:
        column = Columns.CATEGORY_PREFIX + field
        allowed = dataset.items.filter(pl.Series(trained[NUM_RESERVED:]))[column]
        _check_vocabulary(
            features.category_ids[field].external,
            allowed,
            of="items without a training event",
            table=f"the vocabulary of the items' {field!r}",
        )
    if Modality.NUMERIC in features.dense:
        _check_numeric(events, dataset, features, trained)


def check_statistics(
    events: AuditedEvents, found: EventCounts, dataset: Dataset, maps: IdMaps, schema: SequenceSchema
) -> None:
    """Raises `LeakError` where event kinds, profiles or scales of numbers use events outside training."""
    trained_kinds = [kind for kind, count in zip(events.kinds, found.kinds, strict=True) if count]
    _check_vocabulary(
        maps.kinds.external,
        pl.Series([trained_kinds], dtype=pl.List(pl.String)),
        of="events outside training",
        table="the kinds of events",
    )
    names = events.users.filter(pl.Series(found.has_train))
    users = dataset.users.filter(pl.col(Columns.USER).is_in(names.implode()))
    for field, ids in maps.profiles.items():
        _check_vocabulary(
            ids.external,
            users[Columns.CATEGORY_PREFIX + field],
            of="users without a training event",
            table=f"the vocabulary of the users' {field!r}",
        )
    for name, sums in found.numbers.items():
        _check_scale(name, schema.number_scales[name], sums.scale)


def _check_scale(name: str, found: tuple[float, float], expected: tuple[float, float]) -> None:
    mean, std = expected
    off = max(abs(found[0] - mean), abs(_spread(found[1], mean) - _spread(std, mean)))
    if off > _TOLERANCE * (abs(mean) + _spread(std, mean)):
        raise LeakError(
            f"{name!r} is scaled by mean {found[0]:g} and deviation {found[1]:g}; those of training events "
            f"are {mean:g} and {_spread(std, mean):g}",
            table=f"the scale of the events' {name!r}",
            remedy="build the schema of split.train alone (features.inputs.histories.build_schema)",
        )


def _check_id_rows(events: AuditedEvents, features: ItemFeatures, trained: Bools) -> None:
    own = features.id_rows() > UNKNOWN
    wrong = (features.trained | own) & ~trained
    if wrong.any():
        raise LeakError(
            "an item without a training event counts as trained: it would have its own id row and would "
            "be sampled as a negative",
            table="ItemFeatures.trained",
            item=events.item_name(int(wrong.argmax())),
            remedy=FEATURES_REMEDY,
        )


def _check_popularity(events: AuditedEvents, found: EventCounts, features: ItemFeatures) -> None:
    expected = found.positive.copy()
    expected[:NUM_RESERVED] = 0
    wrong = features.popularity != expected
    if wrong.any():
        item = int(wrong.argmax())
        raise LeakError(
            f"popularity counts {features.popularity[item]:g} positive events, training has {expected[item]}",
            table="ItemFeatures.popularity",
            item=events.item_name(item),
            remedy=FEATURES_REMEDY,
        )


def _check_vocabulary(values: Iterable[str], allowed: pl.Series, *, of: str, table: str) -> None:
    known = set(allowed.explode(empty_as_null=True).drop_nulls().unique().to_list())
    unknown = next((value for value in values if value not in known), None)
    if unknown is not None:
        raise LeakError(
            f"the value {unknown!r} is known only from {of}",
            table=table,
            remedy="build vocabularies of split.train alone (build_item_features, build_maps)",
        )


def _check_numeric(events: AuditedEvents, dataset: Dataset, features: ItemFeatures, trained_N: Bools) -> None:
    """Raises `LeakError` where a number is not standardised by mean and deviation of the trained items."""
    columns = [name for name in dataset.items.columns if name.startswith(Columns.NUMERIC_PREFIX)]
    raw_NC = dataset.items.select(columns).to_numpy().astype(np.float64)
    found_NC = features.dense[Modality.NUMERIC][NUM_RESERVED:, : len(columns)]
    known_NC = features.dense[Modality.NUMERIC][NUM_RESERVED:, len(columns) :] > 0
    for at, column in enumerate(columns):
        fitted = raw_NC[trained_N[NUM_RESERVED:], at]
        fitted = fitted[np.isfinite(fitted)]
        mean, std = (float(fitted.mean()), float(fitted.std())) if len(fitted) else (np.nan, 1.0)
        expected = np.clip((raw_NC[:, at] - mean) / _spread(std, mean), -_LIMIT, _LIMIT)
        # Where all numbers are equal, the deviation is a rounding error, and nothing can be compared.
        varies = not len(fitted) or _spread(std, mean) == std
        wrong = known_NC[:, at] & ~(np.abs(found_NC[:, at] - expected) <= 1e-5) & varies
        if wrong.any():
            raise LeakError(
                f"{column.removeprefix(Columns.NUMERIC_PREFIX)!r} is not scaled by the trained items alone",
                table="ItemFeatures.dense['numeric']",
                item=events.item_name(int(wrong.argmax()) + NUM_RESERVED),
                remedy=FEATURES_REMEDY,
            )


def _spread(std: float, mean: float) -> float:
    """`std`, or 1 where it is only a rounding error of equal numbers."""
    return std if std > _TOLERANCE * abs(mean) else 1.0
