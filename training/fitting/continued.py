"""Towers that have learned the validation events, too, as one would have them before the test.

What validation chose stays: the epochs, and what becomes of new items. The towers are trained anew on all
events before the test, which is as far away as before; nothing is left for a ranker to learn from, so that
such figures are of towers alone. They stand beside the others under a name of their own: published ones
follow either convention.
"""

from dataclasses import replace

import polars as pl

from features.dataset.tables import Split
from features.splits.assignment import ORDER
from features.splits.streamed import StreamedSplit
from recsys.errors import ConfigError
from training.fitting.fit import FitChoices, Fitted


def learning_anew(first: Fitted) -> FitChoices:
    """What `first` chose, without a ranker, for a fit on `with_validation` of its split."""
    return replace(FitChoices.of(first), ranker_epochs=0, blend_weight=0.0)


def with_validation(split: Split) -> Split:
    """The same split, whose validation events are training events; its test is untouched.

    Raises `ConfigError` for a prepared log, whose parts cannot be joined.
    """
    if isinstance(split, StreamedSplit):
        raise ConfigError(
            "evaluate.with_validation = true: the parts of a prepared log cannot be joined; "
            "raise data.stream_above above its number of events, or leave it false"
        )
    return replace(
        split,
        description=f"{split.description} Validation events are training events.",
        train=pl.concat([split.train, split.validation]).sort(ORDER),
        validation=split.validation.clear(),
    )
