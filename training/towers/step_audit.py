"""The audit of a training step: the rows of its model and its negatives. Called before the first step.

Legend: N items.
"""

import numpy as np
import torch

from recsys.errors import LeakError
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN
from recsys.models import Retriever, Standardise
from training.towers.train_step import TrainStep

_REMEDY = "make models and steps of features whose `trained` are the items of split.train"


def audit_step(step: TrainStep) -> TrainStep:
    """`step`. Raises `LeakError` if an untrained item has an id row, is a negative or moves a scale.

    Which items are trained is `ItemFeatures.trained`, which `features.leakage.audit.audit_fit` has checked.
    """
    model, trained_N = step.model, step.model.features.trained
    id_row_N = model.id_row_N.numpy()
    _reject(model, ~trained_N & (id_row_N > UNKNOWN), "an untrained item has an id row of its own", "id rows")
    drawn_N = np.zeros(model.features.size, np.bool_)
    drawn_N[step.trained_rows.numpy()] = True
    _reject(model, ~trained_N & drawn_N, "an untrained item stands among the negatives", "negatives")
    for name, scale in model.scale.items():
        assert isinstance(scale, Standardise)
        _check_scale(model, name, scale)
    return step


def _check_scale(model: Retriever, name: str, scale: Standardise) -> None:
    features = model.features
    rows = np.flatnonzero(features.trained & features.present[name])
    expected = Standardise(len(scale.mean))
    expected.fit_rows(features.dense[name], rows)
    if not torch.allclose(scale.mean.cpu(), expected.mean, rtol=1e-4, atol=1e-5):
        raise LeakError(
            "vectors are centred on a mean that is not that of the trained items",
            table=f"the scale of {name!r}",
            remedy=_REMEDY,
        )


def _reject(model: Retriever, wrong_N: np.ndarray, what: str, table: str) -> None:
    wrong_N = wrong_N.copy()
    wrong_N[[PAD, UNKNOWN]] = False
    if wrong_N.any():
        item = model.features.item_ids.external[int(wrong_N.argmax()) - NUM_RESERVED]
        raise LeakError(what, table=table, item=item, remedy=_REMEDY)
