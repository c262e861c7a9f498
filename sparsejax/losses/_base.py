"""What a loss must be able to do."""

import abc
import math
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._checks import check_length, check_nonnegative, is_concrete, is_nonnegative, values_of
from .._symmetric import outer_gram


class AbstractLoss(eqx.Module):
    """A convex function f(z) of the predictions z = Xw + b + offset, averaged over the samples.

    Targets and predictions are (n,), or (n, tasks) for several targets. The sample weights are
    rescaled to sum to n.
    """

    sample_weight: eqx.AbstractVar[Float[Array, " n"] | None]
    # Whether an intercept means anything: not where adding a constant to z changes nothing.
    has_intercept: ClassVar[bool] = True
    # Whether of f* no more is known than at multiples of the gradient.
    has_dual_on_ray: ClassVar[bool] = False
    # Whether it is so in z: then it does not fall along any ray without an end.
    is_piecewise_quadratic: ClassVar[bool] = False
    # Whether it stays the same if all predictions of a sample grow alike.
    ignores_shifts: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if self.sample_weight is None:
            return
        check_nonnegative("sample_weight", self.sample_weight, ndim=1, finite=True)
        if is_concrete(self.sample_weight) and not np.any(values_of(self.sample_weight) > 0):
            raise ValueError("`sample_weight` must have at least one positive entry.")

    @abc.abstractmethod
    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        """f(z), +inf outside the domain."""

    @abc.abstractmethod
    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        """f(z) + f*(u) − ⟨z, u⟩ ≥ 0, computed so that nothing cancels."""

    def excess(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        """f(z) − inf f, which is f(z) + f*(0): for losses that may be negative, too."""
        return self.fenchel_gap(z, jnp.zeros_like(z), y)

    def settled(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> tuple[Any, Float[Array, "n ..."]]:
        """What to evaluate several methods with: an intercept inside of the loss is found once."""
        return self, z

    def targets(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The targets as the other methods take them; ``ValueError`` for what the loss cannot fit.

        Values are looked at only where they are known (not traced).
        """
        return y

    def outputs(self, y: Float[Array, "n ..."]) -> tuple[int, ...]:
        """Shape of the predictions of one sample: () or (tasks,)."""
        return y.shape[1:]

    def known_rows(self, y: Float[Array, "n ..."]) -> np.ndarray | None:
        """The targets of positive weight, to be checked; None where they are traced."""
        if not is_concrete(y):
            return None
        if self.sample_weight is None:
            return values_of(y)
        check_length("sample_weight", self.sample_weight, y.shape[0])
        if not is_concrete(self.sample_weight):
            return None
        return values_of(y)[values_of(self.sample_weight) > 0]

    def row_weights(self, y: Float[Array, "n ..."]) -> Float[Array, " n"]:
        """The factors h of the samples (n,), which sum to one."""
        if self.sample_weight is None:
            return jnp.full(y.shape[0], 1 / y.shape[0], y.dtype)
        return self.sample_weight / jnp.sum(self.sample_weight)

    def mean_weights(self, y: Float[Array, "n ..."]) -> Float[Array, " n"]:
        """The weights of the means that centre a problem, which sum to one."""
        return self.row_weights(y)

    def reweighted(self, factors: Float[Array, " n"] | None) -> Self:
        """The loss with its sample weights multiplied by factors, or without any for None."""
        if factors is not None and self.sample_weight is not None:
            factors = self.sample_weight * factors
        is_none = lambda x: x is None  # noqa: E731
        return eqx.tree_at(lambda loss: loss.sample_weight, self, factors, is_leaf=is_none)

    def is_valid(self) -> Bool[Array, ""]:
        """Whether the parameters are in range (checked where they are traced)."""
        if self.sample_weight is None:
            return jnp.array(True)
        return jnp.all(is_nonnegative(self.sample_weight)) & jnp.any(self.sample_weight > 0)

    def check(self, y: Float[Array, "n ..."]) -> None:
        """Raise ``ValueError`` for parameters that do not fit the targets."""
        if self.sample_weight is not None:
            check_length("sample_weight", self.sample_weight, y.shape[0])

    def _row_factors(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The factors h of the samples, shaped to multiply predictions."""
        return self.row_weights(y).reshape((-1,) + (1,) * len(self.outputs(y)))

    def _weighted(
        self, terms: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """The terms times h; those of weight zero are zero even where they are not finite."""
        factors = self._row_factors(y)
        if self.sample_weight is None:
            return factors * terms
        return jnp.where(factors > 0, factors * terms, 0.0)

    def _per_sample(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> tuple[Float[Array, "n ..."], Bool[Array, ""]]:
        """u/h, and whether u vanishes where the weight does: f* is infinite where it does not."""
        factors = self._row_factors(y)
        used = factors > 0
        return u / jnp.where(used, factors, 1.0), ~jnp.any(~used & (u != 0))


class AbstractSmoothLoss(AbstractLoss):
    """A loss with a gradient, and with a curvature that diagonal matrices bound."""

    @abc.abstractmethod
    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """∇f(z)."""

    @abc.abstractmethod
    def curvature(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """The diagonal of ∇²f(z) or, where that is not diagonal, a diagonal matrix above it."""

    @abc.abstractmethod
    def curvature_bound(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """A diagonal matrix above ∇²f(z) for every z; infinite where there is none."""

    @property
    def has_bounded_curvature(self) -> bool:
        """Whether ``curvature_bound`` is finite."""
        return True


class AbstractProximalLoss(AbstractLoss):
    """A loss with a proximal operator, smooth or not."""

    @abc.abstractmethod
    def prox(
        self, v: Float[Array, "n ..."], step: Any, y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """argmin over z of ‖z − v‖²/2 + step·f(z), for a scalar step ≥ 0."""

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """u without what rounding put outside the domain of f*: samples of weight zero pull not."""
        return jnp.where(self._row_factors(y) > 0, u, 0.0)

    def dual_room(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """How freely each entry of u may be corrected: zero at the ends of the domain of f*."""
        return jnp.broadcast_to(self._row_factors(y) ** 2, u.shape)


class AbstractVariationalLoss(AbstractLoss):
    """f(z) = min over t of Σ_i h_i (y_i − z_i)²/(2 noise(t)) + ‖t‖²/2: what VarPro needs.

    t is one number, or () where there is nothing to choose.
    """

    def first_level(self, y: Float[Array, "n ..."]) -> Any:
        """The best t for z = 0."""
        del y
        return ()

    @abc.abstractmethod
    def noise(self, level: Any) -> Float[Array, ""] | float:
        """noise(t)."""


class AbstractSeparableLoss(AbstractLoss):
    """f(z) = Σ_i h_i φ(z_i, y_i), smooth or not."""

    @abc.abstractmethod
    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """φ(z, y)."""

    @abc.abstractmethod
    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """φ(z) + φ*(c) − z·c ≥ 0, +inf for c outside the domain of φ*."""

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return jnp.sum(self._weighted(self.unit_value(z, y), y))

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        c, is_dual = self._per_sample(u, y)
        gap = jnp.sum(self._weighted(self.unit_fenchel_gap(z, c, y), y))
        return jnp.where(is_dual, gap, jnp.inf)


class AbstractPointwiseLoss(AbstractSeparableLoss, AbstractSmoothLoss):
    """A smooth f(z) = Σ_i h_i φ(z_i, y_i): a loss is then five functions of φ."""

    @abc.abstractmethod
    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """∂φ/∂z."""

    @abc.abstractmethod
    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """∂²φ/∂z²; at a kink of the gradient, one of its sides."""

    @abc.abstractmethod
    def unit_curvature_bound(self) -> Float[Array, ""] | float:
        """sup over z and y of ∂²φ/∂z²."""

    @property
    def has_bounded_curvature(self) -> bool:
        bound = self.unit_curvature_bound()
        return not (isinstance(bound, float) and math.isinf(bound))

    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self._weighted(self.unit_gradient(z, y), y)

    def curvature(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self._weighted(self.unit_curvature(z, y), y)

    def curvature_bound(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self._weighted(jnp.full(y.shape, self.unit_curvature_bound(), y.dtype), y)


class AbstractPointwiseProximalLoss(AbstractSeparableLoss, AbstractProximalLoss):
    """f(z) = Σ_i h_i φ(z_i, y_i) with the proximal operator of φ."""

    @abc.abstractmethod
    def unit_prox(
        self, v: Float[Array, "..."], step: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """argmin over z of (z − v)²/2 + step·φ(z, y)."""

    def prox(
        self, v: Float[Array, "n ..."], step: Any, y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        factors = self._row_factors(y)
        return jnp.where(factors > 0, self.unit_prox(v, step * factors, y), v)


class AbstractSquaredErrorLoss(AbstractPointwiseLoss):
    """φ(z, y) = (y − z)²/2."""

    is_piecewise_quadratic: ClassVar[bool] = True

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return (y - z) ** 2 / 2

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return z - y

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.ones_like(z)

    def unit_curvature_bound(self) -> float:
        return 1.0

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return (c - (z - y)) ** 2 / 2


class AbstractQuadraticLoss(
    AbstractSquaredErrorLoss, AbstractPointwiseProximalLoss, AbstractVariationalLoss
):
    """f(z) = Σ_i h_i (y_i − z_i)²/2: centring X and y takes an intercept out of it."""

    def noise(self, level: tuple[()]) -> float:
        del level
        return 1.0

    def unit_prox(
        self, v: Float[Array, "..."], step: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v + (y - v) * step / (1 + step)

    def gram(
        self, rows: Float[Array, "k n"], columns: Float[Array, "m n"], y: Float[Array, "n ..."]
    ) -> Float[Array, "k m"]:
        """rows · diag(h) · columnsᵀ."""
        return (rows * self.row_weights(y)) @ columns.T

    def own_gram(self, rows: Float[Array, "k n"], y: Float[Array, "n ..."]) -> Float[Array, "k k"]:
        """rows · diag(h) · rowsᵀ, in about half the time."""
        return outer_gram(rows * jnp.sqrt(self.row_weights(y)))
