"""One step of a search, and what it begins with."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._arrays import as_inexact, cast_floats
from ..._checks import check_finite
from ._augment import Augmentation, augmented
from ._data import Samples
from ._space import Space
from ._supernet import Supernet
from .hypergradients import AbstractHypergradient
from .relaxations import AbstractRelaxation


def checked_samples(samples: Samples) -> tuple[Array, Array]:
    """Samples as arrays, or an error that says what is wrong."""
    X, y = as_inexact(samples.X, "samples.X"), jnp.asarray(samples.y)
    check_finite("samples.X", X)
    if X.ndim not in (3, 4) or y.shape != X.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            "`samples` must have X of shape (samples, channels, length) or (samples, channels, "
            f"height, width) and as many integers y; got shapes {X.shape} and {y.shape}, y of "
            f"{y.dtype}."
        )
    if not y.size or int(y.min()) < 0:
        raise ValueError("`samples` must have classes y from 0, of one sample at least.")
    return X, y


def seed_keys(seeds: Sequence[int]) -> PRNGKeyArray:
    """A key a seed."""
    if not len(seeds):
        raise ValueError("`seeds` is empty: there is nothing to train.")
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def start(
    space: Space,
    X: Array,
    y: Array,
    relaxation: AbstractRelaxation,
    keys: PRNGKeyArray,
    width: int,
    depth: int,
) -> tuple[Supernet, Float[Array, "seeds edges operations"]]:
    """Stacked supernets, and parameters, in the precision of the samples."""
    nets = supernets(space, X, y, keys, width, depth)
    alpha = jax.vmap(lambda key: relaxation.init(space, jax.random.fold_in(key, 1)))(keys)
    return nets, cast_floats(alpha, X.dtype)


def supernets(
    space: Space, X: Array, y: Array, keys: PRNGKeyArray, width: int, depth: int
) -> Supernet:
    """Stacked, for these samples and in their precision."""
    shape, classes = tuple(X.shape[1:]), 1 + int(y.max())
    make = lambda key: Supernet(space, shape, classes, key, width=width, depth=depth)  # noqa: E731
    return cast_floats(eqx.filter_vmap(make)(keys), X.dtype)


def mean_loss(
    net: Supernet,
    weights: Float[Array, "edges operations"],
    X: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    key: PRNGKeyArray | None = None,
) -> Float[Array, ""]:
    """Cross-entropy."""
    logits = jax.vmap(lambda x: net(x, weights, key))(X)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))


class State(eqx.Module):
    """What the search of one seed changes."""

    weights: Any
    alpha: Float[Array, "edges operations"]
    weights_memory: Any
    alpha_memory: Any


class Step(eqx.Module):
    """One step of one seed."""

    rest: Any
    relaxation: AbstractRelaxation
    hypergradient: AbstractHypergradient
    augment: Augmentation | None
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    learning_rate: float = eqx.field(static=True)

    def optimiser(self) -> optax.GradientTransformation:
        return falling_sgd(self.learning_rate, self.steps)

    def start(self, weights: Any, alpha: Array) -> State:
        memories = self.optimiser().init(weights), self.relaxation.optimiser().init(alpha)
        return State(weights, alpha, *memories)

    def __call__(
        self, state: State, halves: Any, key: PRNGKeyArray, number: Array
    ) -> tuple[State, Float[Array, " 2"]]:
        first, second, drawn, noise = jax.random.split(jax.random.fold_in(key, number), 4)

        def loss_on(half: tuple[Array, Array], key: PRNGKeyArray) -> Callable[..., Array]:
            chosen = jax.random.randint(key, (self.batch,), 0, len(half[1]))
            X = augmented(self.augment, half[0][chosen], jax.random.fold_in(key, 1))
            y = half[1][chosen]

            def loss(weights: Any, alpha: Array) -> Float[Array, ""]:
                net = eqx.combine(weights, self.rest)
                progress = number / self.steps
                of_operations = self.relaxation.weights(alpha, net.space, progress, drawn)
                return mean_loss(net, of_operations, X, y, noise)

            return loss

        inner, outer = loss_on(halves[0], first), loss_on(halves[1], second)
        value, slope = self.hypergradient(outer, inner, state.weights, state.alpha)
        change, alpha_memory = self.relaxation.optimiser().update(
            slope, state.alpha_memory, state.alpha
        )
        alpha = jnp.asarray(optax.apply_updates(state.alpha, change))
        train_value, slope = jax.value_and_grad(inner)(state.weights, alpha)
        change, memory = self.optimiser().update(slope, state.weights_memory, state.weights)
        weights = optax.apply_updates(state.weights, change)
        return State(weights, alpha, memory, alpha_memory), jnp.stack([train_value, value])


def falling_sgd(
    learning_rate: float, steps: int, weight_decay: float = 3e-4, mask: Any = None
) -> optax.GradientTransformation:
    """As DARTS trains weights: momentum, clipped gradients, a rate that falls by a cosine."""
    return optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.add_decayed_weights(weight_decay, mask),
        optax.sgd(optax.cosine_decay_schedule(learning_rate, steps), momentum=0.9),
    )


@eqx.filter_jit
def advance(
    step: Step, state: State, halves: Any, keys: PRNGKeyArray, done: Array, num: Array
) -> tuple[State, Float[Array, "2 seeds"]]:
    """`num` more steps of all seeds, and their mean losses."""
    of_all = jax.vmap(step, (0, None, 0, None))

    def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, losses = of_all(carry[0], halves, keys, done + i)
        return state, carry[1] + losses

    losses = jnp.zeros((len(keys), 2), state.alpha.dtype)
    state, losses = jax.lax.fori_loop(0, num, body, (state, losses))
    return state, losses.T / num
