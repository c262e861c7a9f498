"""Conversions shared by the public constructors."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_inexact(x: Any, name: str) -> jax.Array:
    """A floating-point JAX array; anything else raises an error that names the argument."""
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
        return x
    try:
        array = jnp.asarray(np.asarray(x) if isinstance(x, list | tuple) else x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be numbers in a regular array: {error}") from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"`{name}` must be real; got complex numbers.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    return array


def inexact(name: str) -> Callable[[Any], jax.Array]:
    """A field converter to floating-point arrays."""
    return lambda x: as_inexact(x, name)


def optional_inexact(name: str) -> Callable[[Any], jax.Array | None]:
    """A field converter that leaves None alone."""
    return lambda x: None if x is None else as_inexact(x, name)


def cast_floats(tree: Any, dtype: Any) -> Any:
    """The same pytree with every floating-point array in ``dtype``."""

    def cast(leaf: Any) -> Any:
        # Comparing first: casting to the same dtype would take as long as a small solve.
        if not isinstance(leaf, jax.Array) or leaf.dtype == dtype:
            return leaf
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
