"""Train sparse networks on a problem; what is done survives the process."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._checks import check_integer
from ...nn._leaves import chosen_leaves
from ...penalties import AbstractSeparablePenalty
from .._checkpoint import Checkpoint
from .._files import digest
from ._phases import Descent, Refit
from ._problem import Problem, Reference
from ._terms import Condition

Penalty = AbstractSeparablePenalty | Sequence[AbstractSeparablePenalty] | None


class Progress(NamedTuple):
    """How far a training is.

    Attributes
    ----------
    phase
        ``"descent"`` or ``"refit"``.
    done, steps
        Of this phase.
    losses
        Of every network, at the last step and without the penalty; on the points of that step.
    """

    phase: str
    done: int
    steps: int
    losses: tuple[float, ...]


class Solved(NamedTuple):
    """Trained networks.

    Attributes
    ----------
    networks
        As they were given, with other weights: stacked along a first axis.
    history
        ``Progress``, in order.
    """

    networks: Any
    history: tuple[Progress, ...]

    def network(self, i: int) -> Any:
        """One of the networks."""
        return jax.tree.map(lambda leaf: leaf[i] if eqx.is_array(leaf) else leaf, self.networks)


def solve(
    problem: Problem,
    networks: Any,
    penalty: Penalty = None,
    *,
    seed: int = 0,
    steps: int = 5000,
    refit_steps: int = 150,
    learning_rate: float = 2e-3,
    batch: int = 500,
    refit_batch: int = 1000,
    every: int = 500,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Solved:
    """Minimise the loss of a problem plus penalties of the weights, then refit on the support.

    First proximal Adam: weights become exactly zero. Then Levenberg–Marquardt on the weights that
    are left, without the penalties. Both on points drawn anew at every step.

    Parameters
    ----------
    problem
        What to solve.
    networks
        Stacked, as from ``networks``; their precision is that of the computation.
    penalty
        One penalty for every weight matrix, or a sequence with one for each: with ``L1`` the
        multi-parameter regularisation of the paper. Biases are not penalised. None: dense.
    seed
        Of the points; each network has its own.
    steps, refit_steps
        Of Adam, and of Levenberg–Marquardt: one of these takes as long as a hundred of Adam, and
        goes farther. Zero leaves the phase out.
    learning_rate
        Adam's and the proximal operators' first step.
    batch, refit_batch
        Points of each term in a step of Adam and of the refit, if it has more; the refit takes
        those of large residuals more often. Its step solves a dense system, in as many unknowns
        as there are weights, or residuals if these are fewer: take about twice as many points as
        weights are left, since fewer are fitted by themselves.
    every
        Steps between checkpoints and calls of ``callback``.
    checkpoint
        A file. If the process dies, the same call goes on from there and ends in the same
        numbers. Delete it when the result is safe.
    callback
        Called with ``Progress``, once at the start if there is some already.

    Returns
    -------
    solved

    Raises
    ------
    ValueError
        If a residual returns something else than a vector, a size does not fit, or
        ``checkpoint`` holds a run with other arguments.
    TypeError
        If ``penalty`` is not separable: Adam's metric has a step for each coordinate.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> import sparsejax as sj
    >>> from sparsejax.applications import pde
    >>> problem = pde.function_fit()
    >>> networks = pde.networks(problem, seeds=(0, 1), width=8, depth=1)
    >>> penalty = sj.penalties.L1(1e-3), sj.penalties.L1(1e-2)
    >>> solved = pde.solve(problem, networks, penalty, steps=20, refit_steps=5)
    >>> [step.phase for step in solved.history]
    ['descent', 'refit']

    Notes
    -----
    Xu & Zeng, Sparse deep neural network for nonlinear partial differential equations (2023):
    one strength for each layer, which is a scale.
    """
    for name, size in (("batch", batch), ("refit_batch", refit_batch), ("every", every)):
        check_integer(name, size)
    for name, size in (("steps", steps), ("refit_steps", refit_steps)):
        check_integer(name, size, least=0)
    weights, rest = eqx.partition(networks, eqx.is_inexact_array)
    penalties = by_layer(weights, penalty)
    num = len(jax.tree.leaves(weights)[0])
    key = jax.random.key(seed)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num))
    phases = {
        "descent": Descent(problem, rest, steps, penalties, learning_rate, batch),
        "refit": Refit(problem, rest, refit_steps, refit_batch),
    }
    saved, history = None, []
    if checkpoint is not None:
        run = _fingerprint(problem, weights, penalties, seed=seed, every=every)
        run |= {"steps": steps, "refit_steps": refit_steps}
        run |= {"batch": batch, "refit_batch": refit_batch}
        saved = Checkpoint(checkpoint, run | {"learning_rate": learning_rate}, "solve")
        found = saved.progress()
        history = [] if found is None else [_progress(*entry) for entry in found["history"]]
        if history and callback is not None:
            callback(history[-1])
    for name, phase in phases.items():
        state, done = phase.start(weights), 0
        reached = [entry for entry in history if entry.phase == name]
        if reached and saved is not None:
            if history[-1].phase == name:
                state = saved.state(state)
            done = reached[-1].done
        while done < phase.steps:
            length = min(every, phase.steps - done)
            state, losses = phase.advance(state, keys, jnp.array(done), jnp.array(length))
            done += length
            history.append(_progress(name, done, phase.steps, np.asarray(losses).tolist()))
            _check_finite(problem, history[-1], length)
            if saved is not None:
                saved.write({"history": history}, state)
            if callback is not None:
                callback(history[-1])
        weights = state[0]
    return Solved(eqx.combine(weights, rest), tuple(history))


def errors(problem: Problem, networks: Any) -> Float[np.ndarray, " seeds"]:
    """Distances to the reference over all outputs, relative to its norm, one a network.

    Parameters
    ----------
    problem
        With a reference.
    networks
        Stacked, as from ``solve``.

    Raises
    ------
    ValueError
        If there is no reference.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> problem = pde.function_fit()
    >>> pde.errors(problem, pde.networks(problem, seeds=(0, 1))).shape
    (2,)
    """
    reference = reference_of(problem)
    values = reference.values.reshape(-1, reference.values.shape[-1])
    wrong = predict(problem, networks, reference.points) - values
    return np.linalg.norm(wrong, axis=(1, 2)) / np.linalg.norm(values)


def reference_of(problem: Problem) -> Reference:
    """The problem's reference, or an error that says there is none."""
    if problem.reference is None:
        raise ValueError(f"{problem.name!r} has no reference to compare with.")
    return problem.reference()


def predict(
    problem: Problem, networks: Any, points: Float[np.ndarray, "points axes"]
) -> Float[np.ndarray, "seeds points outputs"]:
    """The fields of stacked networks at some points.

    Parameters
    ----------
    problem, networks
        As of ``errors``.
    points
        A row each.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import pde
    >>> problem = pde.burgers()
    >>> pde.predict(problem, pde.networks(problem), np.zeros((4, 2))).shape
    (1, 4, 1)
    """
    weights, rest = eqx.partition(networks, eqx.is_inexact_array)
    dtype = jax.tree.leaves(weights)[0].dtype
    return np.asarray(_predict(problem, weights, rest, jnp.asarray(points, dtype)))


@eqx.filter_jit
def _predict(problem: Problem, weights: Any, rest: Any, points: Any) -> Any:
    def of_one(weights: Any) -> Any:
        return jax.vmap(problem.field(eqx.combine(weights, rest)))(points)

    return jax.lax.map(of_one, weights)


def by_layer(weights: Any, penalty: Penalty) -> dict[str, AbstractSeparablePenalty]:
    """The penalty of each weight matrix, by its name."""
    names = list(chosen_leaves(weights, None))
    if penalty is None:
        return {}
    each = penalty if isinstance(penalty, Sequence) else [penalty] * len(names)
    if len(each) != len(names):
        raise ValueError(
            f"`penalty` must be one, or one for each of {len(names)} weights; got {len(each)}."
        )
    for one in each:
        if not isinstance(one, AbstractSeparablePenalty):
            raise TypeError(
                "`penalty` must be separable and convex, such as sparsejax.penalties.L1; got "
                f"{type(one).__name__}."
            )
    return dict(zip(names, each, strict=True))


def _progress(phase: str, done: int, steps: int, losses: Sequence[float]) -> Progress:
    return Progress(phase, done, steps, tuple(losses))


def _check_finite(problem: Problem, progress: Progress, length: int) -> None:
    wrong = [i for i, loss in enumerate(progress.losses) if not np.isfinite(loss)]
    if wrong:
        raise FloatingPointError(
            f"{problem.name}: the loss is not finite in the {progress.phase}, within steps "
            f"{progress.done - length} to {progress.done}, for networks {wrong}: a lower learning "
            "rate may help, or the residual is not defined somewhere."
        )


def _fingerprint(
    problem: Problem, weights: Any, penalties: dict[str, AbstractSeparablePenalty], **others: int
) -> dict[str, Any]:
    """What must be the same for a run to go on; functions are known by the problem's name."""
    terms = [
        (term.name, term.weight, term.num if isinstance(term, Condition) else len(term.points))
        for term in problem.terms
    ]
    return {
        "problem": [problem.name, terms, digest(*jax.tree.leaves(problem.terms))],
        "networks": digest(*jax.tree.leaves(weights)),
        "penalty": [
            [n, type(p).__name__, digest(*jax.tree.leaves(p))] for n, p in penalties.items()
        ],
        **others,
    }
