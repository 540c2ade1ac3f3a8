"""What becomes of items that training never saw: where they stand, and how far they are lifted.

Both are chosen on validation by training/newcomers.py and training/calibration.py; a refit takes over what
was chosen and solves the map anew on its own vectors.
"""

from dataclasses import dataclass

import numpy as np

from recsys.batches import Floats
from recsys.config import ModelConfig
from recsys.models.retriever import Retriever
from training.calibration import FIRST_PLACES, LENGTHS, Calibration, calibrate
from training.newcomers import Judges, Newcomers, fit_newcomers


@dataclass(frozen=True, kw_only=True)
class NewItems:
    """The choices; without a penalty the item tower itself embeds new items."""

    penalty: float | None = None
    length: float = 1.0  # what the vectors that the head gives are multiplied by
    cold_bias: float = 0.0  # in units of the final score
    cold_from: int = 1  # the first place of a list at which a new item may stand
    calibration: Calibration | None = None


AS_THE_TOWERS = NewItems()  # neither moved nor lifted


def settle_new_items(
    model: Retriever, judges: Judges | None, config: ModelConfig, *, chosen: NewItems | None, seed: int
) -> NewItems:
    """Give `model` its newcomer head and say what was chosen; `chosen` holds for a refit."""
    found: Newcomers | None = None
    if config.item.regress_new and (chosen is None or chosen.penalty is not None):
        found = fit_newcomers(model, judges, penalty=chosen.penalty if chosen else None, seed=seed)
    if found is not None:
        model.newcomer = found.head.eval()
    if chosen is not None:
        settled = (
            chosen if found is not None else NewItems(cold_bias=chosen.cold_bias, cold_from=chosen.cold_from)
        )
    else:
        settled = _calibrated(model, judges, found, config, seed)
    if found is not None:
        found.head.length.fill_(settled.length)
    return settled


def _calibrated(
    model: Retriever, judges: Judges | None, found: Newcomers | None, config: ModelConfig, seed: int
) -> NewItems:
    penalty = found.penalty if found is not None else None
    fixed = NewItems(
        penalty=penalty, cold_bias=config.cold_bias or 0.0, cold_from=config.cold_from or FIRST_PLACES[0]
    )
    if judges is None or config.cold_bias is not None:
        return fixed
    playing_ND = _playing(model, found)
    calibration = calibrate(
        model.item_arrays().vectors,
        playing_ND,
        model.features.trained,
        judges,
        budget=config.cold_budget,
        lengths=LENGTHS if found is not None else (1.0,),
        first_places=FIRST_PLACES if config.cold_from is None else (config.cold_from,),
        seed=seed,
    )
    if calibration is None:
        return fixed
    point = calibration.chosen
    return NewItems(
        penalty=penalty,
        length=point.length,
        cold_bias=point.bias / float(model.temperature.detach()),
        cold_from=point.first,
        calibration=calibration,
    )


def _playing(model: Retriever, found: Newcomers | None) -> Floats:
    """Known items as if they were new; zeros for those of which that cannot be told. Shape [N, D]."""
    if found is not None and found.playing_ND is not None:
        return found.playing_ND
    shown_N = (model.features.trained & model.has_content_N.cpu().numpy())[:, None]
    return np.where(shown_N, model.item_arrays(as_new=True).vectors, np.float32(0.0))
