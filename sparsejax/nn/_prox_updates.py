"""Proximal steps as the last transformation of an Optax chain."""

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from ..penalties import AbstractPenalty
from ._coefficients import as_coefficients, checked_penalty
from ._leaves import Where, named_leaves, replace_leaves
from ._updates import moving_weights


class ProxState(eqx.Module):
    """Where thresholding is.

    Attributes
    ----------
    count
        Steps taken.
    """

    count: Int[Array, ""]


def prox_updates(
    penalty: AbstractPenalty,
    learning_rate: optax.ScalarOrSchedule,
    where: Where = None,
) -> optax.GradientTransformation:
    """After the step that precedes it in the chain, apply a penalty's proximal operator.

    Weights become exactly zero, which the gradient of a penalty in the loss never achieves. With
    ``optax.sgd`` before it this is proximal gradient descent. After a method that scales
    coordinates (Adam) it is a proximal step in the Euclidean metric: zeros are exact, but the
    strength is in effect divided by the scale.

    Parameters
    ----------
    penalty
        Any penalty of this library, seen as in ``penalise``.
    learning_rate
        The step: that of the optimiser before, a number or a schedule.
    where
        Which weights, as in ``magnitude_masks``.

    Returns
    -------
    transformation
        The last of a chain: nothing may change the updates after it. ``update`` needs ``params``,
        in which functions and frozen leaves (None here or in the updates) pass unchanged.

    Raises
    ------
    TypeError
        If ``penalty`` is none.
    ValueError
        If nothing is chosen or shapes do not fit; the message names the leaf.

    Examples
    --------
    >>> import jax.numpy as jnp, optax, sparsejax as sj
    >>> prox = sj.nn.prox_updates(sj.penalties.L1(1.0), 0.5)
    >>> optimiser = optax.chain(optax.sgd(0.5), prox)
    >>> params = jnp.array([[3.0, 0.25]])
    >>> updates, _ = optimiser.update(jnp.zeros_like(params), optimiser.init(params), params)
    >>> optax.apply_updates(params, updates).tolist()
    [[2.5, 0.0]]
    """
    penalty = checked_penalty(penalty)

    def init(params: optax.Params) -> ProxState:
        del params
        return ProxState(jnp.zeros((), jnp.int32))

    def update(
        updates: optax.Updates, state: ProxState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ProxState]:
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        rate = jnp.asarray(rate)
        steps = named_leaves(updates)
        for name, (w, step) in moving_weights(updates, params, where).items():
            coef = as_coefficients(penalty, w + step, name)
            # A weight that goes to zero gets minus itself, so that the zero is exact.
            steps[name] = penalty.prox(coef, rate).reshape(w.shape) - w
        return replace_leaves(updates, steps), ProxState(state.count + 1)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
