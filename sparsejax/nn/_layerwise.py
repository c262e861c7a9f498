"""Pruning a network block after block, each by what the pruned ones before it pass on."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import as_inexact
from .._checks import check_finite
from ._leaves import named_leaves, replace_leaves
from ._methods import Method, as_method
from ._pattern import AbstractPattern, checked_pattern
from ._sparsegpt import sparsegpt
from ._statistics import InputStatistics
from ._taps import linear_layers, record
from ._wanda import wanda

Data = Literal["SD", "DD", "KD"]
_WITHOUT_TARGETS = ("magnitude", "wanda", "sparsegpt", wanda, sparsegpt)


class LayerwiseResult(eqx.Module):
    """Blocks that have been pruned, in order; also what an interrupted run goes on from.

    Attributes
    ----------
    blocks
        With exact zeros.
    masks
        For each block a pytree of its shape, for ``apply_masks``.
    errors
        For each block, by the name of its linear layers, the part of the squared norm of their
        outputs that is lost (``output_error``) on held-out inputs, or on the calibration inputs
        where none are held out.
    """

    blocks: tuple[Any, ...]
    masks: tuple[Any, ...]
    errors: tuple[dict[str, Float[Array, ""]], ...]

    @classmethod
    def like(cls, blocks: Sequence[Any]) -> "LayerwiseResult":
        """A result of the same shape for ``equinox.tree_deserialise_leaves`` to fill in.

        Parameters
        ----------
        blocks
            Those that had been pruned when the result was saved.
        """
        masks, errors = [], []
        for block in blocks:
            weights = {name: layer.weight for name, layer in linear_layers(block).items()}
            masks.append(
                _masks_like(block, {n: jnp.ones(w.shape, bool) for n, w in weights.items()})
            )
            dtypes = {n: jnp.promote_types(w.dtype, jnp.float32) for n, w in weights.items()}
            errors.append({name: jnp.zeros((), dtype) for name, dtype in dtypes.items()})
        return cls(tuple(blocks), tuple(masks), tuple(errors))


def prune_layerwise(
    blocks: Sequence[Any],
    inputs: Float[Array, "samples ..."],
    method: str | Method,
    pattern: AbstractPattern,
    *,
    data: Data = "SD",
    held_out: Float[Array, "samples ..."] | None = None,
    chunk: int = 8,
    resume: LayerwiseResult | None = None,
    callback: Callable[[LayerwiseResult], None] | None = None,
) -> LayerwiseResult:
    """Prune all linear layers of a sequence of blocks, without training.

    Of each block, all layers see their inputs in one forward pass before any is pruned; then all
    are, and the pruned block computes the inputs of the next.

    Parameters
    ----------
    blocks
        Modules that map one sample's activations to the next block's. Every ``eqx.nn.Linear``
        inside is pruned, however it is called, except in loops (``jax.lax.scan``).
    inputs
        (samples, ...): the first block's inputs, for calibration.
    method
        ``"magnitude"``, ``"wanda"``, ``"sparsegpt"`` or ``"sds"``; or a function of the weight,
        the ``InputStatistics`` and the pattern that returns weight and mask, such as
        ``Refitted("sparsegpt")``.
    pattern
        For every layer.
    data
        What a layer is calibrated on: ``"SD"``, the inputs that the pruned blocks before it pass
        on; ``"DD"``, those of the dense model; ``"KD"``, the former, to reproduce what the dense
        model makes of the latter (``"sds"`` and ``Refitted``; or a function of the user's, by
        ``InputStatistics.cross``).
    held_out
        (samples, ...): inputs that are not calibrated on, for the errors; whatever ``data`` is,
        pruned blocks pass them on.
    chunk
        How many samples go through a block at a time.
    resume
        What an interrupted run with the same arguments had finished; it ends in the same bits.
    callback
        Called with the result so far after every block: to save it, or to show progress.

    Returns
    -------
    result

    Raises
    ------
    ValueError
        If the inputs do not fit a layer, a shape does not fit the pattern or a layer is called in
        a loop; the message names the layer.
    TypeError
        If ``pattern`` or ``method`` is none.

    Examples
    --------
    >>> import equinox as eqx, jax, sparsejax as sj
    >>> blocks = [eqx.nn.MLP(8, 8, 16, 1, key=jax.random.key(i)) for i in range(2)]
    >>> inputs = jax.random.normal(jax.random.key(2), (32, 8))
    >>> result = sj.nn.prune_layerwise(blocks, inputs, "sparsegpt", sj.nn.NM(2, 4))
    >>> sorted(result.errors[1])
    ['layers.0', 'layers.1']
    >>> round(sj.nn.sparsity_report(result.blocks[0]).leaves["layers.0.weight"].sparsity, 2)
    0.5

    Notes
    -----
    The pipeline of SparseGPT (Frantar & Alistarh, 2023) and Wanda (Sun et al., 2024); ``data`` as
    in SDS (Li et al., 2024).
    """
    if data not in get_args(Data):
        raise ValueError(f"`data` must be 'SD', 'DD' or 'KD'; got {data!r}.")
    if data == "KD" and method in _WITHOUT_TARGETS:
        raise ValueError(f"`data`: {method!r} has no targets, which 'KD' is about.")
    method, pattern = as_method(method), checked_pattern(pattern)
    for i, block in enumerate(blocks):
        for name, layer in linear_layers(block).items():
            pattern.check(f"blocks[{i}].{name}.weight", layer.weight.shape)
    sparse = dense = _checked(inputs, "inputs")
    other = None if held_out is None else _checked(held_out, "held_out")
    result = _checked_resume(resume, blocks)

    def advance(i: int) -> None:
        nonlocal sparse, dense, other
        if data != "DD":
            sparse = _advance(result.blocks[i], sparse, chunk)
        if data != "SD":
            dense = _advance(blocks[i], dense, chunk)
        if other is not None:
            other = _advance(result.blocks[i], other, chunk)

    for i in range(len(result.blocks)):
        advance(i)
    for i in range(len(result.blocks), len(blocks)):
        seen = dense if data == "DD" else sparse
        statistics = _observe(blocks[i], seen, chunk, dense if data == "KD" else None)
        judged = statistics if other is None else _observe(blocks[i], other, chunk)
        block, masks, errors = _prune(blocks[i], method, pattern, statistics, judged)
        result = LayerwiseResult(
            (*result.blocks, block), (*result.masks, masks), (*result.errors, errors)
        )
        if callback is not None:
            callback(result)
        if i + 1 < len(blocks):
            advance(i)
    return result


@jax.jit
def output_error(
    W: Float[Array, "out in"], W0: Float[Array, "out in"], H: Float[Array, "in in"]
) -> Float[Array, ""]:
    """‖(W − W0)X‖² / ‖W0 X‖²: the part of the outputs' squared norm that is lost.

    Parameters
    ----------
    W, W0
        (out, in): pruned and dense.
    H
        (in, in) Gram matrix X Xᵀ of the inputs, on any scale.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.nn.output_error(jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 2.0]]), jnp.eye(2)))
    0.2
    """
    change = W.astype(H.dtype) - W0.astype(H.dtype)
    lost = jnp.sum((change @ H) * change)
    total = jnp.sum((W0 @ H) * W0)
    return jnp.where(total > 0, lost / jnp.where(total > 0, total, 1.0), 0.0)


def _checked(inputs: Any, name: str) -> Float[Array, "samples ..."]:
    inputs = as_inexact(inputs, name)
    if inputs.ndim < 2 or not inputs.shape[0]:
        raise ValueError(f"`{name}` must be (samples, ...); got shape {inputs.shape}.")
    check_finite(name, inputs)
    return inputs


def _checked_resume(resume: LayerwiseResult | None, blocks: Sequence[Any]) -> LayerwiseResult:
    if resume is None:
        return LayerwiseResult((), (), ())
    done = len(resume.blocks)
    if done > len(blocks):
        raise ValueError(f"`resume` has {done} blocks; there are only {len(blocks)}.")
    shapes = lambda block: {  # noqa: E731
        name: leaf.shape for name, leaf in named_leaves(block).items() if eqx.is_array(leaf)
    }
    for i, (block, pruned) in enumerate(zip(blocks, resume.blocks, strict=False)):
        if shapes(block) != shapes(pruned):
            raise ValueError(f"`resume` does not come from these blocks: blocks[{i}] differs.")
    return resume


def _chunks(inputs: Float[Array, "samples ..."], size: int) -> Iterator[Array]:
    for first in range(0, inputs.shape[0], size):
        yield inputs[first : first + size]


def _advance(block: Any, inputs: Float[Array, "samples ..."], chunk: int) -> Array:
    """What the block passes on."""
    return jnp.concatenate([_forward(block, part) for part in _chunks(inputs, chunk)])


@eqx.filter_jit
def _forward(block: Any, inputs: Float[Array, "samples ..."]) -> Array:
    return jax.vmap(block)(inputs)


def _observe(
    block: Any,
    inputs: Float[Array, "samples ..."],
    chunk: int,
    dense: Float[Array, "samples ..."] | None = None,
) -> dict[str, InputStatistics]:
    """What the linear layers of the block are given, beside the dense model's if that is there."""
    statistics = {
        name: InputStatistics.zeros(layer.weight.shape[1], inputs.dtype, paired=dense is not None)
        for name, layer in linear_layers(block).items()
    }
    others = itertools.repeat(None) if dense is None else _chunks(dense, chunk)
    for part, other in zip(_chunks(inputs, chunk), others, strict=False):
        statistics = _add(block, part, other, statistics)
    return statistics


@eqx.filter_jit
def _add(
    block: Any,
    inputs: Float[Array, "samples ..."],
    dense: Float[Array, "samples ..."] | None,
    statistics: dict[str, InputStatistics],
) -> dict[str, InputStatistics]:
    statistics = dict(statistics)
    seen = record(block, inputs)[1]
    others = {} if dense is None else record(block, dense)[1]
    for name, calls in seen.items():
        for vectors, other in zip(calls, others.get(name, [None] * len(calls)), strict=True):
            statistics[name] = statistics[name].update(vectors, other)
    return statistics


def _prune(
    block: Any,
    method: Method,
    pattern: AbstractPattern,
    statistics: dict[str, InputStatistics],
    held_out: dict[str, InputStatistics],
) -> tuple[Any, Any, dict[str, Array]]:
    """The pruned block, its masks and the errors of its layers."""
    leaves, masks, errors = named_leaves(block), {}, {}
    for name, layer in linear_layers(block).items():
        weight, masks[name] = method(layer.weight, statistics[name], pattern)
        errors[name] = output_error(weight, layer.weight, held_out[name].gram)
        leaves[_weight_of(name)] = weight.astype(layer.weight.dtype)
    return replace_leaves(block, leaves), _masks_like(block, masks), errors


def _weight_of(name: str) -> str:
    return f"{name}.weight" if name else "weight"


def _masks_like(block: Any, masks: dict[str, Array]) -> Any:
    """Masks by the names of layers, in the block's shape."""
    leaves = dict.fromkeys(named_leaves(block))
    return replace_leaves(block, leaves | {_weight_of(n): mask for n, mask in masks.items()})
