"""Implicit matrix factorisation by alternating least squares (Hu, Koren and Volinsky 2008), by `implicit`."""

from typing import Any

from threadpoolctl import threadpool_limits

from recsys.config import ALSConfig
from recsys.retrieval import FactorSource, build_index
from training.candidates.interactions import FitOptions, Interactions


def fit(interactions: Interactions, settings: ALSConfig, options: FitOptions) -> FactorSource:
    """The items' factors in an index of the configured kind."""
    model = fit_als(interactions, settings, seed=options.seed, num_threads=options.num_threads)
    return FactorSource(
        name="als",
        index=build_index(options.index_kind, model.item_factors),
        regularization=settings.regularization,
        alpha=settings.alpha,
    )


def fit_als(interactions: Interactions, settings: ALSConfig, *, seed: int = 0, num_threads: int = 0) -> Any:
    """implicit's fitted `AlternatingLeastSquares`; `item_factors` [N, F] are zeros without an event.

    `num_threads`: 0 takes all cores.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    with threadpool_limits(1, "blas"):  # its own threads and those of BLAS compete for the cores
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularization,
            alpha=settings.alpha,
            iterations=settings.iterations,
            random_state=seed,
            num_threads=num_threads,
        )
        model.fit(interactions.counts_UN, show_progress=False)
    model.item_factors[~interactions.known_N] = 0  # implicit leaves them at their random start
    return model
