"""Masks: pytrees of a model's shape, True = keep, None = not pruned."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ._exact import kept, num_dropped_now
from ._leaves import Where, aligned, is_none, is_weight, named_leaves, replace_leaves
from ._pattern import AbstractPattern, Scope, checked_pattern, checked_scope
from ._scores import magnitude


def magnitude_masks(model: Any, pattern: Any, where: Where = None, scope: Scope = "leaf") -> Any:
    """Masks that keep the weights of largest magnitude.

    Parameters
    ----------
    model
        Any pytree; leaves may be functions or None.
    pattern
        A pattern for all weights, or a pytree of the model's shape with one for each (``erk``).
    where
        Which weights: a pattern of names such as ``"layers.*.weight"``, or several; a function
        of the model that returns leaves or subtrees, as in ``equinox.tree_at``; a predicate of
        name and leaf. By default the weights of linear layers and convolutions, and whatever
        else has two axes or more and is not part of another layer of Equinox.
    scope
        ``"leaf"``: weights compete within their array; ``"row"``: within an output of it;
        ``"global"``: all with all. N:M is the same in each.

    Returns
    -------
    masks
        A pytree of the model's shape: boolean arrays, None for what is not pruned.

    Raises
    ------
    ValueError
        If nothing is chosen, or a shape does not fit the pattern; the message names the leaf.
    TypeError
        If ``pattern`` is none.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> model = {"w": jnp.array([[3.0, -1.0], [0.5, 2.0]]), "b": jnp.zeros(2)}
    >>> sj.nn.magnitude_masks(model, sj.nn.Unstructured(0.5))["w"].tolist()
    [[True, False], [False, True]]
    """
    return masks_of(magnitude(model, where), pattern, scope)


def masks_of(scores: Any, pattern: Any, scope: Scope = "leaf", limit: Any = None) -> Any:
    """Masks that keep the weights of largest score.

    Parameters
    ----------
    scores
        A pytree of the model's shape, None for what is not pruned: what ``magnitude``,
        ``saliency``, ``snip`` and ``random_scores`` return.
    pattern, scope
        As in ``magnitude_masks``.
    limit
        A sparsity that is not exceeded, whatever the pattern's: a schedule's value now.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.masks_of([jnp.array([[3.0, 1.0]]), None], sj.nn.Unstructured(0.5))
    [Array([[ True, False]], dtype=bool), None]
    """
    scope = checked_scope(scope)
    leaves = named_leaves(scores)
    arrays = {name: leaf for name, leaf in leaves.items() if is_weight(leaf)}
    patterns = _patterns(pattern, arrays)
    masks: dict[str, Any] = dict.fromkeys(leaves)
    pooled = {}
    for name, one in patterns.items():
        one.check(name, arrays[name].shape)
        if scope == "global" and not one.is_local:
            pooled[name] = one
        else:
            within: Scope = "leaf" if scope == "global" else scope
            masks[name] = _mask(one, arrays[name], limit, within, name)
    if pooled:
        masks |= _pooled_masks(pooled, {name: arrays[name] for name in pooled}, limit)
    return replace_leaves(scores, masks)


def apply_masks(model: Any, masks: Any) -> Any:
    """The model with exact zeros where the masks say False.

    Parameters
    ----------
    model
        Any pytree.
    masks
        Of the model's shape; None leaves a leaf as it is.

    Raises
    ------
    ValueError
        If a mask lies where the model has no array of its shape; the message names the leaf.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.apply_masks([jnp.array([3.0, 1.0])], [jnp.array([True, False])])[0].tolist()
    [3.0, 0.0]
    """
    return _map_masked(lambda w, mask: jnp.where(mask, w, jnp.zeros_like(w)), model, masks)


def straight_through(model: Any, masks: Any) -> Any:
    """The masked model, whose derivative is that of the model without masks.

    Dropped weights go on learning as if they were there, and may come back.

    Parameters
    ----------
    model, masks
        As in ``apply_masks``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, sparsejax as sj
    >>> mask = jnp.array([True, False])
    >>> loss = lambda w: jnp.sum(sj.nn.straight_through(w, mask) ** 2 + w)
    >>> jax.grad(loss)(jnp.array([3.0, 1.0])).tolist()
    [7.0, 1.0]

    Notes
    -----
    Bengio, Léonard & Courville, Estimating or propagating gradients through stochastic neurons
    (2013).
    """

    def pass_through(w: Array, mask: Bool[Array, "..."]) -> Array:
        return w + jax.lax.stop_gradient(jnp.where(mask, w, jnp.zeros_like(w)) - w)

    return _map_masked(pass_through, model, masks)


def checked_masks(model: Any, masks: Any, argument: str = "masks") -> dict[str, Any]:
    """The masks by name, known to fit the leaves of the model."""
    leaves = named_leaves(model)
    found = aligned(masks, leaves, argument)
    for name, mask in found.items():
        if mask is None:
            continue
        if not eqx.is_array_like(mask) or jnp.result_type(mask) != jnp.bool_:
            raise TypeError(f"`{argument}`: {name!r} must be a boolean array; got {mask!r}.")
        shape = jnp.shape(mask)
        leaf = leaves[name]
        if not is_weight(leaf) or leaf.shape != shape:
            what = f"shape {leaf.shape}" if eqx.is_array(leaf) else f"a {type(leaf).__name__}"
            raise ValueError(
                f"`{argument}`: {name!r} has shape {shape}, the leaf of the model {what}."
            )
    return found


def _map_masked(function: Any, model: Any, masks: Any) -> Any:
    found, leaves = checked_masks(model, masks), named_leaves(model)
    new = {n: w if found[n] is None else function(w, found[n]) for n, w in leaves.items()}
    return replace_leaves(model, new)


def _patterns(pattern: Any, arrays: dict[str, Array]) -> dict[str, AbstractPattern]:
    """One pattern for every array that is pruned."""
    if isinstance(pattern, AbstractPattern):
        return dict.fromkeys(arrays, pattern)
    is_leaf = lambda x: is_none(x) or isinstance(x, AbstractPattern)  # noqa: E731
    found = named_leaves(pattern, is_leaf)
    if not any(isinstance(leaf, AbstractPattern) for leaf in found.values()):
        checked_pattern(pattern)  # raises
    return {name: checked_pattern(found[name]) for name in arrays if found.get(name) is not None}


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _mask(
    pattern: AbstractPattern, scores: Array, limit: Any, scope: Scope, name: str
) -> Bool[Array, "..."]:
    return pattern.mask(scores, scope=scope, limit=limit, name=name)


def _pooled_masks(
    patterns: dict[str, AbstractPattern], arrays: dict[str, Array], limit: Any
) -> dict[str, Bool[Array, "..."]]:
    """Masks where the units of all arrays compete."""
    pattern, *others = patterns.values()
    if any(other != pattern for other in others):
        raise ValueError('`pattern`: with scope="global" there can be only one for all leaves.')
    units = [pattern.units(array).astype(jnp.float32) for array in arrays.values()]
    sizes = [unit.shape[1] for unit in units]
    dropped = num_dropped_now(pattern.sparsity, sum(sizes), limit)
    keep = _kept(jnp.concatenate(units, axis=1), dropped)
    parts = jnp.split(keep, np.cumsum(sizes)[:-1], axis=1)
    shapes = [array.shape for array in arrays.values()]
    masks = [pattern.spread(part, shape) for part, shape in zip(parts, shapes, strict=True)]
    return dict(zip(arrays, masks, strict=True))


_kept = jax.jit(kept)
