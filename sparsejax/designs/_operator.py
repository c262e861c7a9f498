"""A matrix known only by its products."""

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Int

from ._base import AbstractDesign


class Operator(AbstractDesign):
    """X as a lineax linear operator from (p,) to (n,) vectors.

    Columns are products with unit vectors, one at a time, so that memory stays O(n·k).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, lineax as lx, sparsejax as sj
    >>> difference = lx.FunctionLinearOperator(jnp.diff, jax.ShapeDtypeStruct((3,), jnp.float32))
    >>> sj.designs.Operator(difference).matvec(jnp.array([1.0, 3.0, 6.0])).tolist()
    [2.0, 3.0]
    """

    operator: lx.AbstractLinearOperator

    def __check_init__(self) -> None:
        for side in (self.operator.in_structure(), self.operator.out_structure()):
            if not isinstance(side, jax.ShapeDtypeStruct) or len(side.shape) != 1:
                raise ValueError("`X` as an operator must map one vector to one vector.")

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.out_size(), self.operator.in_size()

    @property
    def dtype(self) -> jnp.dtype:
        return self.operator.out_structure().dtype

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return self.operator.mv(w)

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return self.operator.T.mv(r)

    def _column(self, index: Int[Array, ""]) -> Float[Array, " n"]:
        unit = jnp.zeros(self.shape[1], self.dtype).at[index].set(1.0, mode="drop")
        return self.matvec(unit)

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        return jax.lax.map(self._column, indices)

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        def norm(index: Int[Array, ""]) -> Float[Array, ""]:
            return row_weights @ self._column(index) ** 2

        return jax.lax.map(norm, jnp.arange(self.shape[1]))
