"""A fit of a split in one call."""

from typing import Any

from features.dataset.tables import Dataset, MediaVectors
from features.splits.split import Split
from recsys.config import Config
from training.fitting.fit import Fitted, fit
from training.fitting.inputs import FitInputs, audit


def fit_split(data: Dataset, vectors: MediaVectors, split: Split, settings: Config, **named: Any) -> Fitted:
    """The inputs read and audited, then `fit(..., **named)`."""
    return fit(audit(FitInputs.of(data, vectors, split, settings)), **named)
