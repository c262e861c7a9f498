"""Complex coefficients against Clarabel, which knows nothing of real and imaginary parts."""

import numpy as np
import pytest

import sparsejax as sj

cp = pytest.importorskip("cvxpy")
pytestmark = pytest.mark.usefixtures("float64")

N, P = 7, 15


def _super_resolution():
    rng = np.random.default_rng(5)
    points, frequencies = np.linspace(0, 1, P, endpoint=False), np.arange(-3, 4)
    F = np.exp(2j * np.pi * np.outer(frequencies, points))
    w = np.zeros(P, complex)
    w[[2, 9]] = 1 + 1j, -2j
    return F, F @ w + 0.1 * (rng.normal(size=N) + 1j * rng.normal(size=N))


@pytest.mark.parametrize(
    "solver", [None, pytest.param(sj.solvers.VarPro(), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.slow
def test_lasso_of_super_resolution(solver):
    F, y = _super_resolution()
    solution = sj.solve(sj.complex_problem(F, y, 0.2), solver, tol=1e-10)
    z = cp.Variable(P, complex=True)
    peer = cp.Problem(cp.Minimize(cp.sum_squares(F @ z - y) / (2 * N) + 0.2 * cp.norm1(z)))
    peer.solve(cp.CLARABEL)
    np.testing.assert_allclose(solution.objective, peer.value, rtol=1e-7)
    np.testing.assert_allclose(sj.complex_coef(solution.coef), z.value, atol=1e-4)


def test_groups_of_complex_coefficients():
    F, y = _super_resolution()
    groups = np.arange(P) % 5
    solution = sj.solve(sj.complex_problem(F, y, 0.1, groups), tol=1e-10)
    z = cp.Variable(P, complex=True)
    norms = sum(np.sqrt(3) * cp.norm(z[groups == g], 2) for g in range(5))
    peer = cp.Problem(cp.Minimize(cp.sum_squares(F @ z - y) / (2 * N) + 0.1 * norms))
    peer.solve(cp.CLARABEL)
    np.testing.assert_allclose(solution.objective, peer.value, rtol=1e-7)


def test_bad_input_is_named():
    F, y = _super_resolution()
    with pytest.raises(ValueError, match="`X` must be"):
        sj.complex_problem(F, y[1:], 0.1)
    with pytest.raises(ValueError, match="`groups` must have shape"):
        sj.complex_problem(F, y, 0.1, groups=[0, 1])
    with pytest.raises(ValueError, match="`y` contains NaN"):
        sj.complex_problem(F, np.where(np.arange(N) == 3, np.nan, y), 0.1)
