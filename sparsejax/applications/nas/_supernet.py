"""A network of cells that holds every operation on every edge."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer
from ._operations import NORMALISED, OPERATIONS, Conv, Node, he_normal, neighbours, normalised
from ._space import Space


class Cell(eqx.Module):
    """Every operation on every edge, weighted."""

    operations: list[dict[str, Any]]  # by source, then by name: of all edges that leave it
    space: Space = eqx.field(static=True)

    def __init__(self, space: Space, width: int, axes: int, key: PRNGKeyArray):
        self.space = space
        self.operations = []
        for source, leaving in enumerate(space.leaving):
            keys = jax.random.split(jax.random.fold_in(key, source), len(space.operations))
            self.operations.append(
                {
                    name: OPERATIONS[name](leaving.size, width, axes, k)
                    for name, k in zip(space.operations, keys, strict=True)
                }
            )

    def __call__(
        self, inputs: list[Node], weights: list[Float[Array, "edges operations"]], key: PRNGKeyArray
    ) -> Node:
        """The weights are those of the edges that leave a node, by source."""
        space, computed = self.space, []
        shape = *inputs[0].shape[:-1], space.nodes, inputs[0].shape[-1]
        sums = jnp.zeros(shape, inputs[0].dtype)  # of the nodes that are still to come
        for source, of_edges in enumerate(weights):
            if source < space.inputs:
                node = inputs[source]
            else:
                node, sums = sums[..., 0, :], sums[..., 1:, :]
                computed.append(node)
            sums = sums + self._mixed(source, node, of_edges, jax.random.fold_in(key, source))
        last = sums[..., 0, :]
        return last if space.inputs == 1 else sum(computed, last) / space.nodes

    def _mixed(
        self, source: int, node: Node, weights: Float[Array, "edges operations"], key: PRNGKeyArray
    ) -> Float[Array, "*places edges channels"]:
        """What the edges that leave a node make of it."""
        total, to_normalise, their_weights = jnp.zeros((), node.dtype), [], []
        for i, name in enumerate(self.space.operations):
            made = self.operations[source][name](node, key)
            if name in NORMALISED:
                to_normalise.append(made)
                their_weights.append(weights[:, i, None])
            else:
                total = total + made * weights[:, i, None]
        if to_normalise:  # together: half as much to compile
            made = normalised(jnp.concatenate(to_normalise, axis=-2))
            made = made * jnp.concatenate(their_weights)
            each = made.reshape(*node.shape[:-1], len(to_normalise), len(weights), -1)
            total = total + jnp.sum(each, axis=-3)
        return total


class _Halving(eqx.Module):
    """Half the places, twice the channels: means of two along each axis, then a convolution."""

    conv: Conv

    def __init__(self, width: int, axes: int, key: PRNGKeyArray):
        self.conv = Conv(1, width, axes, key, taps=1, outer=2 * width)

    def __call__(self, x: Node, key: PRNGKeyArray) -> Node:
        for axis in range(x.ndim - 1):
            half = x.shape[axis] // 2
            pairs = jax.lax.slice_in_dim(x, 0, 2 * half, axis=axis)
            pairs = pairs.reshape(*x.shape[:axis], half, 2, *x.shape[axis + 1 :])
            x = jnp.mean(pairs, axis=axis + 1)
        return normalised(self.conv(x, key))[..., 0, :]


class Supernet(eqx.Module):
    """A classifier of signals or images: a convolution, cells with halvings between, a mean.

    All cells share the weights of operations. With one operation of weight one on every edge, it
    computes what the network with these operations alone does.

    Parameters
    ----------
    space
        Of the cells.
    shape
        Of one sample: (channels, length) or (channels, height, width).
    classes
        How many.
    key
        Of the random weights.
    width
        Channels in the first cell.
    depth
        How many cells; places halve and channels double between them.

    Raises
    ------
    ValueError
        If a size is not positive, or ``shape`` has not two or three entries, or a side is halved
        to nothing.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> space = nas.SPACES["small"]
    >>> net = nas.Supernet(space, (1, 40), 10, jax.random.key(0), width=4)
    >>> weights = nas.relaxations.Softmax().weights(jnp.zeros(space.shape), space)
    >>> eqx.filter_eval_shape(net, jnp.zeros((1, 40)), weights).shape
    (10,)
    """

    stem: Float[Array, "inner 1 width"]
    cells: list[Cell]
    halvings: list[list[_Halving]]
    classifier: eqx.nn.Linear
    space: Space = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        space: Space,
        shape: tuple[int, ...],
        classes: int,
        key: PRNGKeyArray,
        *,
        width: int = 8,
        depth: int = 2,
    ):
        for name, size in (("classes", classes), ("width", width), ("depth", depth)):
            check_integer(name, size)
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(
                "`shape` must be (channels, length) or (channels, height, width); got "
                f"{tuple(shape)}."
            )
        if min(shape[1:]) >> (depth - 1) == 0:
            raise ValueError(f"`depth` = {depth} would halve {min(shape[1:])} places to none.")
        axes = len(shape) - 1
        first, last, key = jax.random.split(key, 3)
        keys = jax.random.split(key, (depth, 1 + space.inputs))
        widths = [width << i for i in range(depth)]
        self.stem = he_normal(first, (3**axes * shape[0], 1, width))
        self.cells = [Cell(space, w, axes, k[0]) for w, k in zip(widths, keys, strict=True)]
        self.halvings = [
            [_Halving(w, axes, k) for k in ks[1:]]
            for w, ks in zip(widths[:-1], keys[:-1], strict=True)
        ]
        self.classifier = eqx.nn.Linear(widths[-1], classes, key=last)
        self.space, self.shape = space, tuple(shape)

    def __call__(
        self,
        x: Float[Array, "channels *places"],
        weights: Float[Array, "edges operations"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, " classes"]:
        """Logits of one sample; the key is that of noise, which differs between samples anyway."""
        if x.shape != self.shape:
            raise ValueError(f"`x` must have shape {self.shape}; got {x.shape}.")
        bits = jax.lax.bitcast_convert_type(jnp.sum(x).astype(jnp.float32), jnp.uint32)
        key = jax.random.fold_in(jax.random.key(0) if key is None else key, bits)
        x = jnp.concatenate(neighbours(jnp.moveaxis(x, 0, -1)), axis=-1)
        x = normalised(jnp.tensordot(x, self.stem, 1))[..., 0, :]
        leaving = self.space.leaving
        by_source = weights[np.concatenate(leaving)]
        split = np.cumsum([edges.size for edges in leaving])[:-1].tolist()
        of_edges = jnp.split(by_source, split)
        inputs = [x] * self.space.inputs
        for i, cell in enumerate(self.cells):
            inputs = [*inputs[1:], cell(inputs, of_edges, jax.random.fold_in(key, i))]
            if i < len(self.halvings):
                inputs = [halve(x, key) for halve, x in zip(self.halvings[i], inputs, strict=True)]
        last = jax.nn.relu(normalised(inputs[-1][..., None, :]))
        return self.classifier(jnp.mean(last, axis=tuple(range(last.ndim - 1))))
