"""Every loss with every penalty, by the default solver, against an interior-point method.

A quarter of an hour of one core, nearly all of it compilation:
`pytest -m slow tests/test_every_pair.py`.
"""

import itertools

import jax
import numpy as np
import pairs
import pytest
import reference

import sparsejax as sj
from sparsejax._certificate import unit_of_gaps
from sparsejax._problem import project_intercept

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]
pytest.importorskip("cvxpy")

TOL = 1e-8


def _is_a_pair(loss, penalty, intercept, several):
    if loss.startswith("cox"):  # has no intercept and one risk
        return not intercept and not several
    if loss == "equality" and penalty in ("box", "simplex"):
        return False  # two sets of constraints, which need not meet
    if several or loss == "multinomial":
        return several and penalty in pairs.OF_MATRICES
    return True


CASES = [
    case
    for case in itertools.product(pairs.LOSSES, pairs.PENALTIES, (False, True), (False, True))
    if _is_a_pair(*case)
]


@pytest.fixture(autouse=True)
def _forget_what_was_compiled():
    """So many programs in one process are more than the system can map."""
    yield
    jax.clear_caches()


@pytest.mark.parametrize(("loss", "penalty", "intercept", "several"), CASES)
def test_objective_is_that_of_an_interior_point_method(loss, penalty, intercept, several):
    for seed, strength in ((0, 0.03), (1, 0.1)):
        data = pairs.data(loss, seed, (pairs.TASKS,) * several)
        X, _, _, offset = data
        problem = pairs.problem(loss, penalty, intercept, data, strength)
        solution = sj.solve(problem, tol=TOL)
        assert solution.result == sj.RESULTS.successful
        assert solution.gap <= TOL
        y, coef = np.asarray(problem.y), np.asarray(solution.coef)
        predictions = X @ coef + np.asarray(solution.intercept) + offset
        value = reference.value(problem.penalty, coef)
        if loss == "equality":
            np.testing.assert_allclose(predictions, y, atol=1e-8)
        else:
            value += reference.loss_value(problem.loss, predictions, y)
        best = reference.optimum_of(X, problem)
        unit = float(unit_of_gaps(project_intercept(problem)[0], solution.objective))
        np.testing.assert_allclose(value, best, rtol=1e-7, atol=1e-7 * unit)
