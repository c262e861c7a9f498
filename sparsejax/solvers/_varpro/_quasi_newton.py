"""L-BFGS: what a few steps tell of the curvature."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int


class QuasiNewton(eqx.Module):
    """An inverse Hessian, from the last steps S and the changes Y of the gradient along them.

    The two recursions of L-BFGS over pairs are triangular systems: with D the diagonal and R the
    upper triangle of SYᵀ, the oldest pair first,

        q = R⁻¹Sg,   r = γ(g − Yᵀq),   Hg = r + SᵀR⁻ᵀ(Dq − Yr),

    which takes half the time of one pair after the other. Only pairs of positive curvature count.
    """

    steps: Float[Array, "m k"]  # S, in a ring
    changes: Float[Array, "m k"]  # Y
    slopes: Float[Array, "m m"]  # SYᵀ, where the step is no younger than the change
    scale: Float[Array, ""]  # γ
    count: Int[Array, ""]

    def __init__(self, memory: int, gradient: Float[Array, " k"]):
        self.steps = self.changes = jnp.zeros((memory, gradient.size), gradient.dtype)
        self.slopes = jnp.zeros((memory, memory), gradient.dtype)
        size = jnp.linalg.norm(gradient)  # of the first step: at most one
        self.scale = 1 / jnp.maximum(size, 1.0)
        self.count = jnp.array(0)

    def updated(self, step: Float[Array, " k"], change: Float[Array, " k"]) -> "QuasiNewton":
        """With one more pair, in the place of the oldest."""
        slope, square = jnp.vdot(step, change), jnp.vdot(change, change)
        convex = slope > 0
        place = self.count % self.steps.shape[0]
        steps = self.steps.at[place].set(step)
        return eqx.tree_at(
            lambda q: (q.steps, q.changes, q.slopes, q.scale, q.count),
            self,
            (
                steps,
                self.changes.at[place].set(change),
                self.slopes.at[:, place].set(steps @ change),
                jnp.where(convex, slope / jnp.where(convex, square, 1.0), self.scale),
                self.count + 1,
            ),
        )

    def forgotten(self) -> "QuasiNewton":
        """Without any pairs; what is left of them is γ."""
        parts = lambda q: (q.slopes, q.count)  # noqa: E731
        return eqx.tree_at(parts, self, jax.tree.map(jnp.zeros_like, parts(self)))

    def times(self, gradient: Float[Array, " k"]) -> Float[Array, " k"]:
        """H times a gradient."""
        memory = self.steps.shape[0]
        order = (self.count + jnp.arange(memory)) % memory  # the oldest first
        place = jnp.argsort(order)
        slopes = self.slopes[order][:, order]
        counts = jnp.diagonal(slopes) > 0
        triangle = jnp.where(
            counts[:, None] & counts, jnp.triu(slopes), jnp.eye(memory, dtype=slopes.dtype)
        )
        diagonal = jnp.diagonal(triangle)
        back = solve_triangular(triangle, jnp.where(counts, (self.steps @ gradient)[order], 0.0))
        turned = self.scale * (gradient - back[place] @ self.changes)
        bent = diagonal * back - jnp.where(counts, (self.changes @ turned)[order], 0.0)
        return turned + solve_triangular(triangle, bent, trans=1)[place] @ self.steps
