"""What the conjugates of the losses share: divergences without cancellation, domains with slack."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# (1 + x)·log(1 + x) − x = x²·Σ_k (−x)^k / ((k + 1)(k + 2)), enough terms for |x| < 0.1.
_SERIES_REACH = 0.1
_SERIES = tuple((-1.0) ** k / ((k + 1) * (k + 2)) for k in reversed(range(16)))


def divergence(
    p: Float[Array, "..."], q: Float[Array, "..."], log_q: Float[Array, "..."]
) -> Float[Array, "..."]:
    """p·log(p/q) − p + q ≥ 0 for p, q ≥ 0: the terms of a Kullback–Leibler divergence.

    ``log_q`` stands in where q underflows. Between p and q that nearly agree the three terms
    cancel to (p − q)²/(2q), so the series takes over.
    """
    representable = q >= jnp.finfo(q.dtype).tiny
    safe_p, safe_q = jnp.where(p > 0, p, 1.0), jnp.where(representable, q, 1.0)
    log_ratio = jnp.where(representable, jnp.log(safe_p / safe_q), jnp.log(safe_p) - log_q)
    far = jnp.where(p > 0, p * log_ratio - p, 0.0) + q
    x = (p - q) / safe_q
    near = q * x**2 * jnp.polyval(jnp.array(_SERIES, q.dtype), x)
    result = jnp.where(representable & (jnp.abs(x) < _SERIES_REACH), near, far)
    return jnp.where(jnp.isfinite(p) & jnp.isfinite(q), jnp.maximum(result, 0.0), jnp.inf)


def clipped(
    c: Float[Array, "..."],
    low: Float[Array, "..."] | float,
    high: Float[Array, "..."] | float,
    size: Float[Array, "..."] | float,
) -> tuple[Float[Array, "..."], Bool[Array, "..."]]:
    """c in [low, high], and whether it was there but for the rounding of numbers of that size."""
    inside = jnp.clip(c, low, high)
    return inside, jnp.abs(c - inside) <= 16 * jnp.finfo(c.dtype).eps * size
