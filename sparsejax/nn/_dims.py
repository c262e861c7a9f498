"""Axes of arrays that stand or fall together."""

from collections.abc import Iterable, Sequence


class Dim:
    """A range of indices that several axes share.

    It may be split in two of which it is the product, the slower part first, or consist of
    segments one after the other. ``fixed`` says why no index of it can go, if so.
    """

    def __init__(self, size: int, fixed: str | None = None):
        self.size, self.fixed = size, fixed
        self._same: Dim | None = None
        self._parts: tuple[()] | tuple[Dim, Dim] = ()
        self._segments: tuple[Dim, ...] = ()
        self._is_segment = False

    def resolve(self) -> "tuple[Dim, ...]":
        """What it consists of by now; equal dims are one object."""
        if self._same is not None:
            return self._same.resolve()
        return expand(self._parts) if self._parts else (self,)

    def segments(self) -> "tuple[Dim, ...]":
        """The smallest ranges it consists of by now, itself if it has none."""
        if self._same is not None:
            return self._same.segments()
        return segments(self._segments) if self._segments else (self,)

    def fix(self, why: str) -> None:
        for dim in (self, *self.segments()):
            dim.fixed = dim.fixed or why

    def can_split(self, lead: int) -> bool:
        return self.size % lead == 0 and not self._segments and not self._is_segment

    def split(self, lead: int) -> "tuple[Dim, Dim]":
        self._parts = (Dim(lead, self.fixed), Dim(self.size // lead, self.fixed))
        return self._parts

    def cut(self, *sizes: int) -> "tuple[Dim, ...]":
        """Into segments."""
        return self.consist_of([Dim(size, self.fixed) for size in sizes])

    def consist_of(self, found: "Iterable[Dim]") -> "tuple[Dim, ...]":
        self._segments = tuple(found)
        for segment in self._segments:
            segment._is_segment = True
        return self._segments

    def join(self, other: "Dim") -> None:
        if self.fixed:
            other.fix(self.fixed)
        other._is_segment |= self._is_segment
        self._same = other


Factors = tuple[Dim, ...]  # of one axis; none where its size is 1
Axes = tuple[Factors, ...]


def expand(factors: Iterable[Dim]) -> Factors:
    """Every factor with its parts."""
    return tuple(part for factor in factors for part in factor.resolve())


def segments(factors: Iterable[Dim]) -> Factors:
    """The smallest ranges of every factor."""
    return tuple(part for factor in factors for part in factor.segments())


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
            _match(a, b)
            left.pop(0)
            right.pop(0)
            # What has been joined may stand in the rest, too.
            left, right = list(expand(left)), list(expand(right))
        elif b.size > 1 and a.can_split(b.size):
            left[:1] = a.split(b.size)
        elif a.size > 1 and b.can_split(a.size):
            right[:1] = b.split(a.size)
        else:
            fix(left + right, "cut in ways that do not fit")
            return


def _match(first: Dim, second: Dim) -> None:
    """Two factors of equal size run in step, segment by segment if both have some."""
    left, right = first.segments(), second.segments()
    while left and right:
        a, b = left[0], right[0]
        if a.size > b.size:
            a.cut(b.size, a.size - b.size)
        elif b.size > a.size:
            b.cut(a.size, b.size - a.size)
        else:
            if a is not b:
                a.join(b)
            left, right = left[1:], right[1:]
        left, right = segments(left), segments(right)


def joined(axes: Sequence[Factors], sizes: Sequence[int]) -> Factors:
    """An axis that consists of others, one after the other, of which those of one index stay."""
    found = []
    for axis, size in zip(map(expand, axes), sizes, strict=True):
        if len(axis) > 1:
            fix(axis, "joined to others although it has parts")
        if size:
            found.append(axis[0] if len(axis) == 1 else Dim(size, "joined to other channels"))
    whole = Dim(sum(sizes))
    whole.consist_of(found)
    return (whole,)


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
            elif dim.can_split(size):
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
