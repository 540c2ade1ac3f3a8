"""What becomes of items that training never saw: where they stand, and how far they are lifted.

Both are chosen on validation by training/newcomers.py and training/calibration.py; a refit takes over what
was chosen and solves the map anew on its own vectors.
"""

from dataclasses import dataclass

import numpy as np

from recsys.config import ModelConfig
from recsys.ids import NUM_RESERVED
from recsys.models.retriever import Retriever
from training.calibration import Calibration, calibrate
from training.newcomers import Judges, Newcomers, fit_newcomers, mean_length, scale_head


@dataclass(frozen=True, kw_only=True)
class NewItems:
    """The choices; without a penalty the item tower itself embeds new items."""

    penalty: float | None = None
    length: float | None = None  # of the vectors that the head gives known items, on average
    cold_bias: float = 0.0  # in units of the final score
    calibration: Calibration | None = None


def settle_new_items(
    model: Retriever, judges: Judges | None, config: ModelConfig, *, chosen: NewItems | None, seed: int
) -> NewItems:
    """Give `model` its newcomer head and say what was chosen; `chosen` holds for a refit."""
    if not config.item.regress_new or (chosen is not None and chosen.penalty is None):
        return NewItems(cold_bias=config.cold_bias or 0.0)
    found = fit_newcomers(model, judges, penalty=chosen.penalty if chosen else None, seed=seed)
    if found is None:
        return NewItems(cold_bias=config.cold_bias or 0.0)
    calibration = _calibration(model, judges, found, config, seed)
    length = 1.0
    cold_bias = config.cold_bias or 0.0
    if chosen is not None and chosen.length is not None:
        length, cold_bias = chosen.length, chosen.cold_bias
    elif calibration is not None:
        length = calibration.chosen.length
        if config.cold_bias is None:
            cold_bias = calibration.chosen.bias / float(model.temperature.detach())
    scale_head(found.head, length / mean_length(model, found.head))
    model.newcomer = found.head.eval()
    return NewItems(penalty=found.penalty, length=length, cold_bias=cold_bias, calibration=calibration)


def _calibration(
    model: Retriever, judges: Judges | None, found: Newcomers, config: ModelConfig, seed: int
) -> Calibration | None:
    if judges is None or found.crossfit_ND is None:
        return None
    known_N = model.features.trained
    unknown_N = ~known_N
    unknown_N[:NUM_RESERVED] = False
    unknown_N[np.concatenate([np.empty(0, np.int64), *judges.truth])] = False  # validation knows them
    return calibrate(
        model.item_arrays().vectors,
        found.crossfit_ND / np.float32(mean_length(model, found.head)),
        known_N,
        int(unknown_N.sum()),
        judges,
        budget=config.cold_budget,
        seed=seed,
    )
