"""The quadratic problem on a few features that every working set comes down to."""

import abc
import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import smaller_gap
from .._problem import Problem
from ..penalties import AbstractConcavePenalty
from ..penalties._base import per_row
from ..penalties._block_matrix import BlockMatrix
from ..penalties._groups import ratio
from ._curvature import AbstractCurvature, positive_solve

MANY = 1024  # features whose factorisation takes longer than all else


class GramProblem(eqx.Module):
    """min over b of (b − b₀)ᵀG(b − b₀)/2 − cᵀ(b − b₀) + g(b/scale).

    G = diag(1/scale)·curvature·diag(1/scale): features are measured in units in which G has a unit
    diagonal (b = scale·w), so that columns twelve decades apart are alike. Everything is relative
    to the start b₀, whose pull c is exact: an error in G is then multiplied by how far b moves,
    and repeated solves refine each other.

    Shapes are static but the number of features is not: only the leading block of width
    ``widths[choice]`` of ``curvature`` holds the problem. Vectors are cheap at full length k, so
    just the products and factorisations below branch on the width, and the solver compiles once.
    """

    curvature: AbstractCurvature
    pull: Float[Array, "k ..."]
    start_coef: Float[Array, "k ..."]
    scale: Float[Array, " k"]
    penalty: Any  # separable, and whatever else the solver's `check` has asked for
    residual: Float[Array, ""]  # Σ h (y − z)² at the start: what the data term of the gap needs
    size: Float[Array, " k"]  # that the rounding of the pull is relative to
    choice: Int[Array, ""]
    widths: tuple[int, ...] = eqx.field(static=True)
    enough: Float[Array, ""] | float = 0.0  # gap from which on only cheap digits are wanted

    def moved_to(self, coef: Float[Array, " k"]) -> "GramProblem":
        """The same problem told from another start."""
        moved = self.scale * (coef - self.start_coef)
        pull = self.pull - self.matvec(moved)
        residual = jnp.maximum(self.residual - moved @ (self.pull + pull), 0.0)
        return eqx.tree_at(
            lambda p: (p.start_coef, p.pull, p.residual), self, (coef, pull, residual)
        )

    @property
    def inside(self) -> Bool[Array, " k"]:
        """Which entries are features, not padding."""
        return jnp.arange(self.scale.shape[0]) < jnp.array(self.widths)[self.choice]

    @property
    def support_sizes(self) -> tuple[int, ...]:
        """The widths and the numbers between: factorising costs the cube of the size."""
        sizes, largest = set(self.widths), self.curvature.largest_system
        for low, high in itertools.pairwise(self.widths):
            if low >= largest:
                break
            parts = 4 if low >= MANY else 2
            sizes |= set(range(low, high, max((high - low) // parts, 1)))
        return tuple(sorted(sizes))

    @property
    def unit(self) -> Float[Array, "k ..."]:
        """The scale, in a shape that multiplies coefficients."""
        return per_row(self.scale, self.start_coef)

    @property
    def start(self) -> Float[Array, "k ..."]:
        """The start in the scaled units."""
        return self.unit * self.start_coef

    def prox_coef(self, v: Float[Array, "k ..."], step: Float[Array, ""]) -> Float[Array, "k ..."]:
        """The penalty's proximal operator from scaled units to its own, where kinks are exact."""
        return self.penalty.prox(v / self.unit, step / self.scale**2)

    def prox(self, v: Float[Array, "k ..."], step: Float[Array, ""]) -> Float[Array, "k ..."]:
        """The penalty's proximal operator in the scaled units."""
        return self.unit * self.prox_coef(v, step)

    def prox_root(self, v: Float[Array, " k"], step: Float[Array, ""]) -> BlockMatrix:
        """The square root of its derivative (the same in any units)."""
        return self.penalty.prox_root(v / self.scale, step / self.scale**2).where(self.inside)

    def support_root(self, coef: Float[Array, " k"], step: Float[Array, ""]) -> BlockMatrix:
        """The same where the proximal operator ends at ``coef``."""
        moving = self.penalty.support(coef) & self.inside
        hessian = self.penalty.hessian(coef).over(self.scale**2)
        return hessian.inverse_root(step).where(moving)

    def gap(self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]) -> Float[Array, ""]:
        """Duality gap of the restricted problem at b = scale·coef, whose pull is ``pull``."""
        residual = self._residual_at(coef, pull)
        pull = self.penalty.without_rounding(pull, self.size)
        c = pull * self.unit

        def of(factor: Float[Array, ""]) -> Float[Array, ""]:
            return self.penalty.scaled_gap(coef, c, factor) + (1 - factor) ** 2 * residual / 2

        return jnp.maximum(smaller_gap(of, self.penalty.dual_scale(c)), 0.0)

    def objective(
        self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]
    ) -> Float[Array, ""]:
        """At b = scale·coef, whose pull is ``pull``."""
        return self._residual_at(coef, pull) / 2 + self.penalty.value(coef)

    def _residual_at(
        self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]
    ) -> Float[Array, ""]:
        moved = self.unit * (coef - self.start_coef)
        return jnp.maximum(self.residual - jnp.vdot(moved, self.pull + pull), 0.0)

    def error(self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]) -> Float[Array, ""]:
        """What solvers bring below a tolerance: the gap or, of concave penalties, the violation."""
        if not isinstance(self.penalty, AbstractConcavePenalty):
            return self.gap(coef, pull)
        distance = self.penalty.subdiff_distance(coef, -pull * self.unit)
        return jnp.max(jnp.where(self.inside, distance, 0.0))

    def matvec(self, x: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
        """G x."""
        scaled = x / self.unit

        def multiply(width: int) -> Float[Array, "k ..."]:
            padding = [(0, x.shape[0] - width)] + [(0, 0)] * (x.ndim - 1)
            return jnp.pad(self.curvature.matmul(scaled[:width]), padding)

        return switch_width(self.choice, self.widths, multiply) / self.unit

    def solve_shifted(
        self,
        root: BlockMatrix,
        shift: Float[Array, ""],
        rhs: Float[Array, " k"],
        sizes: tuple[int, ...],
    ) -> Float[Array, " k"]:
        """(root·G·root + shift·I)⁻¹ rhs on the support of ``root``, zero off it."""

        def solve(kept: Int[Array, " w"], used: Bool[Array, " w"], rhs: Array) -> Array:
            return self.curvature.solve(
                kept, root.take(kept, used).over(self.scale[kept]), shift, rhs
            )

        return self._gathered(root.diagonal != 0, rhs, sizes, solve)

    def solve_local(self, coef: Float[Array, " k"], rhs: Float[Array, " k"]) -> Float[Array, " k"]:
        """(G + ∇²g)⁻¹ rhs where coef is not zero, zero elsewhere; NaN if that is not convex."""
        hessian = self.penalty.hessian(coef).diagonal / self.scale**2

        def solve(kept: Int[Array, " w"], used: Bool[Array, " w"], rhs: Array) -> Array:
            local = jnp.diag(jnp.where(used, hessian[kept], 1.0))
            return positive_solve(self._block(kept, used) + local, rhs)

        return self._gathered((coef != 0) & self.inside, rhs, self.widths, solve)

    def solve_rows(
        self, coef: Float[Array, "k tasks"], rhs: Float[Array, "k tasks"]
    ) -> Float[Array, "k tasks"]:
        """(I ⊗ G + ∇²g)⁻¹ rhs on the rows that are not zero, of ``RowL2``; zero elsewhere.

        With u = w_j/‖w_j‖ a row has ∇²g = d(I − uuᵀ): all tasks share G + diag(d), and what is
        subtracted has the rank of one number a row. Two systems of the size of the support,
        however many tasks.
        """
        norms = self.penalty.norms(coef)
        units = ratio(coef, norms[:, None])
        curving = ratio(self.penalty.slopes(), norms * self.scale**2)

        def solve(kept: Int[Array, " w"], used: Bool[Array, " w"], rhs: Array) -> Array:
            d = jnp.where(used, curving[kept], 1.0)
            unit = jnp.where(used[:, None], units[kept], 0.0)
            root = jnp.where(used, jnp.sqrt(d), 0.0)
            identity = jnp.eye(d.shape[0], dtype=d.dtype)
            both = jnp.concatenate([identity, rhs], axis=1)
            solved = positive_solve(self._block(kept, used) + jnp.diag(d), both)
            inverse, shared = jnp.split(solved, [d.shape[0]], axis=1)
            # Woodbury, in the unit of √d, in which the matrix stays between zero and one.
            along = root * jnp.sum(unit * shared, axis=1)
            matrix = identity - root[:, None] * (unit @ unit.T * inverse) * root
            turned = root * positive_solve(matrix, along)
            return shared + inverse @ (turned[:, None] * unit)

        # Each size takes longer to compile than the next larger one to run.
        sizes = tuple(sorted({*self.widths[1::2], self.widths[-1]}))
        return self._gathered((norms > 0) & self.inside, rhs, sizes, solve)

    def _block(self, kept: Int[Array, " w"], used: Bool[Array, " w"]) -> Float[Array, "w w"]:
        """The rows and columns ``kept`` of G, zero where they are not used."""
        factor = jnp.where(used, 1 / self.scale[kept], 0.0)
        return factor * self.curvature.block(lambda x: x[kept]) * factor[:, None]

    def _gathered(
        self,
        moving: Bool[Array, " k"],
        rhs: Float[Array, "k *tasks"],
        sizes: tuple[int, ...],
        solve: Callable[[Int[Array, " w"], Bool[Array, " w"], Array], Array],
    ) -> Float[Array, "k *tasks"]:
        """A system on what moves alone, in the smallest of ``sizes`` that holds it."""
        size = rhs.shape[0]
        count = jnp.sum(moving)
        (index,) = jnp.nonzero(moving, size=size, fill_value=size - 1)
        used = jnp.arange(size) < count
        target = jnp.where(per_row(used, rhs), rhs[index], 0.0)

        def branch(width: int) -> Float[Array, "k *tasks"]:
            solution = solve(index[:width], used[:width], target[:width])
            return jnp.pad(solution, [(0, size - width)] + [(0, 0)] * (rhs.ndim - 1))

        solution = switch_width(jnp.sum(count > jnp.array(sizes[:-1], int)), sizes, branch)
        return jnp.zeros_like(rhs).at[index].add(jnp.where(per_row(used, rhs), solution, 0.0))


def switch_width(
    choice: Int[Array, ""], widths: tuple[int, ...], branch: Callable[[int], Any]
) -> Any:
    """``branch(widths[choice])`` where choice is only known at run time."""
    return jax.lax.switch(choice, [lambda width=width: branch(width) for width in widths])


class AbstractGramSolver(eqx.Module):
    """Solves the problem of a working set."""

    @abc.abstractmethod
    def check(self, problem: Problem) -> None:
        """``TypeError`` naming what to use instead where the penalty does not fit."""

    @abc.abstractmethod
    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Int[Array, ""]]:
        """Coefficients of error ≤ tol, or as near as rounding allows, and the iterations taken."""
