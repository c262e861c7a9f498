"""A pendulum and a pole on a cart, to be swung up; what else is seen may have no meaning."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer
from ._task import AbstractTask

_GRAVITY = 9.8


class Pendulum(AbstractTask):
    """A pendulum that begins anywhere; its torque is too weak to lift it at once.

    Seen are cosine and sine of the angle (0 upright) and the angular velocity. The reward of a step
    is −(angle² + velocity²/10 + torque²/1000), the torque 2·action. The expert pumps energy, then
    balances.

    Parameters
    ----------
    horizon
        Steps of 0.05 s in an episode.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Pendulum()
    >>> task.observe(task.reset(jax.random.key(0))).shape
    (3,)

    Notes
    -----
    The constants are those of Gymnasium's Pendulum-v1, but for g = 9.8. Expert: Åström & Furuta,
    Swinging up a pendulum by energy control (Automatica, 2000).
    """

    horizon: int = eqx.field(static=True, default=100)
    name: str = eqx.field(static=True, default="pendulum", init=False)
    actions: int = eqx.field(static=True, default=1, init=False)

    def __check_init__(self) -> None:
        check_integer("horizon", self.horizon)

    def reset(self, key: PRNGKeyArray) -> Float[Array, "2"]:
        return jax.random.uniform(key, (2,), minval=-1.0) * jnp.array([jnp.pi, 1.0])

    def step(
        self, state: Float[Array, "2"], action: Float[Array, "1"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "2"], Float[Array, ""]]:
        del key
        (angle, velocity), torque = state, 2 * action[0]
        cost = _wrapped(angle) ** 2 + velocity**2 / 10 + torque**2 / 1000
        velocity += 0.05 * (1.5 * _GRAVITY * jnp.sin(angle) + 3 * torque)
        velocity = jnp.clip(velocity, -8, 8)
        return jnp.stack([angle + 0.05 * velocity, velocity]), -cost

    def observe(self, state: Float[Array, "2"]) -> Float[Array, "3"]:
        angle, velocity = state
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), velocity])

    def expert(self, state: Float[Array, "2"]) -> Float[Array, "1"]:
        angle, velocity = state
        # Zero upright and at rest; the moment of inertia is 1/3.
        energy = velocity**2 / 6 + _GRAVITY / 2 * (jnp.cos(angle) - 1)
        pump = -2.0 * energy * jnp.where(velocity < 0, -1.0, 1.0)
        balance = -10.0 * _wrapped(angle) - 2.0 * velocity
        near = jnp.cos(angle) > 0.9
        return jnp.clip(jnp.where(near, balance, pump) / 2, -1, 1)[None]


class Cartpole(AbstractTask):
    """A pole that hangs from a cart on a rail, to be swung up and balanced in its middle.

    Seen are position and velocity of the cart, cosine and sine of the pole's angle (0 upright) and
    its velocity. The reward of a step is (1 + cos angle)/2 · (1 − (position/2.4)²): 1 where it
    should be. The rail ends at ±2.4, where the cart stops dead. The expert pumps energy, then a
    linear law balances.

    Parameters
    ----------
    horizon
        Steps of 0.02 s in an episode.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Cartpole()
    >>> task.observe(task.reset(jax.random.key(0))).shape
    (5,)

    Notes
    -----
    Cart 1 kg, pole 0.1 kg and 1 m, force 10 N · action, as in Barto, Sutton & Anderson (1983).
    """

    horizon: int = eqx.field(static=True, default=250)
    name: str = eqx.field(static=True, default="cartpole", init=False)
    actions: int = eqx.field(static=True, default=1, init=False)

    def __check_init__(self) -> None:
        check_integer("horizon", self.horizon)

    def reset(self, key: PRNGKeyArray) -> Float[Array, "4"]:
        noise = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        return noise.at[2].add(jnp.pi)

    def step(
        self, state: Float[Array, "4"], action: Float[Array, "1"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "4"], Float[Array, ""]]:
        del key
        position, velocity, angle, spin = state
        reward = (1 + jnp.cos(angle)) / 2 * (1 - (position / _RAIL) ** 2)
        force, sine, cosine = 10 * action[0], jnp.sin(angle), jnp.cos(angle)
        push = (force + _ARM * spin**2 * sine) / _MASS
        twist = (_GRAVITY * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / _MASS))
        velocity += 0.02 * (push - _ARM * twist * cosine / _MASS)
        spin += 0.02 * twist
        new = position + 0.02 * velocity
        velocity = jnp.where(jnp.abs(new) > _RAIL, 0.0, velocity)
        new = jnp.clip(new, -_RAIL, _RAIL)
        return jnp.stack([new, velocity, angle + 0.02 * spin, spin]), reward

    def observe(self, state: Float[Array, "4"]) -> Float[Array, "5"]:
        position, velocity, angle, spin = state
        return jnp.stack([position, velocity, jnp.cos(angle), jnp.sin(angle), spin])

    def expert(self, state: Float[Array, "4"]) -> Float[Array, "1"]:
        position, velocity, angle, spin = state
        # Of the pole about its pivot, in units of m l: zero upright and at rest.
        energy = spin**2 / 3 + _GRAVITY * (jnp.cos(angle) - 1)
        pump = 1.4 * energy * jnp.sign(spin * jnp.cos(angle)) - 9.0 * position - 5.0 * velocity
        balance = 13.0 * (position + velocity) + 96.0 * _wrapped(angle) + 20.0 * spin
        near = jnp.cos(angle) > 0.83
        return jnp.clip(jnp.where(near, balance, pump) / 10, -1, 1)[None]


_RAIL, _MASS, _ARM = 2.4, 1.1, 0.05  # half the rail; cart and pole; mass of the pole · half of it


class Distracted(AbstractTask):
    """A task that is seen together with numbers that have nothing to do with it.

    They follow d' = ρ d + √(1 − ρ²) ε with standard normal ε, and so look like a state: a network
    that has little data takes them for one.

    Parameters
    ----------
    task
        What is acted on.
    num
        How many numbers.
    correlation
        ρ, from one step to the next.

    Raises
    ------
    ValueError
        If ``num`` is no positive integer, or ``correlation`` does not lie in [0, 1).

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Distracted(rl.Pendulum(), 8)
    >>> task.observe(task.reset(jax.random.key(0))).shape
    (11,)
    """

    task: AbstractTask
    num: int = eqx.field(static=True)
    correlation: float = eqx.field(static=True)

    def __init__(self, task: AbstractTask, num: int, correlation: float = 0.9):
        check_integer("num", num)
        if not 0 <= correlation < 1:
            raise ValueError(f"`correlation` must lie in [0, 1); got {correlation}.")
        self.task, self.num, self.correlation = task, num, correlation

    @property
    def name(self) -> str:
        return f"{self.task.name} and {self.num} distractors"

    @property
    def actions(self) -> int:
        return self.task.actions

    @property
    def horizon(self) -> int:
        return self.task.horizon

    def reset(self, key: PRNGKeyArray) -> tuple[Any, Float[Array, " num"]]:
        start, noise = jax.random.split(key)
        return self.task.reset(start), jax.random.normal(noise, (self.num,))

    def step(
        self, state: tuple[Any, Array], action: Float[Array, " actions"], key: PRNGKeyArray
    ) -> tuple[tuple[Any, Array], Float[Array, ""]]:
        inner, noise = jax.random.split(key)
        new, reward = self.task.step(state[0], action, inner)
        fresh = jax.random.normal(noise, (self.num,))
        distractors = self.correlation * state[1] + (1 - self.correlation**2) ** 0.5 * fresh
        return (new, distractors), reward

    def observe(self, state: tuple[Any, Array]) -> Float[Array, " observations"]:
        return jnp.concatenate([self.task.observe(state[0]), state[1]])

    def expert(self, state: tuple[Any, Array]) -> Float[Array, " actions"]:
        return self.task.expert(state[0])


def _wrapped(angle: Float[Array, ""]) -> Float[Array, ""]:
    """The same angle in [−π, π)."""
    return jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi
