"""The operators that ``Analysis`` is most often used with."""

from typing import Any

import numpy as np

from ..designs import AbstractDesign, GridDifferences, as_design


def difference_operator(shape: tuple[int, ...]) -> AbstractDesign:
    """Differences of neighbours along every axis of a grid: anisotropic total variation.

    Parameters
    ----------
    shape
        Of the grid; the coefficients are its cells in C order. ``(p,)`` is a chain.

    Returns
    -------
    AbstractDesign
        D, with a row for every pair of neighbours and a column for every cell.

    Raises
    ------
    ValueError
        If the grid has no two neighbours, or a side below one.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.difference_operator((2, 2)).matvec(jnp.array([0.0, 1.0, 2.0, 4.0])).tolist()
    [2.0, 3.0, 1.0, 2.0]

    Notes
    -----
    Rudin, Osher & Fatemi (1992), whose isotropic total variation is that of the same D with
    ``difference_groups``.
    """
    return GridDifferences(_grid(shape))


def difference_groups(shape: tuple[int, ...]) -> np.ndarray:
    """The rows of ``difference_operator`` that begin at one cell: isotropic total variation.

    Parameters
    ----------
    shape
        Of the grid, as for ``difference_operator``.

    Returns
    -------
    ndarray
        Integer labels, one a row; cells from which no row begins have none.

    Raises
    ------
    ValueError
        If the grid has no two neighbours, or a side below one.

    Examples
    --------
    >>> import sparsejax as sj
    >>> sj.penalties.difference_groups((2, 2)).tolist()
    [0, 1, 0, 2]
    """
    return np.unique(_neighbours(shape)[:, 0], return_inverse=True)[1]


def _grid(shape: tuple[int, ...]) -> tuple[int, ...]:
    sides = tuple(int(side) for side in shape)
    if not sides or min(sides) < 1 or max(sides) < 2:
        raise ValueError(f"`shape` must be a grid of at least two cells; got {shape}.")
    return sides


def _neighbours(shape: tuple[int, ...]) -> np.ndarray:
    """Pairs of neighbouring cells, (m, 2), along one axis after the other."""
    sides = _grid(shape)
    cells = np.arange(np.prod(sides)).reshape(sides)
    pairs = []
    for axis, side in enumerate(sides):
        begin, end = (np.take(cells, range(i, side - 1 + i), axis) for i in (0, 1))
        pairs.append(np.stack([begin.reshape(-1), end.reshape(-1)], axis=1))
    return np.concatenate(pairs)


def trend_operator(num_features: int, order: int = 1) -> AbstractDesign:
    """Differences of order ``order + 1`` along a chain: piecewise polynomials of that order.

    Parameters
    ----------
    num_features
        Length of the chain, at least ``order + 2``.
    order
        Of the polynomial pieces: 0 is total variation, 1 piecewise linear, 2 quadratic.

    Returns
    -------
    AbstractDesign
        D, (num_features − order − 1, num_features).

    Raises
    ------
    ValueError
        If ``order`` is negative or the chain too short.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.trend_operator(4).matvec(jnp.array([0.0, 1.0, 2.0, 5.0])).tolist()
    [0.0, 2.0]

    Notes
    -----
    Kim, Koh, Boyd & Gorinevsky, ℓ1 trend filtering (2009); Tibshirani (2014).
    """
    if order < 0:
        raise ValueError(f"`order` must be nonnegative; got {order}.")
    if num_features < order + 2:
        raise ValueError(f"`num_features` must be at least order + 2; got {num_features}.")
    import scipy.sparse  # not by all who import penalties

    matrix = scipy.sparse.csr_array(scipy.sparse.eye_array(num_features))
    for _ in range(order + 1):
        matrix = matrix[1:] - matrix[:-1]
    return as_design(matrix)


def incidence_operator(edges: Any, num_features: int | None = None) -> AbstractDesign:
    """Differences across the edges of a graph: w_j − w_i for the edge (i, j).

    Parameters
    ----------
    edges
        (m, 2) integers, pairs of different nodes.
    num_features
        How many nodes there are; by default up to the largest named.

    Returns
    -------
    AbstractDesign
        D, (m, num_features).

    Raises
    ------
    ValueError
        If the edges are no pairs of different nodes among those there are.
    TypeError
        If they are no integers.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> graph = sj.penalties.incidence_operator([(0, 1), (0, 2)])
    >>> graph.matvec(jnp.array([1.0, 3.0, 7.0])).tolist()
    [2.0, 6.0]

    Notes
    -----
    Wang, Sharpnack, Smola & Tibshirani, Trend filtering on graphs (2016).
    """
    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.shape[1] != 2 or not len(edges):
        raise ValueError(f"`edges` must be pairs of nodes, (m, 2); got shape {edges.shape}.")
    if not np.issubdtype(edges.dtype, np.integer):
        raise TypeError(f"`edges` must be integers; got {edges.dtype}.")
    num_features = int(edges.max()) + 1 if num_features is None else num_features
    if edges.min() < 0 or edges.max() >= num_features or np.any(edges[:, 0] == edges[:, 1]):
        raise ValueError(f"`edges` must join different nodes among the {num_features} there are.")
    import scipy.sparse  # not by all who import penalties

    m = len(edges)
    rows, signs = np.repeat(np.arange(m), 2), np.tile([-1.0, 1.0], m)
    shape = (m, num_features)
    return as_design(scipy.sparse.csr_array((signs, (rows, edges.reshape(-1))), shape=shape))
