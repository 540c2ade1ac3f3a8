"""Ridge regression from its normal equations, from which the rows of a fold can be subtracted.

Legend: W inputs, the last of which is 1, D targets.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Doubles = npt.NDArray[np.float64]


def solve_ridge(gram_WW: Doubles, moment_WD: Doubles, ridge_alpha: float) -> Doubles:
    """Coefficients [W, D], or [W] of a moment [W]; the intercept has the penalty 1e-6."""
    penalties_W = np.full(len(gram_WW), ridge_alpha)
    penalties_W[-1] = 1e-6
    solution: Doubles = cho_solve(cho_factor(gram_WW + np.diag(penalties_W)), moment_WD)
    return solution
