"""Which weights of an agent are used, and when that is decided anew."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ... import nn
from ..._checks import check_integer

Objective = Callable[[Any], Float[Array, ""]]  # of a network alone, without masks


class AbstractRule(eqx.Module):
    """Masks of a network at the first step, and others from time to time until some step.

    The network is used, and trained, where its masks say so; the slow copy shares them.
    """

    keep: eqx.AbstractVar[float]  # static: the part of the weights of a network that is used
    every: eqx.AbstractVar[int | None]  # static: steps between decisions; None: there is one
    until: eqx.AbstractVar[int | None]  # static: the last step at which to decide; None: the end

    # Whether what is not used becomes zero; else it keeps its value, and may come back with it.
    forgets: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"`keep` must lie in (0, 1]; got {self.keep}.")
        for name in ("every", "until"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), least=int(name == "every"))

    @abc.abstractmethod
    def first(self, network: Any, objective: Objective, key: PRNGKeyArray) -> Any:
        """Masks to begin with."""

    @abc.abstractmethod
    def again(
        self,
        network: Any,
        masks: Any,
        objective: Objective,
        key: PRNGKeyArray,
        progress: Float[Array, ""],
    ) -> Any:
        """Masks from here on; progress is the part of the steps that are behind."""


class AbstractScored(AbstractRule):
    """The weights of highest scores, of all weights of a network together."""

    @abc.abstractmethod
    def scores(self, network: Any, objective: Objective) -> Any:
        """A number for each weight."""

    def first(self, network: Any, objective: Objective, key: PRNGKeyArray) -> Any:
        del key
        pattern = nn.Unstructured(1 - self.keep)
        return nn.masks_of(self.scores(network, objective), pattern, scope="global")

    def again(
        self,
        network: Any,
        masks: Any,
        objective: Objective,
        key: PRNGKeyArray,
        progress: Float[Array, ""],
    ) -> Any:
        del masks, progress
        return self.first(network, objective, key)


class AbstractExchange(AbstractRule):
    """Random weights at first, as dense as ``nn.erk`` says; then the smallest make place."""

    fraction: eqx.AbstractVar[float]

    forgets: ClassVar[bool] = True

    @abc.abstractmethod
    def growth(self, network: Any, objective: Objective, key: PRNGKeyArray) -> Any:
        """Scores of those that may take it."""

    def first(self, network: Any, objective: Objective, key: PRNGKeyArray) -> Any:
        del objective
        patterns = nn.erk(network, nn.Unstructured(1 - self.keep))
        return nn.masks_of(nn.random_scores(network, key), patterns)

    def again(
        self,
        network: Any,
        masks: Any,
        objective: Objective,
        key: PRNGKeyArray,
        progress: Float[Array, ""],
    ) -> Any:
        growth = self.growth(network, objective, key)
        fraction = self.fraction * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1))) / 2
        return nn.drop_and_grow(network, masks, growth, fraction)


class SNIP(AbstractScored):
    """The weights that the loss feels most: |w · ∂loss/∂w| of all weights, the unused ones too.

    Decided once this is single-shot pruning at initialisation; decided again and again, from one
    batch each time, weights come and go until a good set is found: Sparse-Reg.

    Parameters
    ----------
    keep
        The part of the weights that is used, of all weights of a network together.
    every
        Steps from one decision to the next; None is single-shot.
    until
        The step after which masks stay. None: a fifth of all steps, as in the paper.

    Raises
    ------
    ValueError
        If ``keep`` does not lie in (0, 1], or steps are no positive integers.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> single_shot = rl.SNIP(0.05)
    >>> iterative = rl.SNIP(0.05, every=1000, until=200_000)

    Notes
    -----
    Arnob, Fujimoto & Precup, Sparse-Reg: improving sample complexity in offline reinforcement
    learning using sparsity (2025); Lee, Ajanthan & Torr, SNIP (ICLR 2019).
    """

    keep: float = eqx.field(static=True, default=0.05)
    every: int | None = eqx.field(static=True, default=None)
    until: int | None = eqx.field(static=True, default=None)

    def scores(self, network: Any, objective: Objective) -> Any:
        return nn.snip(objective, network)


class Magnitude(AbstractScored):
    """The largest weights.

    Parameters
    ----------
    keep, every, until
        As of ``SNIP``.

    Raises
    ------
    ValueError
        As of ``SNIP``.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> rule = rl.Magnitude(0.05, every=1000)
    """

    keep: float = eqx.field(static=True, default=0.05)
    every: int | None = eqx.field(static=True, default=None)
    until: int | None = eqx.field(static=True, default=None)

    def scores(self, network: Any, objective: Objective) -> Any:
        del objective
        return nn.magnitude(network)


class SET(AbstractExchange):
    """Random weights at first; then the smallest are exchanged for random others.

    Layers are as dense as ``nn.erk`` says. What comes begins at zero, and the part that is
    exchanged falls to nothing by a cosine.

    Parameters
    ----------
    keep, every, until
        As of ``SNIP``; ``every`` must be given.
    fraction
        Of the used weights that are exchanged at first.

    Raises
    ------
    ValueError
        As of ``SNIP``.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> rule = rl.SET(0.05, every=1000)

    Notes
    -----
    Mocanu et al., Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science (Nature Communications, 2018).
    """

    keep: float = eqx.field(static=True, default=0.05)
    every: int = eqx.field(static=True, default=1000)
    until: int | None = eqx.field(static=True, default=None)
    fraction: float = 0.3

    def growth(self, network: Any, objective: Objective, key: PRNGKeyArray) -> Any:
        del objective
        return nn.random_scores(network, key)


class RigL(AbstractExchange):
    """Random weights at first; then the smallest are exchanged for those of steepest loss.

    Layers are as dense as ``nn.erk`` says. What comes begins at zero, and the part that is
    exchanged falls to nothing by a cosine.

    Parameters
    ----------
    keep, every, until, fraction
        As of ``SET``.

    Raises
    ------
    ValueError
        As of ``SNIP``.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> rule = rl.RigL(0.05, every=1000)

    Notes
    -----
    Evci et al., Rigging the lottery: making all tickets winners (ICML 2020).
    """

    keep: float = eqx.field(static=True, default=0.05)
    every: int = eqx.field(static=True, default=1000)
    until: int | None = eqx.field(static=True, default=None)
    fraction: float = 0.3

    def growth(self, network: Any, objective: Objective, key: PRNGKeyArray) -> Any:
        del key
        # What is not used is zero, so that the objective without masks is that with them.
        return nn.magnitude(jax.grad(objective)(network))


def last_decision(rule: AbstractRule, steps: int) -> int:
    """The step after which masks stay, of a training of so many steps."""
    return steps // 5 if rule.until is None else rule.until


def decides(rule: AbstractRule, step: Int[Array, ""], steps: int) -> Bool[Array, ""]:
    """Whether masks are decided anew at a step, of a training of so many."""
    assert rule.every is not None
    return (step % rule.every == 0) & (step > 0) & (step <= last_decision(rule, steps))
