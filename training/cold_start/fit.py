"""Fits the cold-start head and measures the ranks of cold items, which have no training events.

content_regression.py chooses `ridge_alpha` and `popularity_pull` of the cold-start head on validation. A
refit reuses both and solves for the head again, with its own item vectors as targets. The ranks of cold items
are configured (`model.cold_ranks`); tradeoff.py measures their expected cost and gain on validation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.arrays import Floats
from recsys.config import ModelConfig
from recsys.models import Retriever
from training.cold_start.content_regression import ContentRegression, fit_content_regression
from training.cold_start.tradeoff import WarmColdTradeoff, measure_tradeoff
from training.cold_start.validation_users import ValidationUsers


@dataclass(frozen=True, kw_only=True)
class ColdItems:
    """Chosen settings of the content regression. `ridge_alpha` is None: the item tower embeds cold items."""

    ridge_alpha: float | None = None
    popularity_pull: float = 0.0
    tradeoff: WarmColdTradeoff | None = None  # None: nothing is cold, or no validation user to measure it on
    cold_ranks: tuple[int, ...] | None = (
        None  # chosen by `model.cold_ranks = "auto"`; None: nothing was chosen
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ColdItems":
        """Reads the result of `dataclasses.asdict`, JSON in between or not."""
        tradeoff = values["tradeoff"] and WarmColdTradeoff.from_dict(values["tradeoff"])
        ranks = values.get("cold_ranks")
        return cls(**{**values, "tradeoff": tradeoff, "cold_ranks": None if ranks is None else tuple(ranks)})


def fit_cold_start_head(
    model: Retriever,
    users: ValidationUsers | None,
    config: ModelConfig,
    *,
    chosen: ColdItems | None,
    seed: int,
) -> ContentRegression | None:
    """Fit the cold-start head of `model` to the model's own item vectors, and set it.

    A refit passes the settings `chosen` by the first fit; otherwise they are chosen on `users`. None where
    the configuration or the first fit has no head, or where it cannot be fitted.
    """
    if not config.cold_start.content_regression or (chosen is not None and chosen.ridge_alpha is None):
        return None
    regression = fit_content_regression(
        model,
        users,
        ridge_alpha=chosen.ridge_alpha if chosen else None,
        popularity_pull=chosen.popularity_pull if chosen else 0.0,
        seed=seed,
    )
    if regression is not None:
        model.cold_start_head = regression.head.eval()
    return regression


def cold_items_of(
    model: Retriever,
    users: ValidationUsers | None,
    regression: ContentRegression | None,
    config: ModelConfig,
    *,
    chosen: ColdItems | None,
    seed: int,
) -> ColdItems:
    """The chosen settings with the trade-off, measured on the validation users `users`.

    A refit returns `chosen`, without a head if it could not be fitted.
    """
    if chosen is not None:
        return chosen if regression is not None else replace(chosen, ridge_alpha=None, popularity_pull=0.0)
    tradeoff = None
    if users is not None:
        tradeoff = measure_tradeoff(
            model.item_arrays().vectors,
            pseudo_cold_vectors(model, regression),
            model.features.trained,
            users,
            cold_ranks="auto" if config.fixed_cold_ranks is None else config.fixed_cold_ranks,
            budget=config.cold_budget,
            seed=seed,
        )
    found = ColdItems(tradeoff=tradeoff)
    if tradeoff is not None and config.fixed_cold_ranks is None:
        found = replace(found, cold_ranks=tradeoff.configured.cold_ranks)
    if regression is None:
        return found
    return replace(found, ridge_alpha=regression.ridge_alpha, popularity_pull=regression.popularity_pull)


def pseudo_cold_vectors(model: Retriever, regression: ContentRegression | None) -> Floats:
    """Vectors of warm items as pseudo-cold items; zeros for all other items. Shape [N, D].

    They are the cross-fitted vectors of the regression, else the item tower's vectors from content alone.
    """
    if regression is not None and regression.pseudo_cold_ND is not None:
        return regression.pseudo_cold_ND
    shown_N = (model.features.trained & model.has_content_N.cpu().numpy())[:, None]
    return np.where(shown_N, model.item_arrays(as_cold=True).vectors, np.float32(0.0))
