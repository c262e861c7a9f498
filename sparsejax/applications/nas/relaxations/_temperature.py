"""SP-DARTS."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._space import Space
from ._base import AbstractRelaxation, Part, Weights, adam, masked, small_normal


class Temperature(AbstractRelaxation):
    """softmax(α/τ) with a small τ: the weights of an edge are sparse up to rounding.

    There the gradient vanishes. So every step of the search draws z ~ Bernoulli(C), and takes
    ``ratio``·τ if z = 0 (mixed sparsity); C rises linearly.

    Parameters
    ----------
    temperature
        τ.
    ratio
        How many times higher the temperature of dense steps is.
    warmup
        The part of the search before C rises, with dense steps alone.
    first, last
        C after that and at the end; beyond 1 all steps are sparse.
    learning_rate
        Of Adam.

    Raises
    ------
    ValueError
        If ``temperature`` is not positive, ``ratio`` below 1, or ``warmup`` not in [0, 1).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> space = nas.SPACES["skip-or-conv"]
    >>> alpha = jnp.tile(jnp.array([0.02, 0.0]), (6, 1))
    >>> nas.relaxations.Temperature().weights(alpha, space)[0].round(3).tolist()
    [1.0, 0.0]

    Notes
    -----
    Zhang & Ding, Robust neural architecture search by explicit sparse regularisation (2023). Their
    code has two schedules: on S1 to S4 no warm-up and C from .8 to 1.1, on the space of DARTS one
    epoch in fifty at a temperature of 10 and then C from 0 to 1. The default is the first of them
    after a warm-up (docs/limits.md compares them).
    """

    temperature: float = eqx.field(static=True, default=1e-3)
    ratio: float = eqx.field(static=True, default=10.0)
    warmup: float = eqx.field(static=True, default=0.2)
    first: float = eqx.field(static=True, default=0.8)
    last: float = eqx.field(static=True, default=1.1)
    learning_rate: float = eqx.field(static=True, default=3e-4)

    def __check_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive; got {self.temperature}.")
        if not self.ratio >= 1:
            raise ValueError(f"`ratio` must be at least 1; got {self.ratio}.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"`warmup` must lie in [0, 1); got {self.warmup}.")

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        return small_normal(space, key)

    def sparsity(self, progress: Part) -> Float[Array, ""]:
        """C, the probability of a sparse step."""
        risen = (jnp.asarray(progress) - self.warmup) / (1 - self.warmup)
        rate = self.first + risen * (self.last - self.first)
        return jnp.where(risen < 0, 0.0, jnp.clip(rate, 0.0, 1.0))

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        temperature = self.temperature
        if key is not None:
            sparse = jax.random.bernoulli(key, self.sparsity(progress))
            temperature = temperature * jnp.where(sparse, 1.0, self.ratio)
        return jax.nn.softmax(masked(alpha / temperature, space), axis=-1)

    def optimiser(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)
