"""What a cell may be: its nodes, and the operations between them."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from .._sizes import check_sizes
from ._operations import OPERATIONS


@dataclasses.dataclass(frozen=True)
class Space:
    """All cells of one shape.

    A cell is a graph: some nodes are given, each later one is the sum over all earlier nodes of
    what an operation makes of them. With one input the cell returns its last node (as in
    NAS-Bench-201), with two the mean of all that it computes; the inputs are then the outputs of
    the two cells before (as in DARTS, which concatenates).

    Attributes
    ----------
    name
        For messages and reports.
    operations
        Names out of ``OPERATIONS``.
    nodes
        How many are computed.
    inputs
        How many are given: 1 or 2.
    keep
        Into how many edges of every node an operation goes when a cell is made discrete; None
        for all of them.
    choices
        For every edge the names it may choose from; None for all of them.

    Raises
    ------
    ValueError
        For sizes or names that do not fit.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> space = nas.Space("small", ("none", "skip", "conv3"), nodes=2)
    >>> space.edges
    ((0, 1), (0, 2), (1, 2))
    >>> nas.SPACES["nas-bench-201"].operations
    ('none', 'skip', 'conv1', 'conv3', 'avgpool')
    """

    name: str
    operations: tuple[str, ...]
    nodes: int = 3
    inputs: int = 1
    keep: int | None = None
    choices: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.inputs > 2:
            raise ValueError(f"`inputs` must be 1 or 2; got {self.inputs}.")
        if self.keep is not None and self.keep < 1:
            raise ValueError(f"`keep` must be positive or None; got {self.keep}.")
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown or len(set(self.operations)) != len(self.operations) or not self.operations:
            raise ValueError(
                f"`operations` must be different ones of {', '.join(OPERATIONS)}; got "
                f"{self.operations}."
            )
        if self.choices is None:
            return
        if len(self.choices) != len(self.edges):
            raise ValueError(
                f"`choices` must have an entry for each of {len(self.edges)} edges; got "
                f"{len(self.choices)}."
            )
        for edge, names in zip(self.edges, self.choices, strict=True):
            if not names or not set(names) <= set(self.operations):
                raise ValueError(
                    f"`choices` of edge {edge} must be some of `operations`; got {names}."
                )

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(source, target) of every edge; nodes are numbered from the inputs on."""
        return tuple(
            (source, target)
            for target in range(self.inputs, self.inputs + self.nodes)
            for source in range(target)
        )

    @property
    def entering(self) -> list[Int[np.ndarray, " edges"]]:
        """For every computed node the edges that end there, by their place among all."""
        targets = np.array([target for _, target in self.edges])
        return [np.flatnonzero(targets == self.inputs + node) for node in range(self.nodes)]

    @property
    def leaving(self) -> list[Int[np.ndarray, " edges"]]:
        """For every node but the last the edges that begin there."""
        sources = np.array([source for source, _ in self.edges])
        return [np.flatnonzero(sources == node) for node in range(self.inputs + self.nodes - 1)]

    @property
    def shape(self) -> tuple[int, int]:
        """Edges and operations: that of every array of weights."""
        return len(self.edges), len(self.operations)

    @property
    def mask(self) -> Bool[np.ndarray, "edges operations"]:
        """True for the operations that an edge may choose."""
        names = self.choices or (self.operations,) * len(self.edges)
        return np.array([[op in chosen for op in self.operations] for chosen in names])


def _s1() -> Space:
    """Two operations an edge, different ones."""
    pairs = ("skip", "sep3"), ("maxpool", "dil3"), ("skip", "dil3"), ("avgpool", "sep3")
    operations = "skip", "avgpool", "maxpool", "sep3", "dil3"
    edges = Space("s1", operations, inputs=2, keep=2).edges
    choices = tuple(pairs[i % len(pairs)] for i in range(len(edges)))
    return Space("s1", operations, inputs=2, keep=2, choices=choices)


SPACES = {
    space.name: space
    for space in (
        Space("nas-bench-201", ("none", "skip", "conv1", "conv3", "avgpool")),
        Space("skip-or-conv", ("skip", "conv3")),
        Space("small", ("none", "skip", "conv3"), nodes=2),
        _s1(),
        Space("s2", ("skip", "sep3"), inputs=2, keep=2),
        Space("s3", ("none", "skip", "sep3"), inputs=2, keep=2),
        Space("s4", ("noise", "sep3"), inputs=2, keep=2),
    )
}
