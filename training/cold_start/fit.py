"""What becomes of items that training never saw: where they stand, and how far they are lifted.

Both are chosen on validation by content_regression.py and calibration.py; a refit takes over what was chosen
and solves the map anew on its own vectors.
"""

from dataclasses import dataclass, replace

import numpy as np

from recsys.arrays import Floats
from recsys.config import ModelConfig
from recsys.models.retriever import Retriever
from training.cold_start.calibration import (
    FIRST_PLACES,
    LENGTHS,
    Calibration,
    calibrate,
)
from training.cold_start.content_regression import ContentRegression, fit_content_regression
from training.cold_start.validation_users import ValidationUsers


@dataclass(frozen=True, kw_only=True)
class NewItems:
    """The choices; without a penalty the item tower itself embeds new items."""

    penalty: float | None = None
    pull: float = 0.0  # of items that will be chosen often towards what is chosen most
    length: float = 1.0  # what the vectors that the head gives are multiplied by
    cold_bias: float = 0.0  # in units of the final score
    cold_from: int = 1  # the first place of a list at which a new item may stand
    calibration: Calibration | None = None


AS_THE_TOWERS = NewItems()  # neither moved nor lifted
HIDDEN = NewItems(cold_bias=-1e3)  # below all known items: nobody learns from lists with new ones in them


def place_new_items(
    model: Retriever,
    judges: ValidationUsers | None,
    config: ModelConfig,
    *,
    chosen: NewItems | None,
    seed: int,
) -> ContentRegression | None:
    """Give `model` its cold-start head, solved for on its own vectors; `chosen` holds for a refit."""
    if not config.cold_start.content_regression or (chosen is not None and chosen.penalty is None):
        return None
    placed = fit_content_regression(
        model,
        judges,
        ridge_alpha=chosen.penalty if chosen else None,
        popularity_pull=chosen.pull if chosen else 0.0,
        seed=seed,
    )
    if placed is not None:
        model.cold_start_head = placed.head.eval()
    return placed


def let_in_new_items(
    model: Retriever,
    judges: ValidationUsers | None,
    placed: ContentRegression | None,
    config: ModelConfig,
    *,
    chosen: NewItems | None,
    seed: int,
) -> NewItems:
    """How far new items are lifted and from which place on they stand, as `judges` say or was `chosen`."""
    new = chosen or _calibrated(model, judges, placed, config, seed)
    if placed is None:
        return replace(new, penalty=None, pull=0.0, length=1.0)
    placed.head.length.fill_(new.length)
    return new


def _calibrated(
    model: Retriever,
    judges: ValidationUsers | None,
    placed: ContentRegression | None,
    config: ModelConfig,
    seed: int,
) -> NewItems:
    fixed = NewItems(
        penalty=placed.ridge_alpha if placed is not None else None,
        pull=placed.popularity_pull if placed is not None else 0.0,
        cold_bias=config.cold_bias or 0.0,
        cold_from=config.cold_from or FIRST_PLACES[0],
    )
    if judges is None or config.cold_bias is not None:
        return fixed
    pseudo_cold_ND = _playing(model, placed)
    calibration = calibrate(
        model.item_arrays().vectors,
        pseudo_cold_ND,
        model.features.trained,
        judges,
        budget=config.cold_budget,
        lengths=LENGTHS if placed is not None else (1.0,),
        first_places=FIRST_PLACES if config.cold_from is None else (config.cold_from,),
        seed=seed,
    )
    if calibration is None:
        return fixed
    point = calibration.chosen
    return replace(
        fixed,
        length=point.length,
        cold_bias=point.bias / float(model.temperature.detach()),
        cold_from=point.first,
        calibration=calibration,
    )


def _playing(model: Retriever, placed: ContentRegression | None) -> Floats:
    """Known items as if they were new; zeros for those of which that cannot be told. Shape [N, D]."""
    if placed is not None and placed.pseudo_cold_ND is not None:
        return placed.pseudo_cold_ND
    shown_N = (model.features.trained & model.has_content_N.cpu().numpy())[:, None]
    return np.where(shown_N, model.item_arrays(as_new=True).vectors, np.float32(0.0))
