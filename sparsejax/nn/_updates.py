"""What an Optax update is about to do to the weights of a model."""

from typing import Any

from jaxtyping import Array

from ._leaves import Where, chosen_leaves, is_weight, named_leaves


def moving_weights(updates: Any, params: Any, where: Where) -> dict[str, tuple[Array, Array]]:
    """The chosen weights that have an update, by name, and that update."""
    if params is None:
        raise ValueError("`params` is needed: call update(updates, state, params).")
    steps = named_leaves(updates)
    weights = chosen_leaves(params, where)
    return {name: (w, steps[name]) for name, w in weights.items() if is_weight(steps.get(name))}
