"""The methods of imputation behind one interface, and the two simple ones: mean and ridge.

Legend: N items, R rows that are asked for, D width of a modality, W inputs of a regression.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints, unit
from recsys.config import ImputationMethod
from recsys.ridge import solve_ridge
from training.imputation.observed import Observed
from training.imputation.variational import VariationalImputer

MIN_ITEMS: Final = 20  # with a modality and another one; from fewer nothing is learned
RIDGES: Final = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
HELD_OUT: Final = 0.1  # fraction of the items that chooses the penalty
Doubles = npt.NDArray[np.float64]


class Imputer(Protocol):
    """Predicts the vectors of one modality from the other modalities of the same items."""

    def predict(self, name: str, rows: Ints) -> Floats:
        """Unit vectors [R, D] of modality `name` for the items `rows`, whose own vectors are not read."""
        ...


def fit_imputer(
    method: ImputationMethod, vectors: Mapping[str, tuple[Floats, Bools]], *, seed: int
) -> Imputer | None:
    """The imputer of `method`, fitted on all items; None for "none".

    `vectors` has for each modality its vectors [N, D] and which items have one [N].
    """
    observed = Observed.of(vectors)
    if method == "none":
        return None
    if method == "mean":
        return MeanImputer(observed)
    if method == "ridge":
        return RidgeImputer(observed, seed=seed)
    return VariationalImputer(observed, seed=seed)


class MeanImputer:
    """Every item gets the mean of the modality."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def predict(self, name: str, rows: Ints) -> Floats:
        return np.tile(unit(self._observed.means[name][None]), (len(rows), 1))


class RidgeImputer:
    """A ridge regression on the concatenated other modalities, one for each set of them that an item has.

    Held-out items choose the penalty by the squared error. A set that fewer than `MIN_ITEMS` items have
    together with the modality gets the mean.
    """

    def __init__(self, observed: Observed, *, seed: int) -> None:
        self._observed, self._seed = observed, seed

    def predict(self, name: str, rows: Ints) -> Floats:
        observed = self._observed
        found_RD = np.tile(observed.means[name], (len(rows), 1)).astype(np.float64)
        for inputs, at in observed.patterns(name, rows):
            has_N = np.logical_and.reduce([observed.present[each] for each in (name, *inputs)])
            if inputs and has_N.sum() >= MIN_ITEMS:
                weights_WD = self._fitted(name, inputs, np.flatnonzero(has_N))
                found_RD[at] = self._inputs(inputs, rows[at]) @ weights_WD
        return unit(found_RD.astype(np.float32))

    def _fitted(self, name: str, inputs: tuple[str, ...], rows: Ints) -> Doubles:
        order = np.random.default_rng(self._seed).permutation(rows)
        held, kept = np.split(order, [max(round(HELD_OUT * len(order)), 1)])
        known = {part: self._observed.vectors[name][each].astype(np.float64) for part, each in
                 (("held", held), ("kept", kept))}  # fmt: skip
        input_HW, input_KW = self._inputs(inputs, held), self._inputs(inputs, kept)
        gram, moment = input_KW.T @ input_KW, input_KW.T @ known["kept"]
        errors = [
            float(((input_HW @ solve_ridge(gram, moment, alpha) - known["held"]) ** 2).sum())
            for alpha in RIDGES
        ]
        gram, moment = gram + input_HW.T @ input_HW, moment + input_HW.T @ known["held"]
        return solve_ridge(gram, moment, RIDGES[int(np.argmin(errors))])

    def _inputs(self, names: tuple[str, ...], rows: Ints) -> Doubles:
        """The centred vectors beside each other, and a last column of 1."""
        parts = [self._observed.vectors[name][rows] - self._observed.means[name] for name in names]
        return np.concatenate([*parts, np.ones((len(rows), 1))], axis=1).astype(np.float64)
