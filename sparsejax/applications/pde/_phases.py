"""The two phases of a training: proximal Adam finds a support, L-BFGS fits the weights on it."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import nn
from ...nn._leaves import chosen_leaves, named_leaves, replace_leaves
from ...penalties import AbstractSeparablePenalty
from ._problem import Problem
from ._proximal_adam import proximal_adam

State = tuple[Any, Any]  # weights and what the optimiser remembers, each with an axis of seeds


class AbstractPhase(eqx.Module):
    """Some steps of one method, on several networks at once."""

    problem: eqx.AbstractVar[Problem]
    rest: eqx.AbstractVar[Any]
    steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def optimiser(self) -> optax.GradientTransformation:
        """The Optax transformation."""

    @abc.abstractmethod
    def advance(
        self, state: State, keys: PRNGKeyArray, done: Int[Array, ""], num: Int[Array, ""]
    ) -> tuple[State, Float[Array, " seeds"]]:
        """Take `num` more steps; the loss is the last step's."""

    def start(self, weights: Any) -> State:
        """The state before the first step."""
        return weights, jax.vmap(self.optimiser().init)(weights)

    def loss(self, weights: Any, points: Any) -> Float[Array, ""]:
        """Of one network."""
        return self.problem.loss(eqx.combine(weights, self.rest), points)


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

    @eqx.filter_jit
    def advance(
        self, state: State, keys: PRNGKeyArray, done: Int[Array, ""], num: Int[Array, ""]
    ) -> tuple[State, Float[Array, " seeds"]]:
        optimiser = self.optimiser()

        def step(weights: Any, memory: Any, key: PRNGKeyArray, number: Array) -> Any:
            points = self.problem.draw(jax.random.fold_in(key, number), self.batch)
            value, slope = jax.value_and_grad(self.loss)(weights, points)
            change, memory = optimiser.update(slope, memory, weights)
            return (optax.apply_updates(weights, change), memory), value

        def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
            return jax.vmap(step, (0, 0, 0, None))(*carry[0], keys, done + i)

        losses = jnp.zeros(keys.shape, _dtype(state[0]))
        return jax.lax.fori_loop(0, num, body, (state, losses))


class Refit(AbstractPhase):
    """L-BFGS on one fixed draw of all points; weights that are zero stay so.

    One network after the other: their line searches differ in length, and would wait for the
    longest.
    """

    problem: Problem
    rest: Any
    steps: int = eqx.field(static=True)
    memory: int = eqx.field(static=True)

    def optimiser(self) -> optax.GradientTransformationExtraArgs:
        return optax.lbfgs(memory_size=self.memory)

    @eqx.filter_jit
    def advance(
        self, state: State, keys: PRNGKeyArray, done: Int[Array, ""], num: Int[Array, ""]
    ) -> tuple[State, Float[Array, " seeds"]]:
        optimiser = self.optimiser()

        def of_one(of: tuple[Any, Any, PRNGKeyArray]) -> tuple[State, Array]:
            weights, memory, key = of
            points, masks = self.problem.draw(key), support(weights)

            def loss(weights: Any) -> Array:
                return self.loss(nn.apply_masks(weights, masks), points)

            value_and_slope = optax.value_and_grad_from_state(loss)

            def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
                (weights, memory), _ = carry
                value, slope = value_and_slope(weights, state=memory)
                change, memory = optimiser.update(
                    slope, memory, weights, value=value, grad=slope, value_fn=loss
                )
                return (optax.apply_updates(weights, change), memory), jnp.asarray(value)

            first = (weights, memory), jnp.zeros((), _dtype(weights))
            return jax.lax.fori_loop(0, num, body, first)

        return jax.lax.map(of_one, (*state, keys))


def support(weights: Any) -> Any:
    """Masks that keep what is not zero in the weights of layers, and all biases."""
    found = dict.fromkeys(named_leaves(weights))
    found |= {name: w != 0 for name, w in chosen_leaves(weights, None).items()}
    return replace_leaves(weights, found)


def _dtype(weights: Any) -> Any:
    return jnp.result_type(*jax.tree.leaves(weights))
