"""Conversions shared by the public constructors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_inexact(x: Any) -> jax.Array:
    """A floating-point JAX array; text and objects raise ``TypeError`` with a readable message."""
    if isinstance(x, str) or (isinstance(x, np.ndarray) and x.dtype.kind in "OUS"):
        raise TypeError(f"expected numbers, got {type(x).__name__} of text or objects.")
    array = jnp.asarray(x)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError("complex numbers are not supported here.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    return array


def optional_inexact(x: Any) -> jax.Array | None:
    """As ``as_inexact``, but None stays None."""
    return None if x is None else as_inexact(x)


def cast_floats(tree: Any, dtype: Any) -> Any:
    """The same pytree with every floating-point array in ``dtype``."""

    def cast(leaf: Any) -> Any:
        floating = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast, tree)
