"""One step of training of one agent."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ... import nn
from ...penalties import AbstractPenalty
from ._algorithm import AbstractAlgorithm, Loss
from ._networks import Sizes
from ._rules import AbstractRule, Objective, decides, last_decision
from ._transitions import Transitions


class State(eqx.Module):
    """What training changes: all by name of the network.

    ``masks`` is empty without a rule.
    """

    nets: dict[str, Any]
    slow: dict[str, Any]
    memory: dict[str, Any]
    masks: dict[str, Any]


class Training(eqx.Module):
    """How an agent is trained."""

    algorithm: AbstractAlgorithm
    rule: AbstractRule | None
    penalties: dict[str, AbstractPenalty]
    sizes: Sizes
    steps: int
    batch: int
    learning_rate: Float[Array, ""]  # an array, so that another one compiles nothing

    def start(self, data: Transitions, key: PRNGKeyArray) -> State:
        """An agent that has learned nothing."""
        widths = data.observations.shape[-1], data.actions.shape[-1]
        nets = self.algorithm.networks(*widths, self.sizes, key)
        nets = jax.tree.map(lambda w: w.astype(data.rewards.dtype), nets)
        memory = {name: self._optimiser(name).init(net) for name, net in nets.items()}
        slow = {name: nets[name] for name in self.algorithm.slow}
        state = State(nets, slow, memory, {})
        if self.rule is None:
            return state
        return self._decided(state, data, jax.random.fold_in(key, 1), None)

    def step(
        self, state: State, data: Transitions, key: PRNGKeyArray, number: Int[Array, ""]
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """The next state, and the loss of each network."""
        algorithm, key = self.algorithm, jax.random.fold_in(key, number)
        if self.rule is not None and self.rule.every is not None:
            state = self._decided(state, data, jax.random.fold_in(key, 0), number)
        drawing, *keys = jax.random.split(jax.random.fold_in(key, 1), 1 + len(state.nets))
        batch = self._draw(data, drawing)
        nets, memory = dict(state.nets), dict(state.memory)
        used = used_of(state.nets, state.masks)
        slow = used_of(state.slow, state.masks)
        losses = {}
        for (name, loss), one in zip(algorithm.losses().items(), keys, strict=True):
            move = partial(
                self._move, name, state.masks.get(name), _with(loss, used, slow, batch, one)
            )
            given = nets[name], memory[name]
            if name in algorithm.delayed:
                found = jax.lax.cond(self.moves(name, number), move, _stay, *given)
            else:
                found = move(*given)
            nets[name], memory[name], losses[name] = found
            used = used | {name: _used(nets[name], state.masks.get(name))}
        part = jnp.where(number % algorithm.delay == 0, algorithm.follow, 0.0)
        new = {name: nets[name] for name in state.slow}
        slow = jax.tree.map(lambda a, b: a + part.astype(a.dtype) * (b - a), state.slow, new)
        return State(nets, slow, memory, state.masks), losses

    def moves(self, name: str, number: Int[Array, "*steps"]) -> Bool[Array, "*steps"]:
        """Whether a network is trained in a step."""
        every = self.algorithm.delay if name in self.algorithm.delayed else 1
        return number % every == 0

    def _move(
        self, name: str, mask: Any, objective: Objective, net: Any, moments: Any
    ) -> tuple[Any, Any, Float[Array, ""]]:
        """One step of Adam on one network."""
        value, slope = jax.value_and_grad(lambda net: objective(_used(net, mask)))(net)
        change, moments = self._optimiser(name).update(slope, moments, net)
        # Adam goes on where the slope is zero: what is not used stays where it is.
        return optax.apply_updates(net, _used(change, mask)), moments, value

    def _decided(
        self, state: State, data: Transitions, key: PRNGKeyArray, number: Int[Array, ""] | None
    ) -> State:
        """The state with new masks if this is the time, which the beginning (None) is."""
        rule, losses = self.rule, self.algorithm.losses()
        assert rule is not None

        def decide(masks: dict[str, Any]) -> dict[str, Any]:
            for (name, loss), one in zip(
                losses.items(), jax.random.split(key, len(losses)), strict=True
            ):
                drawing, noise, choice = jax.random.split(one, 3)
                batch = self._draw(data, drawing)
                used, slow = (used_of(n, masks) for n in (state.nets, state.slow))
                objective = _with(loss, used, slow, batch, noise)
                net = state.nets[name]
                if number is None:
                    new = rule.first(net, objective, choice)
                else:
                    progress = number / max(last_decision(rule, self.steps), 1)
                    new = rule.again(net, masks[name], objective, choice, progress)
                masks = masks | {name: new}
            return masks

        if number is None:
            masks = decide({})
        else:
            # Only masks go through the condition: it copies what it returns.
            now = decides(rule, number, self.steps)
            masks = jax.lax.cond(now, decide, lambda masks: masks, state.masks)
        if not rule.forgets:
            return State(state.nets, state.slow, state.memory, masks)
        nets, slow = used_of(state.nets, masks), used_of(state.slow, masks)
        return State(nets, slow, state.memory, masks)

    def _draw(self, data: Transitions, key: PRNGKeyArray) -> Transitions:
        rows = jax.random.randint(key, (self.batch,), 0, len(data))
        return jax.tree.map(lambda steps: steps[rows], data)

    def _optimiser(self, name: str) -> optax.GradientTransformation:
        rate: Any = self.learning_rate
        if name in self.algorithm.cosine:
            rate = optax.cosine_decay_schedule(rate, self.steps)
        if name not in self.penalties:
            return optax.adam(rate)
        return optax.chain(optax.adam(rate), nn.prox_updates(self.penalties[name], rate))


def used_of(nets: dict[str, Any], masks: dict[str, Any]) -> dict[str, Any]:
    """Networks with zeros where their masks say so."""
    return {name: _used(net, masks.get(name)) for name, net in nets.items()}


def _with(loss: Loss, nets: Any, slow: Any, batch: Transitions, key: PRNGKeyArray) -> Objective:
    """The loss as a function of its network alone."""
    return lambda net: loss(net, nets, slow, batch, key)


def _stay(net: Any, moments: Any) -> tuple[Any, Any, Float[Array, ""]]:
    """A network that does not move, and is not asked for its loss."""
    return net, moments, jnp.zeros((), jax.tree.leaves(net)[0].dtype)


def _used(net: Any, mask: Any) -> Any:
    return net if mask is None else nn.apply_masks(net, mask)
