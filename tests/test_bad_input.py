"""Bad input: an error of the right type that names the argument."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jsparse
from registry import SOLVERS

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P = 4, 3
X, Y = np.arange(12.0).reshape(N, P), np.arange(4.0)


def _problem(**changes):
    arguments = {"X": X, "y": Y, "penalty": penalties.L1(0.1), **changes}
    return sj.Problem(**arguments)


def _replaced(array, value):
    array = np.array(array)
    array.flat[2] = value
    return array


NONFINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("value", NONFINITE)
@pytest.mark.parametrize(
    "wrap", [np.asarray, jnp.asarray, scipy.sparse.csr_array, jsparse.BCOO.fromdense]
)
def test_nonfinite_X(value, wrap):
    with pytest.raises(ValueError, match="`X` contains NaN or infinity"):
        _problem(X=wrap(_replaced(X, value)))


@pytest.mark.parametrize("value", NONFINITE)
def test_nonfinite_y(value):
    with pytest.raises(ValueError, match="`y` contains NaN or infinity"):
        _problem(y=_replaced(Y, value))


def test_message_says_where_the_first_nan_is():
    with pytest.raises(ValueError, match=r"`X`.*\(0, 2\)"):
        _problem(X=_replaced(X, np.nan))
    with pytest.raises(ValueError, match=r"`y`.*\(2,\)"):
        _problem(y=_replaced(Y, np.nan))


@pytest.mark.parametrize("value", NONFINITE)
@pytest.mark.parametrize("name", ["init", "coef"])
def test_nonfinite_start(name, value):
    bad = _replaced(np.zeros(P), value)
    functions = {
        "init": [lambda: sj.solve(_problem(), init=bad)],
        "coef": [
            lambda: sj.objective(_problem(), bad),
            lambda: sj.duality_gap(_problem(), bad),
            lambda: sj.kkt_violation(_problem(), bad),
        ],
    }
    for function in functions[name]:
        with pytest.raises(ValueError, match=f"`{name}`"):
            function()


@pytest.mark.parametrize("name", ["init", "coef"])
def test_start_of_the_wrong_length(name):
    bad = np.zeros(P + 1)
    call = {
        "init": lambda: sj.solve(_problem(), init=bad),
        "coef": lambda: sj.objective(_problem(), bad),
    }[name]
    with pytest.raises(ValueError, match=rf"`{name}` must have shape \(3,\)"):
        call()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"y": np.ones(N + 1)}, "y"),
        ({"y": np.ones((N, 1, 1))}, "y"),
        ({"y": 1.0}, "y"),
        ({"X": np.ones(N)}, "X"),
        ({"X": np.ones((N, P, 2))}, "X"),
        ({"X": np.ones((0, P)), "y": np.ones(0)}, "X"),
        ({"X": np.ones((N, 0))}, "X"),
        ({"X": np.ones((0, 0)), "y": np.ones(0)}, "X"),
        ({"X": scipy.sparse.csr_array((N, 0))}, "X"),
        ({"X": scipy.sparse.csr_array(X), "y": np.ones(N - 1)}, "y"),
        ({"X": []}, "X"),
        ({"y": []}, "y"),
    ],
)
def test_shapes(changes, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        _problem(**changes)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"X": "design.csv"}, "X"),
        ({"X": X.astype(str)}, "X"),
        ({"X": X.astype(object)}, "X"),
        ({"X": [["a", "b"], ["c", "d"]]}, "X"),
        ({"X": X + 1j}, "X"),
        ({"X": None}, "X"),
        ({"y": Y.astype(str)}, "y"),
        ({"y": Y.astype(object)}, "y"),
        ({"y": ["yes", "no", "yes", "no"]}, "y"),
        ({"y": Y + 1j}, "y"),
        ({"y": None}, "y"),
        ({"penalty": None}, "penalty"),
        ({"penalty": 0.1}, "penalty"),
        ({"penalty": penalties.L1}, "penalty"),
        ({"loss": "squared"}, "loss"),
        ({"loss": losses.Squared}, "loss"),
        ({"loss": penalties.L1(0.1)}, "loss"),
    ],
)
def test_types(changes, name):
    with pytest.raises(TypeError, match=f"`{name}`"):
        _problem(**changes)


def test_ragged_rows():
    with pytest.raises((TypeError, ValueError), match="`X`"):
        _problem(X=[[1.0, 2.0], [3.0], [4.0], [5.0]])


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [penalties.L1, lambda s: penalties.ElasticNet(s, 0.5)])
def test_strength(make, value):
    with pytest.raises(ValueError, match="`strength`"):
        make(value)


@pytest.mark.parametrize("make", [penalties.L1, lambda s: penalties.ElasticNet(s, 0.5)])
def test_strength_that_is_no_scalar(make):
    with pytest.raises(ValueError, match="`strength` must be a scalar"):
        make(np.ones(3))
    for value in ("0.1", None, [None]):
        with pytest.raises((TypeError, ValueError), match="`strength`"):
            make(value)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_l1_ratio(value):
    with pytest.raises(ValueError, match="`l1_ratio`"):
        penalties.ElasticNet(0.1, value)


@pytest.mark.parametrize("value", [-1.0, np.nan, -np.inf])
def test_weights(value):
    with pytest.raises(ValueError, match="`weights`"):
        penalties.L1(0.1, weights=_replaced(np.ones(P), value))


@pytest.mark.parametrize("weights", [np.ones(P + 1), np.ones(1), np.ones((P, 1)), 1.0])
def test_weights_of_the_wrong_length(weights):
    with pytest.raises(ValueError, match="`weights`"):
        _problem(penalty=penalties.L1(0.1, weights=weights))


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_sample_weight(value):
    with pytest.raises(ValueError, match="`sample_weight`"):
        losses.Squared(sample_weight=_replaced(np.ones(N), value))


@pytest.mark.parametrize("weights", [np.ones(N + 1), np.ones((N, 1)), 2.0, np.zeros(N)])
def test_sample_weight_of_the_wrong_shape_or_all_zero(weights):
    with pytest.raises(ValueError, match="`sample_weight`"):
        _problem(loss=losses.Squared(sample_weight=weights))


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 0.0), (np.nan, 1.0), (0.0, np.nan), (np.inf, -np.inf)]
)
def test_box_bounds(low, high):
    with pytest.raises(ValueError, match=r"`lower`.*`upper`"):
        penalties.Box(low, high)


@pytest.mark.parametrize("name", ["lower", "upper"])
def test_box_bounds_of_the_wrong_length(name):
    bounds = {"lower": -1.0, "upper": 1.0}
    bounds[name] = np.full(P + 1, bounds[name])
    with pytest.raises(ValueError, match=f"`{name}`"):
        _problem(penalty=penalties.Box(**bounds))


@pytest.mark.parametrize("solver", [make() for make in SOLVERS.values()], ids=SOLVERS)
@pytest.mark.parametrize("tol", [-1e-8, np.nan, -np.inf])
def test_tol(solver, tol):
    with pytest.raises(ValueError, match="`tol`"):
        sj.solve(_problem(), solver, tol=tol)


def test_tol_that_is_no_number():
    with pytest.raises(ValueError, match="`tol`"):
        sj.solve(_problem(), tol=np.ones(2))
    with pytest.raises(TypeError, match="`tol`"):
        sj.solve(_problem(), tol="small")


@pytest.mark.parametrize("value", [-1, 1.5, "many", np.nan])
def test_max_steps(value):
    with pytest.raises((TypeError, ValueError), match="`max_steps`"):
        sj.solve(_problem(), max_steps=value)


@pytest.mark.parametrize("solver", [solvers.FISTA, "fista", penalties.L1(0.1)])
def test_solver(solver):
    with pytest.raises(TypeError, match="`solver`"):
        sj.solve(_problem(), solver)


@pytest.mark.parametrize(
    "function",
    [
        sj.solve,
        sj.strength_max,
        lambda p: sj.objective(p, np.zeros(P)),
        lambda p: sj.duality_gap(p, np.zeros(P)),
        lambda p: sj.kkt_violation(p, np.zeros(P)),
    ],
)
def test_problem(function):
    with pytest.raises(TypeError, match="`problem`"):
        function((X, Y))


def test_standardise():
    with pytest.raises(ValueError, match="`X`"):
        sj.designs.standardise(_replaced(X, np.nan))
    for weights in (np.ones(N + 1), -np.ones(N), np.zeros(N), _replaced(np.ones(N), np.nan)):
        with pytest.raises(ValueError, match="`sample_weight`"):
            sj.designs.standardise(X, sample_weight=weights)


def test_adjoint_that_is_a_class():
    with pytest.raises(TypeError, match="`adjoint` must be a sparsejax adjoint"):
        sj.solve(_problem(), adjoint=sj.Implicit)


def test_path_of_a_penalty_that_keeps_every_coefficient():
    ridge = penalties.ElasticNet(1.0, 0.0)
    for run in (sj.path, sj.resampling.cross_validate):
        with pytest.raises(ValueError, match="pass `strengths`"):
            run(_problem(penalty=ridge))
    for num in (2.5, 0):
        with pytest.raises(ValueError, match="`num` must be a positive integer"):
            sj.path(_problem(), num=num)
