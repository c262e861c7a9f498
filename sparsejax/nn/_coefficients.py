"""A weight in the shape in which a penalty takes coefficients."""

from typing import Any

from jaxtyping import Array, Float

from ..penalties import AbstractPenalty


def as_coefficients(
    penalty: AbstractPenalty, weight: Float[Array, "out ..."], name: str
) -> Float[Array, "p ..."]:
    """(out, rest) for penalties of matrices, whose rows are output channels; else a vector."""
    matrix = penalty.takes_tasks and weight.ndim > 1
    coef = weight.reshape(weight.shape[0], -1) if matrix else weight.reshape(-1)
    try:
        penalty.check(coef.shape[0])
    except ValueError as error:
        raise ValueError(f"{name!r} of shape {weight.shape}: {error}") from None
    return coef


def checked_penalty(penalty: Any) -> AbstractPenalty:
    """The penalty, or a ``TypeError`` that names the argument."""
    if not isinstance(penalty, AbstractPenalty):
        raise TypeError(
            f"`penalty` must be one of sparsejax.penalties; got {type(penalty).__name__}."
        )
    return penalty
