"""Axes of arrays that stand or fall together."""

from collections.abc import Iterable, Sequence


class Dim:
    """A range of indices that several axes share; it may be split in two, the slower part first.

    ``fixed`` says why no index of it can go, if so.
    """

    def __init__(self, size: int, fixed: str | None = None):
        self.size, self.fixed = size, fixed
        self._same: Dim | None = None
        self._parts: tuple[()] | tuple[Dim, Dim] = ()

    def resolve(self) -> "tuple[Dim, ...]":
        """What it consists of by now; equal dims are one object."""
        if self._same is not None:
            return self._same.resolve()
        return expand(self._parts) if self._parts else (self,)

    def fix(self, why: str) -> None:
        self.fixed = self.fixed or why

    def split(self, lead: int) -> "tuple[Dim, Dim]":
        self._parts = (Dim(lead, self.fixed), Dim(self.size // lead, self.fixed))
        return self._parts

    def join(self, other: "Dim") -> None:
        other.fixed = other.fixed or self.fixed
        self._same = other


Factors = tuple[Dim, ...]  # of one axis; none where its size is 1
Axes = tuple[Factors, ...]


def expand(factors: Iterable[Dim]) -> Factors:
    """Every factor with its parts."""
    return tuple(part for factor in factors for part in factor.resolve())


def fix(factors: Iterable[Dim], why: str) -> None:
    """Of these no index can go."""
    for dim in expand(factors):
        dim.fix(why)


def new_axes(shape: Sequence[int], fixed: str | None = None) -> Axes:
    """Axes that have nothing to do with others so far."""
    return tuple((Dim(n, fixed),) if n != 1 else () for n in shape)


def unify(first: Factors, second: Factors) -> None:
    """Two axes run in step from here on."""
    left, right = list(expand(first)), list(expand(second))
    while left and right:
        a, b = left[0], right[0]
        if a.size == b.size:
            if a is not b:
                a.join(b)
            left.pop(0)
            right.pop(0)
            # What has been joined may stand in the rest, too.
            left, right = list(expand(left)), list(expand(right))
        elif a.size % b.size == 0 and b.size > 1:
            left[:1] = a.split(b.size)
        elif b.size % a.size == 0 and a.size > 1:
            right[:1] = b.split(a.size)
        else:
            fix(left + right, "cut in ways that do not fit")
            return


def regroup(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of a reshaped array."""
    flat = list(expand(factor for axis in axes for factor in axis))
    groups = []
    for size in shape:
        group = []
        while size > 1 and flat:
            dim = flat[0]
            if size % dim.size == 0:
                group.append(flat.pop(0))
                size //= dim.size
            elif dim.size % size == 0:
                # A dim may occur twice, as in an outer product with itself.
                dim.split(size)
                flat, group = list(expand(flat)), list(expand(group))
            else:
                break
        if size > 1:
            fix((f for axis in axes for f in axis), "reshaped in a way that cuts across")
            return new_axes(shape, "the result of a reshape")
        groups.append(tuple(group))
    return tuple(groups)
