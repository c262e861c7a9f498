"""What a sparsity pattern must be able to do."""

import abc
from typing import Any, ClassVar, Literal, get_args

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ._exact import kept, num_dropped_now

Scope = Literal["leaf", "row", "global"]
SCOPES: tuple[str, ...] = get_args(Scope)


class AbstractPattern(eqx.Module):
    """Which weights may be dropped together, and how large a part of them is.

    A weight is (out, in) or (out, in, *kernel), as in Equinox. It is cut into units (single
    weights, blocks, channels) that compete within groups: the units of lowest score are dropped,
    exactly ⌊sparsity·units⌋ in each group, the first ones among equals.
    """

    sparsity: eqx.AbstractVar[float]  # static: the part of the units that is dropped

    # Whether groups lie within rows, so that it does not matter what else could compete.
    is_local: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` naming the weight whose shape does not fit."""

    @abc.abstractmethod
    def units(self, scores: Float[Array, "out ..."]) -> Float[Array, "groups units"]:
        """The mean score of every unit."""

    @abc.abstractmethod
    def spread(
        self, kept: Bool[Array, "groups units"], shape: tuple[int, ...]
    ) -> Bool[Array, "out ..."]:
        """What is said of every unit, said of its weights."""

    def row_units(self, scores: Float[Array, "out ..."]) -> Float[Array, "groups units"]:
        """The same where units compete within each output only."""
        if self.is_local:
            return self.units(scores)
        name = type(self).__name__
        raise ValueError(f"`scope`: {name} has no units within a row; use 'leaf' or 'global'.")

    def mask(
        self,
        scores: Float[Array, "out ..."],
        *,
        scope: Scope = "leaf",
        limit: Any = None,
        name: str = "scores",
    ) -> Bool[Array, "out ..."]:
        """True for the weights that are kept.

        Parameters
        ----------
        scores
            (out, in) or (out, in, *kernel): what a weight is worth.
        scope
            ``"leaf"``: all units compete; ``"row"``: those of one output.
        limit
            A sparsity that must not be exceeded, such as a schedule's.
        name
            What messages call the weight.
        """
        self.check(name, scores.shape)
        units = self.row_units(scores) if scope == "row" else self.units(scores)
        dropped = num_dropped_now(self.sparsity, units.shape[1], limit)
        return self.spread(kept(units, dropped), scores.shape)


def checked_sparsity(sparsity: Any) -> float:
    """A known number in [0, 1]."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, int | float):
        try:
            sparsity = float(sparsity)
        except (TypeError, ValueError):
            kind = type(sparsity).__name__
            raise TypeError(f"`sparsity` must be a known number; got {kind}.") from None
    if not 0 <= sparsity <= 1:
        raise ValueError(f"`sparsity` must lie in [0, 1]; got {sparsity:g}.")
    return float(sparsity)


def checked_pattern(pattern: Any) -> AbstractPattern:
    """The pattern, or a ``TypeError`` that names the argument."""
    if not isinstance(pattern, AbstractPattern):
        raise TypeError(
            "`pattern` must be Unstructured, NM, Block or Channel; "
            f"got {pattern if isinstance(pattern, str) else type(pattern).__name__!r}."
        )
    return pattern


def checked_scope(scope: Any) -> Scope:
    """The scope, or a ``ValueError`` that names the argument."""
    if scope not in SCOPES:
        raise ValueError(f"`scope` must be one of {', '.join(map(repr, SCOPES))}; got {scope!r}.")
    return scope
