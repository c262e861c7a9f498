"""The inverse Hessian that a quasi-Newton method has learnt."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class History(eqx.Module):
    """The last k steps s and changes of the gradient y, and all their scalar products.

    Limited-memory BFGS with its recursion on scalar products instead of vectors: a direction is
    two products with a matrix of 2k rows. The numbers are those of the usual two loops.

    Notes
    -----
    Chen, Wang & Zhou, Large-scale L-BFGS using MapReduce (NeurIPS 2014).
    """

    pairs: Float[Array, "2k n"]  # the steps, then the changes
    products: Float[Array, "2k 2k"]
    count: Int[Array, ""]

    @classmethod
    def empty(cls, memory: int, like: Float[Array, " n"]) -> Self:
        """Nothing learnt yet."""
        pairs = jnp.zeros((2 * memory, like.size), like.dtype)
        products = jnp.zeros((2 * memory, 2 * memory), like.dtype)
        return cls(pairs, products, jnp.array(0))

    def learn(self, step: Float[Array, " n"], change: Float[Array, " n"]) -> "History":
        """With a new pair in the place of the oldest, unless its curvature is not positive."""
        memory = self.products.shape[0] // 2
        slot = self.count % memory
        curvature, bend = jnp.vdot(step, change), jnp.vdot(change, change)
        useful = curvature > jnp.finfo(step.dtype).eps * bend
        # Forgotten either way: choosing between two memories would copy them.
        pair = jnp.where(useful, jnp.stack([step, change]), 0.0)
        rows = jnp.stack([slot, slot + memory])
        pairs = self.pairs.at[rows].set(pair)
        new = pair @ pairs.T
        products = self.products.at[rows].set(new).at[:, rows].set(new.T)
        return History(pairs, products, self.count + useful)

    def direction(self, gradient: Float[Array, " n"], first: Float[Array, ""]) -> Array:
        """−H·gradient, for H = first·I while nothing is known."""
        memory = self.products.shape[0] // 2
        forces = self.pairs @ gradient
        curvatures = jnp.diagonal(self.products, memory)  # ⟨s, y⟩
        known = curvatures > 0
        inverse = jnp.where(known, 1 / jnp.where(known, curvatures, 1.0), 0.0)

        def along(row: Array, parts: Array, own: Array | float) -> Array:
            return self.products[row] @ parts + own * forces[row]

        def back(age: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            parts, taken = state
            slot = (self.count - 1 - age) % memory
            share = along(slot, parts, -1.0) * inverse[slot]
            return parts.at[memory + slot].add(-share), taken.at[slot].set(share)

        def forth(age: Array, parts: Array) -> Array:
            slot = (self.count + age) % memory
            share = along(memory + slot, parts, -scale) * inverse[slot]
            return parts.at[slot].add(taken[slot] - share)

        newest = (self.count - 1) % memory
        bend = self.products[memory + newest, memory + newest]
        scale = jnp.where(known[newest], curvatures[newest] / jnp.where(bend > 0, bend, 1.0), first)
        none = jnp.zeros_like(forces)
        parts, taken = jax.lax.fori_loop(0, memory, back, (none, none[:memory]))
        parts = jax.lax.fori_loop(0, memory, forth, scale * parts)
        return parts @ self.pairs - scale * gradient
