"""Steps of few evaluations for criteria that are smooth but for kinks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from .._modules import select


class TrustState(NamedTuple):
    """The best point so far and what is known of the criterion around it."""

    params: Any
    gradient: Any
    value: Float[Array, ""]
    radius: Float[Array, ""]


def trust_steps(
    radius: float = 1.0, shortest: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Steps −∇/κ of at most a radius, each from the best point so far, as an Optax transformation.

    κ = ⟨Δx, Δ∇⟩/‖Δx‖² is the curvature between the best point and the point before (Barzilai &
    Borwein's); for one parameter the step is that of the secant method. Where κ is not positive
    the step is as long as the radius. A step that lowers the criterion makes the new point the
    best; one that raises it is taken back and leaves a quarter of its length. ``update`` needs the
    criterion at the parameters as ``value``.

    Parameters
    ----------
    radius
        Longest step, in the norm √(Σx²/number of parameters). The default is a factor of e
        for parameters on the logarithmic scale.
    shortest
        Where every entry of a step from the best point would be shorter, updates are zero.

    Raises
    ------
    ValueError
        If ``radius`` is not positive, or ``shortest`` negative.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, sparsejax as sj
    >>> steps = sj.bilevel.trust_steps()
    >>> x, state = jnp.array(3.0), steps.init(jnp.array(3.0))
    >>> for _ in range(5):
    ...     value, gradient = jax.value_and_grad(jnp.square)(x)
    ...     updates, state = steps.update(gradient, state, x, value=value)
    ...     x = x + updates
    >>> bool(abs(x) < 1e-6)
    True

    Notes
    -----
    Barzilai & Borwein (IMA J. Numerical Analysis, 1988).
    """
    if not radius > 0:
        raise ValueError(f"`radius` must be positive; got {radius}.")
    if not shortest >= 0:
        raise ValueError(f"`shortest` must not be negative; got {shortest}.")

    def init(params: Any) -> TrustState:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        zeros = jax.tree.map(jnp.zeros_like, params)
        return TrustState(params, zeros, jnp.array(jnp.inf, dtype), jnp.array(radius, dtype))

    def update(
        updates: Any, state: Any, params: Any = None, **known: Any
    ) -> tuple[Any, TrustState]:
        if "value" not in known:
            raise ValueError("`update` of trust_steps needs the criterion: pass `value=`.")
        found = TrustState(params, updates, known["value"], state.radius)
        moved = optax.tree.sub(params, state.params)
        length = _norm(moved)
        best = _better(found, state, length)
        begun = jnp.isfinite(state.value) & (length > 0)
        bend = jnp.asarray(optax.tree.vdot(moved, optax.tree.sub(updates, state.gradient)))
        convex = begun & (bend > 0)
        curvature = jnp.where(convex, bend / (optax.tree.size(moved) * length**2), 1.0)
        slope = _norm(best.gradient)
        wanted = jnp.where(convex, slope / curvature, jnp.inf)
        scale = jnp.minimum(wanted, best.radius) / jnp.where(slope > 0, slope, jnp.inf)
        aim = optax.tree.add_scale(best.params, -scale, best.gradient)
        worth = scale * optax.tree.norm(best.gradient, ord=jnp.inf) >= shortest
        steps = optax.tree.sub(aim, params)
        return jax.tree.map(lambda step: jnp.where(worth, step, 0.0), steps), best

    return optax.GradientTransformationExtraArgs(init, update)


def _better(new: TrustState, old: TrustState, length: Float[Array, ""]) -> TrustState:
    """The better of two points, with the radius that the step between them leaves."""
    improved = new.value <= old.value
    best = select(improved, new, old)
    allowed = jnp.where(improved | (length == 0), old.radius, length / 4)
    return best._replace(radius=allowed.astype(old.radius.dtype))


def _norm(tree: Any) -> Float[Array, ""]:
    """The root mean square: the same for one parameter and for many that move alike."""
    return optax.tree.norm(tree) / optax.tree.size(tree) ** 0.5
