"""A matrix held as one array."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._checks import check_finite
from .._compensated import compensated_dot
from ._base import AbstractDesign, Moments, centred_variance


class Dense(AbstractDesign):
    """X as one array, stored features first so that a column is contiguous.

    Parameters
    ----------
    features
        (p, n): the transpose of X. A Fortran-ordered NumPy X is laid out like this already.

    Raises
    ------
    ValueError
        If X holds NaN or infinity.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.designs.Dense(jnp.array([[1.0, 2.0]])).matvec(jnp.array([3.0])).tolist()
    [3.0, 6.0]
    """

    features: Float[Array, "p n"]

    def __check_init__(self) -> None:
        # Here and not in every problem: a pass over X takes as long as a small solve.
        check_finite("X", self.features, transposed=True)

    @property
    def shape(self) -> tuple[int, int]:
        p, n = self.features.shape
        return n, p

    @property
    def dtype(self) -> jnp.dtype:
        return self.features.dtype

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return w @ self.features

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return self.features @ r

    def combine(self, indices: Int[Array, " k"], values: Float[Array, " k"]) -> Float[Array, " n"]:
        columns = self.columns(indices)
        if columns.dtype == jnp.float32:
            # Of many correlated columns, what adds up may be far larger than the sum.
            return compensated_dot(values[:, None], columns, axis=0)
        return values @ columns

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        return self.features.at[indices].get(mode="fill", fill_value=0.0)

    def all_columns(self) -> Float[Array, "p n"]:
        return self.features

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        return self.features**2 @ row_weights

    def mean_and_variance(self, row_weights: Float[Array, " n"]) -> Moments:
        mean = self.features @ row_weights
        off = self.features - mean[:, None]
        return centred_variance(mean, off @ row_weights, off**2 @ row_weights)
