"""A domain, the terms that a field has to satisfy in it, and the network behind the field."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer
from ._box import Box
from ._derivatives import Field
from ._terms import Term, share


class Reference(NamedTuple):
    """A solution to compare with, on a grid.

    Attributes
    ----------
    axes
        The coordinates along each axis.
    values
        (*lengths of axes, outputs).
    """

    axes: tuple[np.ndarray, ...]
    values: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """(points, axes), in the order of ``values`` without its grid."""
        grid = np.meshgrid(*self.axes, indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1)


class Problem(eqx.Module):
    """A problem for a network: its loss is the sum of its terms.

    Parameters
    ----------
    name
        For messages and reports.
    domain
        Where the field lives.
    outputs
        How many values it has; a complex number is two.
    terms
        ``Condition`` and ``Data``: equation, initial and boundary conditions, samples.
    hard
        If given, the field is x ↦ ``hard(network, x)``, made so that conditions hold whatever
        the network is: u₀(x) + t·(1 − x²)·network(x), for example. The network is seen as a
        function of points of the domain.
    reference
        If given, returns a ``Reference``.

    Raises
    ------
    ValueError
        If there are no terms, or ``outputs`` is no positive integer.

    Examples
    --------
    The equation u' = u with u(0) = 1:

    >>> import jax
    >>> from sparsejax.applications import pde
    >>> def grows(u, x):
    ...     value, slope = pde.derivatives(u, x, axis=0)
    ...     return slope - value
    >>> domain = pde.Box((0.0,), (1.0,))
    >>> start = pde.Condition(lambda u, x: u(x) - 1, domain.face(0, "lower"), 1, name="start")
    >>> problem = pde.Problem("growth", domain, 1, (pde.Condition(grows, domain, 20), start))
    >>> networks = pde.networks(problem, seeds=(0,), width=8, depth=1)
    >>> solved = pde.solve(problem, networks, steps=50, refit_steps=50)
    >>> abs(float(problem.field(solved.network(0))(jax.numpy.ones(1))[0]) - 2.718) < 0.01
    True
    """

    name: str = eqx.field(static=True)
    domain: Box
    outputs: int = eqx.field(static=True)
    terms: tuple[Term, ...] = eqx.field(converter=tuple)
    hard: Callable[[Field, Array], Array] | None = eqx.field(static=True, default=None)
    reference: Callable[[], Reference] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        check_integer("outputs", self.outputs)
        if not self.terms:
            raise ValueError("`terms` is empty: a field has nothing to satisfy.")

    def field(self, network: Any) -> Field:
        """The field that a network stands for."""

        def free(x: Float[Array, " axes"]) -> Float[Array, " outputs"]:
            return network(self.domain.normalise(x))

        if self.hard is None:
            return free
        hard = self.hard
        return lambda x: hard(free, x)

    def draw(self, key: PRNGKeyArray, most: int | None = None) -> tuple[Any, ...]:
        """Points for each term; at most so many of each, or as many as the terms say."""
        keys = jax.random.split(key, len(self.terms))
        return tuple(term.draw(k, most) for term, k in zip(self.terms, keys, strict=True))

    def loss(self, network: Any, points: tuple[Any, ...]) -> Float[Array, ""]:
        """The sum of the terms."""
        u = self.field(network)
        return sum(
            (share(term, u, p) for term, p in zip(self.terms, points, strict=True)), jnp.zeros(())
        )


def networks(
    problem: Problem,
    seeds: tuple[int, ...] = (0,),
    width: int = 32,
    depth: int = 3,
    activation: Callable[[Array], Array] = jnp.tanh,
) -> eqx.nn.MLP:
    """Networks for a problem, one a seed, stacked along the first axis of their arrays.

    Parameters
    ----------
    problem
        Says how many inputs and outputs.
    seeds
        Of their weights: normal with variance 2/(inputs + outputs), and zero biases.
    width, depth
        Of the hidden layers.
    activation
        Smooth enough for the derivatives in the residual.

    Returns
    -------
    networks
        An ``equinox.nn.MLP`` whose arrays have a leading axis of seeds.

    Raises
    ------
    ValueError
        If a size is no positive integer, or there are no seeds.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> stacked = pde.networks(pde.burgers(), seeds=(0, 1, 2), width=20, depth=8)
    >>> stacked.layers[0].weight.shape
    (3, 20, 2)

    Notes
    -----
    Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks
    (2010).
    """
    check_integer("width", width)
    check_integer("depth", depth)
    if not len(seeds):
        raise ValueError("`seeds` is empty: there is nothing to train.")
    axes = len(problem.domain.lower)

    def one(key: PRNGKeyArray) -> eqx.nn.MLP:
        mlp = eqx.nn.MLP(axes, problem.outputs, width, depth, activation, key=key)
        weights = lambda mlp: [layer.weight for layer in mlp.layers]  # noqa: E731
        biases = lambda mlp: [layer.bias for layer in mlp.layers]  # noqa: E731
        start = jax.nn.initializers.glorot_normal(in_axis=1, out_axis=0)
        keys = jax.random.split(key, depth + 1)
        new = [start(k, w.shape, w.dtype) for k, w in zip(keys, weights(mlp), strict=True)]
        mlp = eqx.tree_at(weights, mlp, new)
        return eqx.tree_at(biases, mlp, [jnp.zeros_like(bias) for bias in biases(mlp)])

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    return eqx.filter_vmap(one)(keys)
