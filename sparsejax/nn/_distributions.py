"""How much of the sparsity each weight takes."""

from typing import Any

from .._modules import replace
from ._leaves import Where, chosen_leaves, named_leaves, replace_leaves
from ._pattern import AbstractPattern, checked_pattern


def uniform(model: Any, pattern: AbstractPattern, where: Where = None) -> Any:
    """The same pattern for every weight.

    Parameters
    ----------
    model, where
        As in ``magnitude_masks``.
    pattern
        For all.

    Returns
    -------
    patterns
        A pytree of the model's shape, None for what is not pruned: for ``magnitude_masks``,
        ``masks_of`` and ``prune_updates``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.uniform([jnp.ones((2, 2)), jnp.ones(2)], sj.nn.Unstructured(0.5))
    [Unstructured(sparsity=0.5), None]
    """
    chosen = chosen_leaves(model, where)
    return _spread(model, dict.fromkeys(chosen, checked_pattern(pattern)))


def erk(model: Any, pattern: AbstractPattern, where: Where = None) -> Any:
    """Densities ∝ Σ dims / Π dims, which spares small layers, at the pattern's overall sparsity.

    Layers whose density would exceed one are dense, and the others take what is left.

    Parameters
    ----------
    model, where
        As in ``magnitude_masks``.
    pattern
        ``Unstructured``, ``Block`` or ``Channel``; its sparsity is that of all weights together.

    Returns
    -------
    patterns
        As of ``uniform``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> patterns = sj.nn.erk([jnp.ones((90, 90)), jnp.ones((10, 90))], sj.nn.Unstructured(0.5))
    >>> [round(pattern.sparsity, 3) for pattern in patterns]
    [0.556, 0.0]

    Notes
    -----
    Erdős–Rényi-Kernel: Evci et al., Rigging the lottery (ICML 2020), after Mocanu et al. (2018).
    """
    if checked_pattern(pattern).is_local:
        raise TypeError(
            f"`pattern`: the sparsity of {pattern} is the same everywhere; use uniform."
        )
    chosen = chosen_leaves(model, where)
    sizes = {name: leaf.size for name, leaf in chosen.items()}
    raw = {name: sum(leaf.shape) / leaf.size for name, leaf in chosen.items()}
    left = (1 - pattern.sparsity) * sum(sizes.values())
    dense: set[str] = set()
    while True:
        others = [name for name in chosen if name not in dense]
        budget = left - sum(sizes[name] for name in dense)
        total = sum(raw[name] * sizes[name] for name in others)
        factor = budget / total if total else 0.0
        full = {name for name in others if factor * raw[name] > 1}
        if not full:
            break
        dense |= full
    sparsity = {name: 0.0 if name in dense else 1 - factor * raw[name] for name in chosen}
    patterns = {name: replace(pattern, sparsity=max(s, 0.0)) for name, s in sparsity.items()}
    return _spread(model, patterns)


def _spread(model: Any, patterns: dict[str, AbstractPattern]) -> Any:
    return replace_leaves(model, {name: patterns.get(name) for name in named_leaves(model)})
