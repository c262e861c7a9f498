"""What a model costs: multiplications followed by an addition."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.extend.core as jex


def count_macs(model: Callable[..., Any], *example: Any) -> int:
    """Multiply–accumulate operations of products and convolutions in one call of a model.

    Σ over its matrix products of (entries of the result)·(terms of each), and over convolutions of
    (entries of the result)·(entries of the kernel that reach one of them). Element-wise operations,
    norms, biases and Fourier transforms are not counted, and zeros in weights count as other
    numbers do: what is pruned costs less only once it is removed.

    Parameters
    ----------
    model
        Any function of arrays; loops with a fixed number of steps count each of them, and of
        branches the dearest counts.
    example
        Its arguments, of which only shapes matter (``jax.ShapeDtypeStruct`` will do), states of
        BatchNorm included. One sample where the model takes one sample.

    Returns
    -------
    count
        An integer.

    Raises
    ------
    ValueError
        For a product inside a ``while`` loop, whose number of steps is not known.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> model = eqx.nn.MLP(8, 2, 16, 1, key=jax.random.key(0))
    >>> sj.nn.count_macs(model, jnp.zeros(8))
    160
    """
    return _count(eqx.filter_make_jaxpr(model)(*example)[0].jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        return _of_product(equation)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    inner = [_count(getattr(part, "jaxpr", part)) for part in jex.jaxprs_in_params(parameters)]
    if name == "cond":
        return max(inner)
    if name == "scan":
        return parameters["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError(
            "`model` multiplies inside a `while` loop, whose number of steps is not known: use "
            "`scan`."
        )
    return sum(inner)


def _of_product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    terms = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return terms * math.prod(equation.outvars[0].aval.shape)


def _of_convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(kernel) // outputs * math.prod(equation.outvars[0].aval.shape)
