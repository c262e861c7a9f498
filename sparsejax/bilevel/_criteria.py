"""What tuning minimises."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import inexact, optional_inexact
from .._checks import check_finite, check_nonnegative, is_concrete, values_of
from .._modules import replace
from .._problem import Problem, predict_sparse
from .._solution import RESULTS, Solution
from .._solve import solve
from ..designs import AbstractDesign, as_design
from ..designs._several import matvec


class AbstractCriterion(eqx.Module):
    """A number that says how well the solution of a problem predicts."""

    def checked(self, problem: Problem) -> "AbstractCriterion":
        """The same criterion; ``ValueError`` where it does not fit the problem."""
        del problem
        return self

    @abc.abstractmethod
    def start(self, problem: Problem) -> Float[Array, "..."]:
        """Coefficients to start the first evaluation from."""

    @abc.abstractmethod
    def value(
        self, problem: Problem, init: Float[Array, "..."], tol: float
    ) -> tuple[Float[Array, ""], Float[Array, "..."]]:
        """The criterion and coefficients to start from next, differentiable in the problem."""


def valid_or_infinite(value: Float[Array, "..."], solution: Solution) -> Float[Array, "..."]:
    """What was made of a solution, or infinity where a step led out of range (a ratio above 1)."""
    return jnp.where(solution.result == RESULTS.invalid, jnp.inf, value)


class Holdout(AbstractCriterion):
    """The loss on samples that were kept aside.

    Parameters
    ----------
    X, y
        The (m, p) design and the targets kept aside, as the problem's loss takes them.
    offset
        (m, …) known parts of their predictions, where the problem has an offset.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> criterion = sj.bilevel.Holdout(np.eye(2), np.array([1.0, 0.0]))
    >>> criterion.X.shape
    (2, 2)
    """

    X: AbstractDesign = eqx.field(converter=as_design)
    y: Float[Array, "m ..."] = eqx.field(converter=inexact("y"))
    offset: Float[Array, "m ..."] | None = eqx.field(
        default=None, converter=optional_inexact("offset")
    )

    def __check_init__(self) -> None:
        for name, values in (("y", self.y), ("offset", self.offset)):
            if values is None:
                continue
            if values.shape[:1] != self.X.shape[:1]:
                raise ValueError(
                    f"`{name}` must have {self.X.shape[0]} rows, as `X` has; got shape "
                    f"{values.shape}."
                )
            check_finite(name, values)

    def checked(self, problem: Problem) -> "Holdout":
        if self.X.shape[1] != problem.X.shape[1]:
            raise ValueError(
                f"the `X` of Holdout must have {problem.X.shape[1]} features, as the problem has; "
                f"got {self.X.shape[1]}."
            )
        if (self.offset is None) != (problem.offset is None):
            raise ValueError(
                "Holdout needs an `offset` where the problem has one, and none where it has none."
            )
        # The sample weights are those of other samples.
        y, tasks = problem.loss.reweighted(None).targets(self.y), problem.y.shape[1:]
        if self.y.ndim == 1 and y.ndim == 2:  # of labels, the last classes may not be there
            y = jnp.pad(y, ((0, 0), (0, max(tasks[0] - y.shape[1], 0))))
        if y.shape[1:] != tasks:
            raise ValueError(
                f"the `y` of Holdout must be like the problem's, with rows of shape {tasks}; got "
                f"rows of shape {y.shape[1:]}."
            )
        return replace(self, y=y)

    def start(self, problem: Problem) -> Float[Array, "p ..."]:
        return jnp.zeros(problem.coef_shape, problem.X.dtype)

    def value(
        self, problem: Problem, init: Float[Array, "p ..."], tol: float
    ) -> tuple[Float[Array, ""], Float[Array, "p ..."]]:
        solution = solve(problem, init=init, tol=tol, throw=False)
        predictions = matvec(self.X, solution.coef) + solution.intercept
        if self.offset is not None:
            predictions = predictions + self.offset.astype(predictions.dtype)
        loss = problem.loss.reweighted(None)
        error = loss.value(predictions, loss.targets(self.y.astype(init.dtype)))
        return valid_or_infinite(error, solution), solution.coef


class Folds(AbstractCriterion):
    """The mean over folds of the loss on the samples that each fold keeps aside.

    A fold is told by weights on all samples, so that every fold has the same shapes and one
    compiled solve serves them all. They multiply the sample weights of the problem's own loss.

    Parameters
    ----------
    train, test
        (k, n) weights ≥ 0: zeros and ones, or counts where samples are drawn more than once.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> sj.bilevel.Folds(np.array([[1, 1, 0]]), np.array([[0, 0, 1]])).train.shape
    (1, 3)
    """

    train: Float[Array, "k n"] = eqx.field(converter=inexact("train"))
    test: Float[Array, "k n"] = eqx.field(converter=inexact("test"))

    def __check_init__(self) -> None:
        if self.train.ndim != 2 or self.train.shape != self.test.shape:
            raise ValueError(
                "`train` and `test` must be matrices of the same shape (folds, samples); got "
                f"{self.train.shape} and {self.test.shape}."
            )
        for name, weights in (("train", self.train), ("test", self.test)):
            check_nonnegative(name, weights, ndim=2, finite=True)
            if is_concrete(weights) and not np.all(np.any(values_of(weights) > 0, axis=1)):
                raise ValueError(f"`{name}` must hold a positive weight in every fold.")

    def checked(self, problem: Problem) -> "Folds":
        self.check(problem)
        return self

    def check(self, problem: Problem) -> None:
        """``ValueError`` for folds of another number of samples."""
        if self.train.shape[1] != problem.y.shape[0]:
            raise ValueError(
                f"the folds are made for {self.train.shape[1]} samples but the problem has "
                f"{problem.y.shape[0]}."
            )

    def start(self, problem: Problem) -> Float[Array, "k p ..."]:
        return jnp.zeros((self.train.shape[0], *problem.coef_shape), problem.X.dtype)

    def value(
        self, problem: Problem, init: Float[Array, "k p ..."], tol: float
    ) -> tuple[Float[Array, ""], Float[Array, "k p ..."]]:
        self.check(problem)

        def fold(args: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            train, test, init = args
            trained = eqx.tree_at(lambda p: p.loss, problem, problem.loss.reweighted(train))
            solution = solve(trained, init=init, tol=tol, throw=False)
            predictions = predict_sparse(problem, solution.coef) + solution.intercept
            error = problem.loss.reweighted(test).value(predictions, problem.y)
            return valid_or_infinite(error, solution), solution.coef

        train, test = self.train.astype(init.dtype), self.test.astype(init.dtype)
        # One fold after the other: batched, each would run every branch of the solver.
        errors, coefs = jax.lax.map(fold, (train, test, init))
        return jnp.mean(errors), coefs


class KFold(AbstractCriterion):
    """Cross-validation on ``k`` consecutive blocks of samples, as scikit-learn cuts them.

    Parameters
    ----------
    k
        Number of folds, at least 2 and at most the number of samples. Shuffle the samples first
        if their order means something.

    Examples
    --------
    >>> import sparsejax as sj
    >>> sj.bilevel.KFold(5).k
    5
    """

    k: int = eqx.field(default=5, static=True)

    def __check_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 2:
            raise ValueError(f"`k` must be an integer of at least 2; got {self.k!r}.")

    def folds(self, problem: Problem) -> Folds:
        """The folds of the problem's samples, told by weights."""
        n = problem.y.shape[0]
        if self.k > n:
            raise ValueError(f"`k` = {self.k} folds need as many samples; the problem has {n}.")
        sizes = [n // self.k + (fold < n % self.k) for fold in range(self.k)]
        label = jnp.repeat(jnp.arange(self.k), jnp.array(sizes), total_repeat_length=n)
        test = (label == jnp.arange(self.k)[:, None]).astype(problem.X.dtype)
        return Folds(1 - test, test)

    def start(self, problem: Problem) -> Float[Array, "k p"]:
        return self.folds(problem).start(problem)

    def value(
        self, problem: Problem, init: Float[Array, "k p"], tol: float
    ) -> tuple[Float[Array, ""], Any]:
        return self.folds(problem).value(problem, init, tol)
