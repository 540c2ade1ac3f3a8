"""A fitted system that goes on to learn the validation events, as one would have it do before the test.

What validation chose stays: epochs, ranker, lengths. The towers go on from where they stood, for a quarter
of their epochs at a quarter of the rate, and the candidate sources are fitted anew; the test is as far
away as before. Such figures stand beside the others under a name of their own: published ones follow
either convention.
"""

from pathlib import Path

import polars as pl

from features.prepared.split import StreamedSplit
from features.tables import Dataset, MediaVectors, Split
from recsys.columns import Columns
from recsys.config import Config
from recsys.errors import ConfigError
from recsys.progress import Progress, silent
from training.fitting import Budget, Fitted, fit

SHARE = 0.25  # of the epochs, of the learning rate and of the average's time constant


def learn_validation(
    first: Fitted,
    dataset: Dataset,
    vectors: MediaVectors,
    split: Split,
    config: Config,
    *,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Fitted:
    """`first` after further epochs on the training and validation events of `split` together.

    Raises `ConfigError` for a prepared log, whose parts cannot be joined.
    """
    if isinstance(split, StreamedSplit):
        raise ConfigError("evaluate.with_validation = true: a prepared log cannot be trained on further")
    budget = Budget(
        epochs=max(1, round(SHARE * first.retriever.best_epoch)),
        ranker_epochs=first.ranker.best_epoch if first.ranker else 0,
        ranker_share=first.ranker.share if first.ranker else 0.0,
        new=first.new,
        start=first,
    )
    train = config.train.model_copy(
        update={
            "learning_rate": SHARE * config.train.learning_rate,
            "average_epochs": SHARE * config.train.average_epochs,
        }
    )
    return fit(
        dataset,
        vectors,
        with_validation(split),
        config.model_copy(update={"train": train}),
        budget=budget,
        checkpoint=checkpoint,
        progress=progress,
    )


def with_validation(split: Split) -> Split:
    """The same split, whose validation events are training events; its test is untouched."""
    order = [Columns.USER, Columns.TIMESTAMP, Columns.ROW]
    return Split(
        protocol=split.protocol,
        description=f"{split.description} Validation events are training events.",
        train=pl.concat([split.train, split.validation]).sort(order),
        validation=split.validation.clear(),
        context=split.context,
        test=split.test,
        reviews=split.reviews,
        cut=split.cut,
        cold_items=split.cold_items,
    )
