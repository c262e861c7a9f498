"""Networks from their sizes, what they cost, and where their filters are."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ...nn import count_macs
from ._ds_tdnn import DSTDNN, DSConfig
from ._dynamic_filter import DynamicFilter
from ._ecapa import ECAPA, ECAPAConfig
from ._global_filter import GlobalFilter

Network = DSTDNN | ECAPA
Config = DSConfig | ECAPAConfig


def make(config: Config, key: PRNGKeyArray) -> tuple[Network, eqx.nn.State]:
    """A network with random weights, and the state of its norms.

    Parameters
    ----------
    config
        A ``DSConfig`` or an ``ECAPAConfig``: ``DS_S``, ``DS_B``, ``DS_L``, ``ECAPA_512``,
        ``ECAPA_1024``, ``ECAPA_L`` are those of the paper.
    key
        Of the random weights.

    Returns
    -------
    model, state

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> def embedded(key, features):
    ...     model, state = speaker.make(speaker.DS_S, key)
    ...     return eqx.nn.inference_mode(model)(features, state)[0]
    >>> eqx.filter_eval_shape(embedded, jax.random.key(0), jnp.ones((80, 150))).shape
    (192,)
    """
    kind = DSTDNN if isinstance(config, DSConfig) else ECAPA
    return eqx.nn.make_with_state(kind)(config, key)  # type: ignore[arg-type]


def filters(model: Any) -> list[Array]:
    """The filters of all global blocks: a ``where`` for penalties and masks.

    Parameters
    ----------
    model
        Any module with ``GlobalFilter`` or ``DynamicFilter`` layers.

    Examples
    --------
    >>> import equinox as eqx, jax
    >>> from sparsejax.applications import speaker
    >>> model, _ = eqx.filter_eval_shape(speaker.make, speaker.DS_S, jax.random.key(0))
    >>> [weight.shape for weight in speaker.filters(model)]
    [(4, 256, 101, 2), (4, 256, 101, 2), (8, 256, 101, 2)]
    """
    is_filter = lambda node: isinstance(node, GlobalFilter | DynamicFilter)  # noqa: E731
    nodes = jax.tree.leaves(model, is_leaf=is_filter)
    return [node.weight for node in nodes if is_filter(node)]


def macs_per_frame(config: Config) -> int:
    """Multiply–accumulates that one more frame costs; no weights are made.

    ``nn.count_macs`` counts products and convolutions. Fourier transforms are neither, and are not
    counted, here or in the paper: by the usual 2.5·T·log₂T operations of a real transform, the two
    of each global block and the product of spectra between them come to about 45 operations a
    channel and frame, less than 1 % of DS-TDNN-B. What an utterance of any length costs once
    (squeeze-excite, the mixing of filters, the last layer) is not counted either.

    Parameters
    ----------
    config
        As of ``make``.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> speaker.macs_per_frame(speaker.DS_B)
    10227712
    """
    model, state = eqx.filter_eval_shape(make, config, jax.random.key(0))
    model = eqx.nn.inference_mode(model)

    def macs(frames: int) -> int:
        example = jax.ShapeDtypeStruct((config.bins, frames), jnp.float32)
        return count_macs(lambda model, x, state: model(x, state)[0], model, example, state)

    return macs(201) - macs(200)
