"""Pruning while training, as the last transformation of an Optax chain."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ._leaves import Where, chosen_leaves, named_leaves, replace_leaves
from ._masks import masks_of
from ._pattern import AbstractPattern, Scope, checked_pattern, checked_scope
from ._updates import moving_weights


class PruneState(eqx.Module):
    """Where pruning is.

    Attributes
    ----------
    count
        Steps taken.
    sparsity
        The schedule's value at which the masks were chosen.
    masks
        Of the parameters' shape: ``apply_masks`` takes them.
    """

    count: Int[Array, ""]
    sparsity: Float[Array, ""]
    masks: Any


def prune_updates(
    schedule: optax.Schedule | float,
    pattern: AbstractPattern | Any,
    where: Where = None,
    scope: Scope = "leaf",
) -> optax.GradientTransformation:
    """After the step that precedes it in the chain, drop the weights of least magnitude.

    What is dropped stays at exactly zero; when the schedule rises, more is. Nothing has to be
    called outside of the chain: the weights are as sparse after each step as the schedule says.

    Parameters
    ----------
    schedule
        The sparsity at each step (``constant``, ``one_shot``, ``cubic``, or any Optax schedule),
        or a number. It never exceeds the pattern's own, so a schedule that rises to one ends at
        the pattern.
    pattern
        A pattern, or a pytree of the parameters' shape with one for each weight (``erk``).
    where, scope
        Which weights, and which compete, as in ``magnitude_masks``.

    Returns
    -------
    transformation
        The last of a chain: nothing may change the updates after it. ``update`` needs ``params``,
        in which functions and frozen leaves (None here or in the updates) pass unchanged. Its
        state holds only arrays, so it is checkpointed like any other.

    Raises
    ------
    TypeError
        If ``pattern`` is none.
    ValueError
        If nothing is chosen or shapes do not fit; the message names the leaf.

    Examples
    --------
    >>> import jax.numpy as jnp, optax, sparsejax as sj
    >>> prune = sj.nn.prune_updates(sj.nn.constant(0.5), sj.nn.Unstructured(0.5))
    >>> optimiser = optax.chain(optax.sgd(1.0), prune)
    >>> params = jnp.array([[3.0, 0.25]])
    >>> updates, _ = optimiser.update(jnp.ones_like(params), optimiser.init(params), params)
    >>> optax.apply_updates(params, updates).tolist()
    [[2.0, 0.0]]

    Notes
    -----
    Zhu & Gupta, To prune, or not to prune (2017).
    """
    scope = checked_scope(scope)
    if not isinstance(pattern, AbstractPattern):
        leaves = jax.tree.leaves(pattern, is_leaf=lambda x: isinstance(x, AbstractPattern))
        for leaf in leaves or [pattern]:
            checked_pattern(leaf)

    def masks_at(tree: Any, scores: dict[str, Array], sparsity: Array) -> Any:
        tree = replace_leaves(tree, {name: scores.get(name) for name in named_leaves(tree)})
        return masks_of(tree, pattern, scope, sparsity)

    def init(params: optax.Params) -> PruneState:
        nothing = jnp.zeros((), jnp.float32)
        masks = masks_at(params, chosen_leaves(params, where), nothing)
        return PruneState(jnp.zeros((), jnp.int32), nothing, masks)

    def update(
        updates: optax.Updates, state: PruneState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, PruneState]:
        moving, before = moving_weights(updates, params, where), named_leaves(state.masks)
        moving = {name: pair for name, pair in moving.items() if before[name] is not None}
        now = jnp.asarray(schedule(state.count) if callable(schedule) else schedule, jnp.float32)

        def choose() -> Any:
            # Those dropped before come first among those to be dropped now.
            scores = {n: jnp.where(before[n], jnp.abs(w + u), -1.0) for n, (w, u) in moving.items()}
            chosen = named_leaves(masks_at(state.masks, scores, now))
            new = {n: m if chosen[n] is None else chosen[n] for n, m in before.items()}
            return replace_leaves(state.masks, new)

        masks = jax.lax.cond(now > state.sparsity, choose, lambda: state.masks)
        keep, steps = named_leaves(masks), named_leaves(updates)
        for name, (w, step) in moving.items():
            # What is dropped gets minus itself, so that the zero is exact.
            steps[name] = jnp.where(keep[name], step, -w)
        sparsity = jnp.maximum(now, state.sparsity)
        return replace_leaves(updates, steps), PruneState(state.count + 1, sparsity, masks)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
