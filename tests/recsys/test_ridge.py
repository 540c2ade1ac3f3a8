"""Ridge regression equals least squares with additional rows for the penalty."""

import numpy as np

from recsys.ridge import solve_ridge


def test_equals_least_squares_with_a_row_for_each_penalised_input():
    rng = np.random.default_rng(0)
    inputs = np.concatenate([rng.standard_normal((30, 4)), np.ones((30, 1))], axis=1)
    targets = rng.standard_normal((30, 2)) + 5.0
    found = solve_ridge(inputs.T @ inputs, inputs.T @ targets, 3.0)
    ridge_alpha = np.diag(np.sqrt([3.0, 3.0, 3.0, 3.0, 1e-6]))
    rows, wanted = np.concatenate([inputs, ridge_alpha]), np.concatenate([targets, np.zeros((5, 2))])
    np.testing.assert_allclose(found, np.linalg.lstsq(rows, wanted, rcond=None)[0], atol=1e-10)
    one = solve_ridge(inputs.T @ inputs, inputs.T @ targets[:, 0], 3.0)
    np.testing.assert_allclose(one, found[:, 0], atol=1e-12)
