"""How a fitted system goes on to learn the validation events, as one would have it do before the test.

What validation chose stays: epochs, ranker, lengths. The towers go on from where they stood, for a quarter
of their epochs at a quarter of the rate, and the candidate sources are fitted anew; the test is as far
away as before. Such figures stand beside the others under a name of their own: published ones follow
either convention.
"""

from dataclasses import replace

import polars as pl

from features.parts import ORDER
from features.prepared.split import StreamedSplit
from features.tables import Split
from recsys.config import Config, changed
from recsys.errors import ConfigError
from training.fitting import Budget, Fitted

SHARE = 0.25  # of the epochs, of the learning rate and of the average's time constant


def going_on(first: Fitted, config: Config) -> tuple[Config, Budget]:
    """The configuration and the budget of further epochs of `first`, on `with_validation` of its split."""
    shared = ("learning_rate", "average_epochs")
    settings = {f"train.{name}": SHARE * getattr(config.train, name) for name in shared}
    epochs = max(1, round(SHARE * first.retriever.best_epoch))
    return changed(config, settings), replace(Budget.of(first), epochs=epochs, start=first)


def with_validation(split: Split) -> Split:
    """The same split, whose validation events are training events; its test is untouched.

    Raises `ConfigError` for a prepared log, whose parts cannot be joined.
    """
    if isinstance(split, StreamedSplit):
        raise ConfigError("evaluate.with_validation = true: a prepared log cannot be trained on further")
    return replace(
        split,
        description=f"{split.description} Validation events are training events.",
        train=pl.concat([split.train, split.validation]).sort(ORDER),
        validation=split.validation.clear(),
    )
