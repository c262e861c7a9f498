"""What a field has to satisfy, each with its points and its share of the loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._arrays import inexact
from ..._checks import check_finite, check_integer
from ._box import Box
from ._derivatives import Field


class Condition(eqx.Module):
    """A residual that vanishes all over a box: an equation in a domain, a condition on a face.

    Parameters
    ----------
    residual
        A function of the field and a point that returns a vector, one entry an equation. The
        field takes a point (axes,) to (outputs,); ``derivatives`` differentiates it.
    box
        Where it holds.
    num
        How many points stand for the box.
    name
        For messages and reports.
    weight
        Its weight in the loss.

    Raises
    ------
    ValueError
        If ``num`` is no positive integer.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> domain = pde.Box((0, -1), (1, 1))
    >>> at_rest = lambda u, x: u(x)
    >>> pde.Condition(at_rest, domain.face(0, "lower"), 50, name="initial").num
    50
    """

    residual: Callable[[Field, Array], Array] = eqx.field(static=True)
    box: Box
    num: int = eqx.field(static=True)
    name: str = eqx.field(static=True, default="equation")
    weight: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_integer("num", self.num)

    def draw(self, key: PRNGKeyArray, most: int | None = None) -> Float[Array, "points axes"]:
        """Points of a Latin hypercube, as `residuals` takes them; at most so many, or all."""
        return self.box.sample(self.num if most is None else min(self.num, most), key)

    def residuals(
        self, u: Field, points: Float[Array, "points axes"]
    ) -> Float[Array, "points equations"]:
        """What the user's function gives, a row a point; zero where the field does as it should."""

        def checked(x: Array) -> Array:
            value = self.residual(u, x)
            shape = getattr(value, "shape", None)
            if shape is None or len(shape) != 1 or shape == (0,):
                got = type(value).__name__ if shape is None else f"shape {shape}"
                raise ValueError(
                    f"the residual of {self.name!r} must return a vector, one entry an equation, "
                    f"for each point; got {got}."
                )
            return value

        return jax.vmap(checked)(points)


class Data(eqx.Module):
    """Values that the field should take at given points.

    Parameters
    ----------
    points
        (samples, axes).
    values
        (samples, outputs).
    name, weight
        As of ``Condition``.

    Raises
    ------
    ValueError
        If shapes do not fit or an entry is not finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import pde
    >>> data = pde.Data(jnp.array([[0.0], [1.0]]), jnp.array([[0.0], [1.0]]))
    >>> data.residuals(lambda x: x + 1, (data.points, data.values)).tolist()
    [[1.0], [1.0]]
    """

    points: Float[Array, "samples axes"] = eqx.field(converter=inexact("points"))
    values: Float[Array, "samples outputs"] = eqx.field(converter=inexact("values"))
    name: str = eqx.field(static=True, default="data")
    weight: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        shapes = self.points.shape, self.values.shape
        if any(len(shape) != 2 for shape in shapes) or len(self.points) != len(self.values):
            raise ValueError(
                "`points` and `values` must be (samples, axes) and (samples, outputs); got shapes "
                f"{shapes[0]} and {shapes[1]}."
            )
        check_finite("points", self.points)
        check_finite("values", self.values)

    def draw(self, key: PRNGKeyArray, most: int | None = None) -> tuple[Array, Array]:
        """All samples, or at most so many without replacement, as `residuals` takes them."""
        samples = len(self.points)
        if most is None or most >= samples:
            return self.points, self.values
        chosen = jax.random.permutation(key, samples)[:most]
        return self.points[chosen], self.values[chosen]

    def residuals(self, u: Field, points: tuple[Array, Array]) -> Float[Array, "points equations"]:
        """Predictions minus values."""
        x, values = points
        predictions = jax.vmap(u)(x)
        if predictions.shape != values.shape:
            raise ValueError(
                f"{self.name!r} has {values.shape[1]} values a point, the field "
                f"{predictions.shape[1:]}."
            )
        return predictions - values


Term = Condition | Data


class Sample(NamedTuple):
    """Points of a term, and how many each stands for, of a mean of one."""

    points: Any
    stands_for: Float[Array, " points"]


def telling(term: Term, u: Field, points: Any, num: int, key: PRNGKeyArray) -> Sample:
    """At most so many of the points, rather those of large residuals; the loss is so on average.

    Half of the chances are even, so that no point stands for more than two.
    """
    total = len(jax.tree.leaves(points)[0])
    if total <= num:
        return Sample(points, jnp.ones(total))
    sizes = jnp.linalg.norm(term.residuals(u, points), axis=1)
    sizes = sizes + jnp.finfo(sizes.dtype).tiny
    chances = (1 / total + sizes / jnp.sum(sizes)) / 2
    ticks = (jnp.arange(num) + jax.random.uniform(key, (num,), sizes.dtype)) / num
    chosen = jnp.minimum(jnp.searchsorted(jnp.cumsum(chances), ticks), total - 1)
    return Sample(jax.tree.map(lambda x: x[chosen], points), 1 / (total * chances[chosen]))


def rows(term: Term, u: Field, sample: Sample) -> Float[Array, " rows"]:
    """Weighted residuals of a sample, whose squares sum to the term's share of the loss."""
    residuals = term.residuals(u, sample.points)
    scale = jnp.sqrt(sample.stands_for * (term.weight / len(residuals)))
    return jnp.ravel(residuals * scale[:, None].astype(residuals.dtype))


def share(term: Term, u: Field, points: Any) -> Float[Array, ""]:
    """A term's share of the loss: the mean over points of squared residuals, summed."""
    return term.weight * jnp.mean(jnp.sum(term.residuals(u, points) ** 2, axis=1))
