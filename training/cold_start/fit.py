"""Items without training events: where their vectors come from, and what their ranks cost and bring.

The cold-start head's penalty and pull are chosen on validation by content_regression.py; a refit takes over
both and solves the head anew on its own vectors. The ranks of cold items are configured (`model.cold_ranks`);
tradeoff.py reports on validation what they cost and bring.
"""

from dataclasses import dataclass, replace

import numpy as np

from recsys.arrays import Floats
from recsys.config import ModelConfig
from recsys.models.retriever import Retriever
from training.cold_start.content_regression import Newcomers, fit_newcomers
from training.cold_start.tradeoff import WarmColdTradeoff, measure_tradeoff
from training.cold_start.validation_users import Judges


@dataclass(frozen=True, kw_only=True)
class ColdItems:
    """What was chosen for cold items; without a penalty the item tower itself embeds them."""

    penalty: float | None = None
    pull: float = 0.0  # of items that will be chosen often towards what is chosen most
    tradeoff: WarmColdTradeoff | None = None  # None: nothing is cold, or no validation user to measure it on


def place_new_items(
    model: Retriever, judges: Judges | None, config: ModelConfig, *, chosen: ColdItems | None, seed: int
) -> Newcomers | None:
    """Give `model` its cold-start head, solved for on its own vectors; `chosen` holds for a refit."""
    if not config.item.regress_new or (chosen is not None and chosen.penalty is None):
        return None
    placed = fit_newcomers(
        model,
        judges,
        penalty=chosen.penalty if chosen else None,
        pull=chosen.pull if chosen else 0.0,
        seed=seed,
    )
    if placed is not None:
        model.newcomer = placed.head.eval()
    return placed


def cold_items_of(
    model: Retriever,
    judges: Judges | None,
    placed: Newcomers | None,
    config: ModelConfig,
    *,
    chosen: ColdItems | None,
    seed: int,
) -> ColdItems:
    """What holds for cold items; the trade-off is measured on the validation users `judges`."""
    if chosen is not None:
        return chosen if placed is not None else replace(chosen, penalty=None, pull=0.0)
    tradeoff = None
    if judges is not None:
        tradeoff = measure_tradeoff(
            model.item_arrays().vectors,
            _pseudo_cold(model, placed),
            model.features.trained,
            judges,
            cold_ranks=config.cold_ranks,
            seed=seed,
        )
    if placed is None:
        return ColdItems(tradeoff=tradeoff)
    return ColdItems(penalty=placed.penalty, pull=placed.pull, tradeoff=tradeoff)


def _pseudo_cold(model: Retriever, placed: Newcomers | None) -> Floats:
    """Vectors of warm items as if they were cold; zeros for items that have none. Shape [N, D]."""
    if placed is not None and placed.playing_ND is not None:
        return placed.playing_ND
    shown_N = (model.features.trained & model.has_content_N.cpu().numpy())[:, None]
    return np.where(shown_N, model.item_arrays(as_new=True).vectors, np.float32(0.0))
