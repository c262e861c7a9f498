"""Between softmax and sparsemax."""

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ...._roots import newton_from_right, refined_root
from .._space import Space
from ._base import AbstractRelaxation, Part, Weights, adam, masked, small_normal


class Entmax(AbstractRelaxation):
    """argmax_p ⟨p, α⟩ + Tsallis entropy of some order over the simplex.

    p = ((order − 1)·α − θ)₊^(1/(order − 1)), with θ such that they sum to one: order 1 is softmax,
    order 2 sparsemax; between them weights are exactly zero where α is far below.

    Parameters
    ----------
    order
        In (1, 2].
    learning_rate
        Of Adam.

    Raises
    ------
    ValueError
        If ``order`` does not lie in (1, 2].

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> space = nas.SPACES["small"]
    >>> alpha = jnp.tile(jnp.array([1.0, 0.5, -3.0]), (3, 1))
    >>> nas.relaxations.Entmax(1.5).weights(alpha, space)[0].round(4).tolist()
    [0.6740, 0.3260, 0.0000]

    Notes
    -----
    Peters, Niculae & Martins, Sparse sequence-to-sequence models (ACL 2019), whose α is the order.
    """

    order: float = eqx.field(static=True, default=1.5)
    learning_rate: float = eqx.field(static=True, default=3e-3)

    def __check_init__(self) -> None:
        if not 1 < self.order <= 2:
            raise ValueError(f"`order` must lie in (1, 2]; got {self.order}.")

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        return small_normal(space, key)

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        scaled = masked((self.order - 1) * alpha, space)
        scaled = scaled - jnp.max(scaled, axis=-1, keepdims=True)

        def powers(shift: Float[Array, " edges"]) -> Weights:
            base = scaled + shift[:, None]
            # Both branches are differentiated: zero to a power has no slope that is a number.
            inside = base > 0
            return jnp.where(inside, jnp.where(inside, base, 1.0) ** (1 / (self.order - 1)), 0.0)

        def excess(shift: Float[Array, " edges"]) -> Float[Array, " edges"]:
            return jnp.sum(powers(shift), axis=-1) - 1

        start = jnp.ones(space.shape[0], alpha.dtype)  # there the largest alone has one
        return powers(refined_root(excess, newton_from_right(excess, start)))

    def optimiser(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)
