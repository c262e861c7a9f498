"""Classes beside the mean of those after them: what multinomial models see of predictions."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._contrasts import decayed


class ClassContrasts(eqx.Module):
    """K: z ↦ z_k − Σ_{l>k} π_l z_l / Σ_{l>k} π_l for each class but the last, sample by sample.

    With these the Hessian diag(π) − ππᵀ of a sample is KᵀHK for the diagonal H of
    π_k Σ_{l>k} π_l / Σ_{l≥k} π_l: the variance of z over the classes is a sum of squares of them.
    """

    share: Float[Array, "n k"]  # π_k / Σ_{l≥k} π_l

    @classmethod
    def of(cls, log_p: Float[Array, "n k"]) -> tuple[Self, Float[Array, "n k-1"]]:
        """With H, from log π: probabilities may be smaller than a number can hold."""
        total = jax.lax.cumlogsumexp(log_p, axis=1, reverse=True)
        curvature = jnp.exp(log_p[:, :-1] + total[:, 1:] - total[:, :-1])
        return cls(jnp.exp(jnp.minimum(log_p - total, 0.0))), curvature

    def matvec(self, z: Float[Array, "*columns n k"]) -> Float[Array, "*columns n k-1"]:
        """K z, for each column."""
        means = decayed(1 - self.share, self.share * z, reverse=True)
        return z[..., :-1] - means[..., 1:]

    def rmatvec(self, r: Float[Array, "n k-1"]) -> Float[Array, "n k"]:
        """Kᵀ r."""
        r = _with_zero(r, last=True)
        sums = decayed(1 - self.share, r, reverse=False)
        return r - self.share * _with_zero(sums[:, :-1], last=False)

    def solve_transposed(self, g: Float[Array, "n k"]) -> Float[Array, "n k-1"]:
        """The r with Kᵀ r = g, for rows of g that sum to zero."""
        before = _with_zero(jnp.cumsum(g[:, :-1], axis=1), last=False)
        return (g + self.share * before)[:, :-1]

    def of_each_class(self) -> Float[Array, "k n k-1"]:
        """What the contrasts see of each class alone."""
        n, k = self.share.shape
        identity = jnp.eye(k, dtype=self.share.dtype)
        return self.matvec(jnp.broadcast_to(identity[:, None, :], (k, n, k)))


def _with_zero(x: Float[Array, "n k"], *, last: bool) -> Float[Array, "n k+1"]:
    return jnp.pad(x, ((0, 0), (0, 1) if last else (1, 0)))
