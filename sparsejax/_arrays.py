"""Conversions shared by the public constructors."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, get_abstract_mesh


def as_inexact(x: Any, name: str) -> jax.Array:
    """A floating-point JAX array; anything else raises an error that names the argument."""
    if isinstance(x, jax.Array):
        x = _with_auto_axes(x, name)
        if jnp.issubdtype(x.dtype, jnp.floating):
            return x
    try:
        array = jnp.asarray(np.asarray(x) if isinstance(x, list | tuple) else x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be numbers in a regular array: {error}") from None
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"`{name}` must be real; got complex numbers.")
    return array.astype(jnp.result_type(float))


def _with_auto_axes(x: jax.Array, name: str) -> jax.Array:
    """The same array, over a mesh whose axes the compiler may use as it likes.

    That is what makes one program of a solver right for any sharding. ``jax.make_mesh`` makes
    explicit axes, of which every operation wants to know where its result is to be.
    """
    mesh = getattr(jax.typeof(x).sharding, "mesh", None)
    if mesh is None or AxisType.Explicit not in mesh.axis_types:
        return x
    if isinstance(x, Tracer) or AxisType.Explicit in get_abstract_mesh().axis_types:
        raise TypeError(
            f"`{name}` is traced over a mesh with explicit axes: make the mesh with "
            "`axis_types=(jax.sharding.AxisType.Auto, ...)`, or the problem outside of `jit` and "
            "`jax.set_mesh`."
        )
    names = mesh.axis_names
    assert isinstance(x.sharding, NamedSharding)  # no other has explicit axes
    devices = x.sharding.mesh.devices
    assert devices is not None
    mesh = Mesh(devices, names, axis_types=(AxisType.Auto,) * len(names))
    shards = [shard.data for shard in x.addressable_shards]  # these very arrays, not copies
    sharding = NamedSharding(mesh, x.sharding.spec)
    return jax.make_array_from_single_device_arrays(x.shape, sharding, shards)


def inexact(name: str) -> Callable[[Any], jax.Array]:
    """A field converter to floating-point arrays."""
    return lambda x: as_inexact(x, name)


def optional_inexact(name: str) -> Callable[[Any], jax.Array | None]:
    """A field converter that leaves None alone."""
    return lambda x: None if x is None else as_inexact(x, name)


def cast_floats(tree: Any, dtype: Any) -> Any:
    """The same pytree with every floating-point array in ``dtype``, for good.

    Python's numbers make arrays of a weak dtype, for which programs would be compiled anew.
    """

    def cast(leaf: Any) -> Any:
        # Comparing first: casting to the same dtype would take as long as a small solve.
        if not isinstance(leaf, jax.Array) or (leaf.dtype == dtype and not leaf.weak_type):
            return leaf
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
