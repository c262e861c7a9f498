"""The two phases of a training: proximal Adam finds a support, the refit is on it."""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..._arrays import cast_floats
from ...nn._leaves import chosen_leaves, named_leaves
from ...penalties import AbstractSeparablePenalty
from ._derivatives import Field
from ._levenberg_marquardt import levenberg_marquardt
from ._problem import Problem
from ._proximal_adam import proximal_adam
from ._terms import Sample, Term, rows, telling

_DAMPING = 1e-3  # of the refit's first step

State = tuple[Any, Any]  # weights and what the optimiser remembers, each with an axis of seeds


class AbstractPhase(eqx.Module):
    """Some steps of one method, on several networks at once."""

    problem: eqx.AbstractVar[Problem]
    rest: eqx.AbstractVar[Any]
    steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def start(self, weights: Any) -> State:
        """The state before the first step."""

    @abc.abstractmethod
    def advance(
        self, state: State, keys: PRNGKeyArray, done: Int[Array, ""], num: Int[Array, ""]
    ) -> tuple[State, Float[Array, " seeds"]]:
        """Take `num` more steps; the loss is the last step's."""


class Descent(AbstractPhase):
    """Adam, each step followed by the proximal operators, on points drawn anew at every step.

    The steps of all networks are taken together, and the rate falls to a hundredth by a cosine.
    """

    problem: Problem
    rest: Any
    steps: int = eqx.field(static=True)
    penalties: dict[str, AbstractSeparablePenalty]
    learning_rate: float = eqx.field(static=True)
    batch: int = eqx.field(static=True)

    def optimiser(self) -> optax.GradientTransformation:
        rate = optax.cosine_decay_schedule(self.learning_rate, max(self.steps, 1), alpha=0.01)
        return proximal_adam(rate, self.penalties)

    def start(self, weights: Any) -> State:
        return weights, jax.vmap(self.optimiser().init)(weights)

    @eqx.filter_jit
    def advance(
        self, state: State, keys: PRNGKeyArray, done: Int[Array, ""], num: Int[Array, ""]
    ) -> tuple[State, Float[Array, " seeds"]]:
        optimiser = self.optimiser()

        def step(weights: Any, memory: Any, key: PRNGKeyArray, number: Array) -> Any:
            points = self.problem.draw(jax.random.fold_in(key, number), self.batch)
            dtype = _dtype(weights)
            points = cast_floats(points, dtype)

            def loss(weights: Any) -> Float[Array, ""]:
                # A problem may hold numbers of another precision.
                return self.problem.loss(eqx.combine(weights, self.rest), points).astype(dtype)

            value, slope = jax.value_and_grad(loss)(weights)
            change, memory = optimiser.update(slope, memory, weights)
            return (optax.apply_updates(weights, change), memory), value

        def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
            return jax.vmap(step, (0, 0, 0, None))(*carry[0], keys, done + i)

        losses = jnp.zeros(keys.shape, _dtype(state[0]))
        return jax.lax.fori_loop(0, num, body, (state, losses))


class Refit(AbstractPhase):
    """Levenberg–Marquardt on points drawn anew at every step; weights that are zero stay so.

    On points that stay the residual soon vanishes, and nowhere else. One network after the other:
    each has a Jacobian, and its own number of weights.
    """

    problem: Problem
    rest: Any
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)

    def start(self, weights: Any) -> State:
        first = jax.tree.leaves(weights)[0]
        return weights, jnp.full(len(first), _DAMPING, first.dtype)

    def advance(
        self, state: State, keys: PRNGKeyArray, done: Int[Array, ""], num: Int[Array, ""]
    ) -> tuple[State, Float[Array, " seeds"]]:
        counts = jax.vmap(lambda weights: jnp.sum(support(weights)))(state[0])
        return self._advance(state, keys, done, num, max(1, int(counts.max())))

    @eqx.filter_jit
    def _advance(self, state: State, keys: PRNGKeyArray, done: Any, num: Any, most: int) -> Any:
        """With at most so many weights that are not zero in a network."""

        def of_one(of: tuple[Any, Array, PRNGKeyArray]) -> tuple[State, Array]:
            weights, damping, key = of
            flat, unravel = ravel_pytree(weights)
            (places,) = jnp.nonzero(support(weights), size=most, fill_value=flat.size)

            def whole(kept: Array) -> Any:
                return unravel(flat.at[places].set(kept, mode="drop"))

            def field(kept: Array) -> Field:
                return self.problem.field(eqx.combine(whole(kept), self.rest))

            def body(i: Array, carry: Any) -> Any:
                kept, damping, _ = carry
                drawn = jax.random.fold_in(key, done + i)
                samples = self._samples(field(kept), drawn, kept.dtype)

                def residuals(kept: Array) -> Array:
                    of_terms = [rows(term, field(kept), s) for term, s in samples]
                    return jnp.concatenate(of_terms).astype(kept.dtype)

                jacobian = jnp.concatenate([_jacobian(term, field, s, kept) for term, s in samples])
                return levenberg_marquardt(residuals, jacobian, kept, damping)

            first = flat.at[places].get(mode="fill", fill_value=0), damping, damping
            kept, damping, loss = jax.lax.fori_loop(0, num, body, first)
            return (whole(kept), damping), loss

        return jax.lax.map(of_one, (*state, keys))

    def _samples(self, u: Field, key: PRNGKeyArray, dtype: Any) -> list[tuple[Term, Sample]]:
        """Of each term its points in the whole, or the telling ones of more."""
        terms = self.problem.terms
        drawn, *keys = jax.random.split(key, 1 + len(terms))
        points = cast_floats(self.problem.draw(drawn), dtype)
        of_terms = zip(terms, points, keys, strict=True)
        return [(term, telling(term, u, p, self.batch, k)) for term, p, k in of_terms]


def _jacobian(
    term: Term, field: Callable[[Array], Field], sample: Sample, kept: Float[Array, " kept"]
) -> Float[Array, "rows kept"]:
    """Of the rows of a sample: each point by itself, or it would be that of all by all."""

    def at_one(one: Sample) -> Array:
        alone = jax.tree.map(lambda x: x[None], one)
        return jax.jacrev(lambda kept: rows(term, field(kept), alone))(kept)

    found = jax.vmap(at_one)(sample)
    return found.reshape(-1, kept.size) / math.sqrt(len(found))


def support(weights: Any) -> Bool[Array, " weights"]:
    """Where the weights of one network's layers are not zero, and all biases, in one vector."""
    chosen = chosen_leaves(weights, None)
    leaves = {name: leaf for name, leaf in named_leaves(weights).items() if leaf is not None}
    kept = [(leaf != 0) | (name not in chosen) for name, leaf in leaves.items()]
    return jnp.concatenate([jnp.ravel(mask) for mask in kept])


def _dtype(weights: Any) -> Any:
    return jnp.result_type(*jax.tree.leaves(weights))
