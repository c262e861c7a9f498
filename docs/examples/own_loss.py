"""A loss of one's own: expectiles, squares that weigh the two signs of a residual differently."""

import equinox as eqx
import jax.numpy as jnp

import sparsejax as sj


class Expectile(sj.losses.AbstractPointwiseLoss):
    """Mean of a·(y − z)²/2 with a = level where y > z, and 1 − level elsewhere."""

    level: jnp.ndarray = eqx.field(default=0.5, converter=jnp.asarray)
    sample_weight: jnp.ndarray | None = None

    def _factor(self, residual):  # residual or slope: z − y
        return jnp.where(residual < 0, self.level, 1 - self.level)

    def unit_value(self, z, y):
        return self._factor(z - y) * (z - y) ** 2 / 2

    def unit_gradient(self, z, y):
        return self._factor(z - y) * (z - y)

    def unit_curvature(self, z, y):
        return self._factor(z - y)

    def unit_curvature_bound(self):
        return jnp.maximum(self.level, 1 - self.level)

    def unit_fenchel_gap(self, z, c, y):
        """φ(z) + φ*(c) − z·c, written so that nothing cancels near the solution."""
        r, a, b = z - y, self._factor(z - y), self._factor(c)
        same = (a * r - c) ** 2 / (2 * a)
        return jnp.where(r * c >= 0, same, a * r**2 / 2 + c**2 / (2 * b) - r * c)
