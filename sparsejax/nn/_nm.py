"""N weights out of every M."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._pattern import AbstractPattern


class NM(AbstractPattern):
    """``keep`` out of every ``of`` neighbours along the input axis, as in 2:4.

    The input axis is the second: of a weight (out, in), neighbours are ``of`` inputs of one
    output; of a convolution (out, in, *kernel), ``of`` input channels at one place of the kernel.

    Parameters
    ----------
    keep
        How many are kept (the rest are dropped: 1:4 is 75 % sparse).
    of
        The size of a group; must divide the input axis.

    Raises
    ------
    TypeError
        If one is not an integer.
    ValueError
        Unless 1 ≤ keep ≤ of.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.NM(1, 2).mask(jnp.array([[3.0, 1.0, 0.5, 2.0]])).tolist()
    [[True, False, False, True]]

    Notes
    -----
    Mishra et al., Accelerating sparse deep neural networks (2021), for 2:4 on tensor cores.
    """

    keep: int = eqx.field(static=True)
    of: int = eqx.field(static=True)

    is_local: ClassVar[bool] = True

    def __check_init__(self) -> None:
        for name, value in (("keep", self.keep), ("of", self.of)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"`{name}` must be an integer; got {value!r}.")
        if not 1 <= self.keep <= self.of:
            raise ValueError(
                f"`keep` must lie between 1 and `of`; got {self.keep} out of {self.of}."
            )

    @property
    def sparsity(self) -> float:  # type: ignore[override]  # derived from the two integers
        return 1 - self.keep / self.of

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) < 2:
            raise ValueError(f"`{name}`: {self} needs an input axis; got shape {shape}.")
        if shape[1] % self.of:
            raise ValueError(
                f"`{name}`: {self} needs an input axis that {self.of} divides; got shape {shape}."
            )

    def units(self, scores: Float[Array, "out in ..."]) -> Float[Array, "groups of"]:
        return jnp.moveaxis(scores, 1, -1).reshape(-1, self.of)

    def spread(
        self, kept: Bool[Array, "groups of"], shape: tuple[int, ...]
    ) -> Bool[Array, "out in ..."]:
        return jnp.moveaxis(kept.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
