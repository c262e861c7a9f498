"""What a solve returns."""

from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


class RESULTS(eqx.Enumeration):
    """How a solve ended; only ``successful`` carries a certificate at the asked tolerance."""

    successful = ""
    max_steps_reached = (
        "The maximum number of steps was reached before the duality gap, or the KKT violation of a "
        "concave penalty, fell below `tol`. "
        "Raise `max_steps` or `tol`, or use another solver."
    )
    stagnated = (
        "The solver stopped improving before the duality gap, or the KKT violation of a concave "
        "penalty, fell below `tol`. In single precision its digits are mostly used up: raise "
        "`tol`, or use float64. In double precision try another solver or a larger strength."
    )
    infeasible = (
        "No coefficients of any reasonable size fit the targets exactly: `y` lies outside the "
        "range of `X`. Use another loss than Equality, such as Squared or SquareRoot."
    )
    unbounded = (
        "There is no minimum: the loss falls for ever as the coefficients grow, and the penalty no "
        "longer grows with them (classes are separated by a few features). Use a larger strength "
        "or a convex penalty."
    )
    nonfinite = "The solve met NaN or infinity: check `X`, `y`, the weights and the strength."
    invalid = (
        "A strength, weight, ratio or bound is out of range (negative or NaN); it was traced, so "
        "this could only be found while running."
    )


class Stats(eqx.Module, Mapping):
    """A read-only mapping that may cross a ``jit`` boundary although it holds a name."""

    solver: str = eqx.field(static=True)
    values: dict[str, Array]

    def __getitem__(self, key: str) -> Any:
        return self.solver if key == "solver" else self.values[key]

    def __iter__(self) -> Iterator[str]:
        yield "solver"
        yield from self.values

    def __len__(self) -> int:
        return 1 + len(self.values)


class Solution(eqx.Module):
    """A solution and its certificate.

    Attributes
    ----------
    coef
        (p,) or (p, tasks) coefficients, with exact zeros off the support.
    intercept
        Scalar or (tasks,), zero unless fitted.
    objective
        loss + penalty at the solution.
    gap
        Duality gap from a dual feasible point, relative to the objective at zero: an upper bound
        on how much better any other point can be. NaN for concave penalties.
    kkt
        Largest distance of −∇loss to ∂penalty, relative to the strength.
    result
        A member of ``RESULTS``; ``successful`` only where ``gap``, or ``kkt`` for concave
        penalties, is at most the tolerance.
    stats
        What was done: ``stats["solver"]``, ``stats["num_steps"]`` and the solver's own counts.
    """

    coef: Float[Array, "p ..."]
    intercept: Float[Array, "..."]
    objective: Float[Array, ""]
    gap: Float[Array, ""]
    kkt: Float[Array, ""]
    result: RESULTS
    stats: Stats


def require_success(value: Any, result: RESULTS) -> Any:
    """``value``, or an error that says how the solve failed: now if it is known, else at run time.

    Raises
    ------
    RuntimeError
        With the message of ``result`` unless it is ``successful``.
    """
    if isinstance(result._value, Tracer):
        return result.error_if(value, result != RESULTS.successful)
    # In NumPy: comparing in JAX would take as long as a small solve.
    failed = np.asarray(result._value) != np.asarray(RESULTS.successful._value)
    if failed.any():
        index = tuple(int(i) for i in np.argwhere(failed)[0])
        where = f" (first at index {', '.join(map(str, index))})" if index else ""
        raise RuntimeError(f"sparsejax did not converge{where}: {_message(result, index)}")
    return value


def _message(result: RESULTS, index: tuple[int, ...]) -> str:
    return str(RESULTS._index_to_message[int(result._value[index])])
