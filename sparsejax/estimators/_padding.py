"""Penalties of tables that are padded with features of zeros."""

import jax.numpy as jnp
import numpy as np

from .._modules import replace
from ..penalties import (
    L1,
    SLOPE,
    AbstractConcavePenalty,
    AbstractPenalty,
    ElasticNet,
    GroupL2,
    RowL2,
    Rows,
    SparseGroup,
)
from ..penalties._spectral import AbstractSpectral

_ALIKE = (ElasticNet, AbstractConcavePenalty, AbstractSpectral)  # the same for every feature
_WEIGHTED = (L1, RowL2, Rows)  # a weight a feature, if any
_GROUPED = (GroupL2, SparseGroup)


def can_pad(penalty: AbstractPenalty) -> bool:
    """Whether features of zeros beside the others leave the solution as it is."""
    return isinstance(penalty, (*_ALIKE, *_WEIGHTED, *_GROUPED, SLOPE))


def pad_penalty(penalty: AbstractPenalty, num_features: int, padded: int) -> AbstractPenalty:
    """The penalty of ``padded`` features, of which only the first ``num_features`` are any."""
    extra = padded - num_features
    if isinstance(penalty, _ALIKE):
        return penalty
    if isinstance(penalty, _WEIGHTED):
        if penalty.weights is None:
            return penalty
        return replace(penalty, weights=jnp.pad(penalty.weights, (0, extra), constant_values=1.0))
    if isinstance(penalty, _GROUPED):
        return _pad_groups(penalty, extra, padded)
    if isinstance(penalty, SLOPE):
        return replace(penalty, strengths=jnp.pad(penalty.strengths, (0, extra), mode="edge"))
    if extra:
        raise TypeError(f"{type(penalty).__name__} cannot be padded.")
    return penalty


def _pad_groups(penalty: GroupL2 | SparseGroup, extra: int, padded: int) -> AbstractPenalty:
    """Every new feature a group of its own; shapes depend on the number of features alone."""
    new = np.arange(penalty.num_groups, penalty.num_groups + extra, dtype=np.int32)
    weights = penalty.weights
    if weights is not None:
        missing = padded - penalty.num_groups
        weights = jnp.pad(weights, (0, missing), constant_values=1.0)
    return replace(
        penalty,
        groups=jnp.append(penalty.groups, jnp.asarray(new)),
        weights=weights,
        num_groups=padded,  # labels that nothing has cost nothing
        largest=padded if extra else penalty.largest,  # a bound will do
    )
