"""Adam for a smooth loss plus separable penalties of some of the weights."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...nn._coefficients import as_coefficients
from ...nn._leaves import named_leaves, replace_leaves
from ...penalties import AbstractSeparablePenalty

_DECAY, _EPSILON = 0.999, 1e-8  # of the squares, and what keeps their root from zero


def proximal_adam(
    rate: optax.Schedule, penalties: dict[str, AbstractSeparablePenalty]
) -> optax.GradientTransformation:
    """Adam's step, and the proximal operators in Adam's own metric.

    A coordinate whose step is rate/√v has that step in the proximal operator too. So what stays
    put minimises loss + penalties, at the strengths that were given: after Adam,
    ``nn.prox_updates`` (one step for all coordinates) would have them divided by √v, and strengths
    of 1e-4 would do nothing.

    Parameters
    ----------
    rate
        From the number of steps taken to the next one's length.
    penalties
        By the name of the weight.

    Notes
    -----
    Yun, Lozano & Yang, Adaptive proximal gradient methods for structured neural networks (2021).
    """
    adam = optax.scale_by_adam(b2=_DECAY, eps=_EPSILON)

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, Any]:
        scaled, state = adam.update(updates, state)
        step = jnp.asarray(rate(state.count - 1))
        moves = named_leaves(jax.tree.map(lambda u: -step * u, scaled))
        weights, squares = named_leaves(params), named_leaves(state.nu)
        for name, penalty in penalties.items():
            w = weights[name]
            root = jnp.sqrt(squares[name] / (1 - _DECAY**state.count)) + _EPSILON
            coef = as_coefficients(penalty, w + moves[name], name)
            new = penalty.prox(coef, (step / root).reshape(coef.shape))
            moves[name] = new.reshape(w.shape) - w  # minus itself where it becomes zero: exact
        return replace_leaves(updates, moves), state

    return optax.GradientTransformation(adam.init, update)
