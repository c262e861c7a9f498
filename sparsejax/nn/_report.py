"""How sparse a model is."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from ._leaves import is_weight, named_leaves


class LeafSparsity(NamedTuple):
    """How sparse one array is.

    Attributes
    ----------
    shape
        Of the array.
    zeros
        How many entries are exactly zero.
    size
        How many there are.
    """

    shape: tuple[int, ...]
    zeros: int
    size: int

    @property
    def sparsity(self) -> float:
        """The part that is zero."""
        return self.zeros / self.size if self.size else 0.0


class SparsityReport(NamedTuple):
    """How sparse a model is; ``str`` makes a table of it.

    Attributes
    ----------
    leaves
        ``LeafSparsity`` of every floating-point array, by name.
    """

    leaves: dict[str, LeafSparsity]

    @property
    def zeros(self) -> int:
        """How many weights are exactly zero."""
        return sum(leaf.zeros for leaf in self.leaves.values())

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(leaf.size for leaf in self.leaves.values())

    @property
    def sparsity(self) -> float:
        """The part of all weights that is zero."""
        return self.zeros / self.size if self.size else 0.0

    def __str__(self) -> str:
        rows = [(name, str(leaf.shape), leaf) for name, leaf in self.leaves.items()]
        rows.append(("all", "", LeafSparsity((), self.zeros, self.size)))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        return "\n".join(
            f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {leaf.zeros:>10} / {leaf.size:<10}  "
            f"{leaf.sparsity:7.2%}"
            for name, shape, leaf in rows
        )


def sparsity_report(model: Any) -> SparsityReport:
    """Count the exact zeros of every floating-point array of a model.

    Parameters
    ----------
    model
        Any pytree of known arrays; other leaves are passed over.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> print(sj.nn.sparsity_report({"w": jnp.array([[3.0, 0.0]]), "b": jnp.ones(2)}))
    b    (2,)             0 / 2             0.00%
    w    (1, 2)           1 / 2            50.00%
    all                   1 / 4            25.00%
    """
    return SparsityReport(
        {
            name: LeafSparsity(leaf.shape, int(jnp.sum(leaf == 0)), leaf.size)
            for name, leaf in named_leaves(model).items()
            if is_weight(leaf)
        }
    )
