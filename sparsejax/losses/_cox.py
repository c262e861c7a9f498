"""Cox's proportional hazards."""

import functools
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._arrays import as_inexact, optional_inexact
from ._base import AbstractSmoothLoss
from ._conjugates import divergence
from ._contrasts import NOTHING, Contrasts, log


class Cox(AbstractSmoothLoss):
    """Mean negative partial log-likelihood of survival times, which may be censored.

    Σ_e h_e·(log Σ_{j at risk at e} ω_j·exp(z_j) − z_e) over the events e, with factors h of the
    samples and ω = h rescaled to sum to the number of samples of positive weight: one, without
    sample weights. There is no intercept: it would cancel.

    Parameters
    ----------
    ties
        "efron" or "breslow": how events at the same time share their risk set.
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        For other ties; if a sample weight is negative, NaN or infinite, or all are zero; for
        targets that are not rows of a time and an event, 1, or its censoring, 0.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> y = jnp.array([[5.0, 1.0], [8.0, 0.0], [9.0, 1.0]])
    >>> float(sj.losses.Cox().value(jnp.zeros(3), y))  # log(3)/3
    0.366

    Notes
    -----
    Breslow keeps all of d tied events D at risk for each of them. Efron (1977) lets the l-th of
    them, l = 0, ..., d − 1, see ω_j·(1 − l/d) for j in D, and gives each the mean factor of D, as
    R's survival does. Integer weights are repeated rows under Breslow only, where they change
    the value by a constant.

    Either way the loss is Σ_k m_k·(logsumexp_k(z) − z_k) over pieces k, each with its mass m and
    its own reweighted logsumexp, whose conjugate is a sum of q·log(q). The conjugate of the whole
    is at most the sum of theirs: that bound stands in `fenchel_gap`. It is +∞ for dual points
    that are not multiples s·∇f(z), 0 ≤ s ≤ 1, up to 1e-8 (1e-4 in float32) of the norm.
    The Hessian of a piece, diag(π) − ππᵀ, lies below diag(π), whose sum is `curvature`, and below
    one half on its risk set, whose sum is `curvature_bound`.
    """

    has_intercept: ClassVar[bool] = False
    has_dual_on_ray: ClassVar[bool] = True

    ties: Literal["efron", "breslow"] = eqx.field(default="efron", static=True)
    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def __check_init__(self) -> None:
        if self.ties not in ("efron", "breslow"):
            raise ValueError(f'`ties` must be "efron" or "breslow"; got {self.ties!r}.')

    def outputs(self, y: Float[Array, "n 2"]) -> tuple[int, ...]:
        return ()

    def targets(self, y: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
        y = as_inexact(y, "y")
        if y.ndim != 2 or y.shape[1] != 2:
            raise ValueError(
                f"`y` must have two columns, time and event (1, or 0 if censored); got shape "
                f"{y.shape}."
            )
        known = self.known_rows(y)
        if known is not None:
            _check_events(known[:, 1])
        return y

    def value(self, z: Float[Array, " n"], y: Float[Array, "n 2"]) -> Float[Array, ""]:
        risks = _Risks(self, z, y)
        log_total = jnp.where(risks.is_event, risks.log_total, 0.0)
        return jnp.sum(risks.mass * log_total - risks.event_factor * risks.z)

    def gradient(self, z: Float[Array, " n"], y: Float[Array, "n 2"]) -> Float[Array, " n"]:
        return _Risks(self, z, y).gradient()

    def curvature(self, z: Float[Array, " n"], y: Float[Array, "n 2"]) -> Float[Array, " n"]:
        risks = _Risks(self, z, y)
        return risks.unsorted(risks.hazard())

    def curvature_bound(self, y: Float[Array, "n 2"]) -> Float[Array, " n"]:
        risks = _Risks(self, jnp.zeros_like(y[:, 0]), y)
        last = jax.ops.segment_max(risks.index, risks.tie, y.shape[0])[risks.tie]
        until = jnp.cumsum(risks.event_factor)[last]
        return risks.unsorted(jnp.where(risks.factor > 0, until / 2, 0.0))

    def contrasts(
        self, z: Float[Array, " n"], y: Float[Array, "n 2"]
    ) -> tuple[Contrasts, Float[Array, " n"]]:
        """K and a diagonal H with KᵀHK the Hessian, a sum of variances over risk sets."""
        risks = _Risks(self, z, y)
        contrasts = risks.contrasts()
        return contrasts, risks.hazard() * contrasts.remaining

    def excess(self, z: Float[Array, " n"], y: Float[Array, "n 2"]) -> Float[Array, ""]:
        return _Risks(self, z, y).scaled_gap(jnp.zeros((), z.dtype))

    def fenchel_gap(
        self, z: Float[Array, " n"], u: Float[Array, " n"], y: Float[Array, "n 2"]
    ) -> Float[Array, ""]:
        risks = _Risks(self, z, y)
        gradient = risks.gradient()
        square = jnp.vdot(gradient, gradient)
        scale = jnp.where(square > 0, jnp.vdot(u, gradient) / jnp.where(square > 0, square, 1), 1)
        tolerance = 1e-8 if z.dtype == jnp.float64 else 1e-4
        error = jnp.linalg.norm(u - scale * gradient)
        is_multiple = error <= tolerance * jnp.sqrt(square)
        is_dual = is_multiple & (scale >= -tolerance) & (scale <= 1 + tolerance)
        gap = risks.scaled_gap(jnp.clip(scale, 0.0, 1.0))
        return jnp.where(is_dual, gap, jnp.inf)


class _Risks:
    """The samples by time, events before what is censored at the same time, and their risk sets.

    Everything but sums of factors is in logarithms, so that no exp(z) overflows. A sample of
    weight zero is no event, and adds nothing to the sets that it is in.
    """

    def __init__(self, loss: Cox, z: Float[Array, " n"], y: Float[Array, "n 2"]):
        factor = loss.row_weights(y)
        is_event = (y[:, 1] > 0) & (factor > 0)
        self.order = jnp.lexsort((~is_event, y[:, 0]))
        self.z, self.is_event = z[self.order], is_event[self.order]
        self.factor = factor[self.order]
        self.event_factor = jnp.where(self.is_event, self.factor, 0.0)
        self.log_rate = self.z + log(self.factor * jnp.sum(factor > 0))
        time = y[self.order, 0]
        self.tie = jnp.cumsum(jnp.concatenate([jnp.zeros(1, bool), time[1:] != time[:-1]]))
        self.index = jnp.arange(time.size)
        self.start = jax.ops.segment_min(self.index, self.tie, time.size)[self.tie]
        self.log_at_risk = jax.lax.cumlogsumexp(self.log_rate, reverse=True)
        self._share_ties(loss)
        self.log_total = self._log_totals()

    def _share_ties(self, loss: Cox) -> None:
        """The mass of each event, and the share of its ties that it sees at risk."""
        self.count = self.sum_of_tie(self.is_event.astype(self.z.dtype))
        if loss.ties == "breslow":
            self.mass, self.share = self.event_factor, jnp.ones_like(self.z)
        else:
            rank = self.index - self.start
            seen = 1 - rank / jnp.maximum(self.count, 1.0)
            mean = self.sum_of_tie(self.event_factor) / jnp.maximum(self.count, 1.0)
            self.mass = jnp.where(self.is_event, mean, 0.0)
            self.share = jnp.where(self.is_event, seen, 1.0)
        # Without sample weights tied events have the same mass, which is then their own factor.
        self.has_own_mass = loss.ties == "breslow" or loss.sample_weight is None

    def _log_totals(self) -> Float[Array, " n"]:
        """For each event, the logarithm of the sum over its risk set."""
        after = jnp.append(self.log_at_risk, NOTHING)[self.start + self.count.astype(int)]
        tied = self.logsumexp_of_tie(jnp.where(self.is_event, self.log_rate, NOTHING))
        return jnp.logaddexp(after, jnp.log(self.share) + tied)

    def sum_of_tie(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Σ x over the samples at the same time."""
        return jax.ops.segment_sum(x, self.tie, x.size)[self.tie]

    def logsumexp_of_tie(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Log Σ exp(x) over the samples at the same time."""
        top = jax.lax.stop_gradient(jax.ops.segment_max(x, self.tie, x.size)[self.tie])
        return top + jnp.log(self.sum_of_tie(jnp.exp(x - top)))

    def hazard(self) -> Float[Array, " n"]:
        """Σ_k m_k π_k: what each sample is expected to have of the events while it is at risk."""
        log_hazard, until, before = self._log_hazards
        own = self.logsumexp_of_tie(log_hazard + jnp.log(self.share))
        until = jnp.where(self.is_event, jnp.logaddexp(before, own), until)
        return jnp.exp(self.log_rate + until)

    @functools.cached_property
    def _log_hazards(self) -> tuple[Float[Array, " n"], ...]:
        """The logarithms of m_k over the sum over k's risk set, until k, and before k's time."""
        log_hazard = jnp.where(self.is_event, log(self.mass) - self.log_total, NOTHING)
        until = jax.lax.cumlogsumexp(log_hazard)
        return log_hazard, until, jnp.append(NOTHING, until)[self.start]

    def contrasts(self) -> Contrasts:
        """Of which the Hessian is a sum of squares.

        Two tied events see less of each other than of later samples: in units of the square of all
        that are at risk, ``pairs`` of what is ``own``, beside the ``earlier`` events that all see.
        """
        total = self.log_at_risk[self.start]
        relative = jnp.where(self.is_event, jnp.exp(total - self.log_total), 0.0)
        own = self.sum_of_tie(self.mass * self.share * relative**2)
        pairs = self.sum_of_tie(self.mass * self.share**2 * relative**2)
        earlier = jnp.exp(self._log_hazards[2] + total)
        part = jnp.where(self.is_event, (earlier + pairs) / (earlier + own), 1.0)
        last = self.start + self.count.astype(int) - 1
        first = jnp.where(self.is_event, self.start, self.index)
        last = jnp.where(self.is_event, last, self.index)
        return Contrasts.of(self.order, self.log_rate, self.log_at_risk, part, first, last)

    def gradient(self) -> Float[Array, " n"]:
        """Expected minus observed events."""
        return self.unsorted(self.hazard() - self.event_factor)

    def scaled_gap(self, s: Float[Array, ""]) -> Float[Array, ""]:
        """Σ_k m_k KL(s·π + (1 − s)·e ‖ π) over the pieces, e the unit vector of the event."""
        mass, event, term = self._pieces()
        log_p = jnp.log(self.share[term]) + self.log_rate[event] - self.log_total[term]
        log_p = jnp.minimum(log_p, 0.0)
        p = jnp.exp(log_p)
        others = -jnp.expm1(log_p) * divergence(s, jnp.ones_like(s), jnp.zeros_like(s))
        divergences = others + divergence(s * p + (1 - s), p, log_p)
        return jnp.sum(jnp.where(mass > 0, mass * divergences, 0.0))

    def _pieces(self) -> tuple[Float[Array, " k"], Int[Array, " k"], Int[Array, " k"]]:
        """Masses, each with its event and its logsumexp, that add up to both.

        Where the events do not have the mass of their logsumexp, both are laid end to end, tie by
        tie, and cut where either is.
        """
        if self.has_own_mass:
            return self.mass, self.index, self.index
        events, terms = jnp.cumsum(self.event_factor), jnp.cumsum(self.mass)
        cuts = jnp.sort(jnp.append(events, terms))
        mass = jnp.diff(cuts, prepend=0.0)
        middle = cuts - mass / 2
        last = self.z.size - 1
        event = jnp.minimum(jnp.searchsorted(events, middle), last)
        return mass, event, jnp.minimum(jnp.searchsorted(terms, middle), last)

    def unsorted(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """In the order that the samples came in."""
        return jnp.zeros_like(x).at[self.order].set(x)


def _check_events(events: np.ndarray) -> None:
    if not np.isin(events, (0, 1)).all():
        raise ValueError("`y` must hold 1 (event) or 0 (censored) in its second column.")
    if not np.any(events):
        raise ValueError("`y` holds no event: all times are censored, and nothing can be fitted.")
