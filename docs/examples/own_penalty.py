"""A penalty of one's own: an ℓ1 norm that charges the two signs differently."""

import equinox as eqx
import jax.numpy as jnp

import sparsejax as sj


class SignedL1(sj.penalties.AbstractStrengthPenalty, sj.penalties.AbstractSeparablePenalty):
    """strength · Σ_j max(w_j, −below·w_j)."""

    strength: jnp.ndarray = eqx.field(converter=jnp.asarray)
    below: jnp.ndarray = eqx.field(default=1.0, converter=jnp.asarray)

    def _slope(self, w):  # what a coefficient of the sign of w pays
        return self.strength * jnp.where(w < 0, self.below, 1.0)

    # What it is, and its proximal operator.
    def value(self, w):
        return jnp.sum(self._slope(w) * jnp.abs(w))

    def prox(self, v, step):
        return jnp.sign(v) * jnp.maximum(jnp.abs(v) - step * self._slope(v), 0.0)

    # Optimality: how far −grad is from the subdifferential, and how near a zero is to moving.
    def subdiff_distance(self, w, grad):
        resting = jnp.maximum(jnp.abs(grad) - self._slope(-grad), 0.0)
        return jnp.where(w == 0, resting, jnp.abs(grad + self._slope(w) * jnp.sign(w)))

    def saturation(self, w, c):
        return jnp.abs(c) / self._slope(c)

    # The certificate: how much c must shrink to be dual feasible, and the gap then.
    def dual_scale(self, c):
        return 1.0 / jnp.maximum(1.0, jnp.max(self.saturation(c, c)))

    def fenchel_gap(self, w, c):
        inside = jnp.all(self.saturation(w, c) <= 1 + 4 * jnp.finfo(c.dtype).eps)
        terms = (self._slope(w) - jnp.sign(w) * c) * jnp.abs(w)
        return jnp.where(inside, jnp.sum(terms), jnp.inf)

    # Derivatives of solutions: where g is smooth, and its gradient there.
    def support(self, w):
        return w != 0

    def local_gradient(self, w):
        return self._slope(w) * jnp.sign(w)

    # Paths and working sets.
    def strength_max(self, c):
        return jnp.max(jnp.abs(c) / jnp.where(c < 0, self.below, 1.0))

    def restrict(self, indices):
        return self  # every feature pays the same

    def is_free(self):
        return jnp.array(False)

    # Parameters.
    def is_valid(self):
        return (self.strength >= 0) & (self.below > 0)

    def check(self, num_features):
        pass  # here goes ValueError for parameters of the wrong length
