"""Geometric multigrid for the cell operator of `kernels.stencil`, as a preconditioner or on its own.

Cells are joined two by two along the strongly coupled axes. Transfer is piecewise constant, the coarse face
is the sum of the fine faces divided by the growth of the distance between centres (1/2 for pairs), so the
coarse operator is the same operator on a coarser grid. One sweep of row Gauss-Seidel before and its adjoint
after make the cycle symmetric.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wflow.kernels import stencil

Array = NDArray[np.float64]

# Why these, by measurement (weights 1, exp(-V) and exp(-V/0.1) of a double well, exp(-50 |x|^2) down to
# 1e-174; dt from 1e-4 to 1e4; 64^2 to 256^2 and 32^3; conjugate gradients to 1e-10): - Transfer: constant
# with halved faces and a V-cycle takes as few cycles as a W-cycle; faces not halved need a   K-cycle and a
# third more; bilinear transfer fails once weights change fast, and pays only with the Galerkin   product and
# its wide stencil. - Smoother: red-black takes 4 to 17 cycles, rows both ways 1 to 12 of 1.7 times the cost.
# But on the slopes, where   w is carried from heavy to light cells and weighs nothing in the norm, red-black
# leaves w wrong by factors up to   1e6 and rows by 1e-7: a sweep that follows the slope, whichever way it
# falls, solves it there.
COARSEST = 64
STRONG = 0.25


@dataclass(frozen=True)
class Operator:
    """Coefficients of M: see `kernels.stencil`. All arrays float64, contiguous, not negative."""

    diag: Array
    kx: Array
    ky: Array
    kz: Array
    periodic: tuple[bool, bool, bool] = (False, False, False)

    @property
    def faces(self) -> tuple[Array, Array, Array]:
        return self.kx, self.ky, self.kz

    @cached_property
    def inverse(self) -> Array:
        """Reciprocal of the full diagonal of M, 0 in cells that hold nothing."""
        out = np.empty(self.diag.shape)
        stencil.diagonal(self.diag, *self.faces, self.periodic, out)
        stencil.reciprocal(out, out)
        return out

    def apply(self, w: Array, out: Array) -> float:
        """Write M w to `out`; return w . M w."""
        return stencil.apply(self.diag, *self.faces, self.periodic, w, out)


@dataclass(frozen=True)
class Level:
    """A grid of the hierarchy: its operator, the parents of its cells on each axis, and what a cycle works in."""

    operator: Operator
    parents: tuple[NDArray[np.int64], ...]
    pivots: Array
    shares: Array
    rhs: Array
    solution: Array


@dataclass(frozen=True)
class Hierarchy:
    """Levels from fine to coarse; the coarsest is solved by elimination, with `multipliers` and `pivots`."""

    levels: tuple[Level, ...]
    multipliers: Array
    pivots: Array


def build(operator: Operator) -> Hierarchy:
    """Hierarchy for `operator`. Cost O(cells), about that of two cycles; memory a half of the operator's in
    2-D.
    """
    levels = []
    while True:
        parents = _parents(operator) if operator.diag.size > COARSEST else ()
        pivots, shares, rhs, solution = (np.empty(operator.diag.shape) for _ in range(4))
        stencil.line_factors(operator.diag, *operator.faces, operator.periodic, pivots, shares)
        levels.append(Level(operator, parents, pivots, shares, rhs, solution))
        if not parents:
            break
        operator = _coarsen(operator, parents)
    n = operator.diag.size
    off, last, ground = np.zeros((n, n)), np.empty(n), np.empty(operator.diag.shape)
    stencil.dense(*operator.faces, operator.periodic, operator.diag.shape, off)
    stencil.grounds(operator.diag, *operator.faces, operator.periodic, ground)
    stencil.factor(off, ground.ravel(), last)
    return Hierarchy(tuple(levels), off, last)


def cycle(hierarchy: Hierarchy, rhs: Array, out: Array) -> None:
    """out = B rhs, one V(1,1)-cycle from zero; B is symmetric and positive definite, close to the inverse of
    M.
    """
    levels = hierarchy.levels
    for depth, level in enumerate(levels[:-1]):
        b, w = (level.rhs, level.solution) if depth else (rhs, out)
        w.fill(0.0)
        smooth(level, b, w, down=False)
        op = level.operator
        stencil.restrict_residual(op.diag, *op.faces, op.periodic, b, w, level.parents, levels[depth + 1].rhs)
    last = levels[-1]
    b, w = (last.rhs, last.solution) if len(levels) > 1 else (rhs, out)
    stencil.solve_factored(hierarchy.multipliers, hierarchy.pivots, b.ravel(), w.ravel())
    for depth in range(len(levels) - 2, -1, -1):
        level = levels[depth]
        b, w = (level.rhs, level.solution) if depth else (rhs, out)
        stencil.prolong_add(levels[depth + 1].solution, level.parents, w)
        smooth(level, b, w, down=True)


def smooth(level: Level, b: Array, w: Array, down: bool) -> None:
    """One sweep on M w = b, in place; with and without `down` they are adjoint. Cells that hold nothing
    become 0.
    """
    op = level.operator
    stencil.sweep(level.pivots, level.shares, *op.faces, op.periodic, b, w, down)


def _parents(operator: Operator) -> tuple[NDArray[np.int64], ...]:
    """Coarse index of each cell, axis by axis; axes coupled less than `STRONG` times the strongest stay as
    they are.
    """
    means = [k.mean() if n > 1 else 0.0 for k, n in zip(operator.faces, operator.diag.shape, strict=True)]
    strongest = max(means)
    parents = []
    for n, mean in zip(operator.diag.shape, means, strict=True):
        joined = n > 1 and mean >= STRONG * strongest
        parents.append(np.minimum(np.arange(n) // 2, n // 2 - 1) if joined else np.arange(n))
    return tuple(parents)


def _face_map(parents: NDArray[np.int64], periodic: bool) -> tuple[NDArray[np.int64], Array]:
    """For the faces of one axis: the coarse face each is part of, or -1, and the distance it spans over the
    coarse one.
    """
    n, coarse = parents.size, parents[-1] + 1
    width = np.bincount(parents).astype(float)
    inner = 0.5 * (width[1:] + width[:-1])
    ends = (0.5 * (width[0] + width[-1]),) * 2 if periodic else (width[0], width[-1])
    first = np.searchsorted(parents, np.arange(coarse))
    index, factor = np.full(n + 1, -1), np.zeros(n + 1)
    index[np.append(first, n)] = np.arange(coarse + 1)
    factor[np.append(first, n)] = 1.0 / np.concatenate((ends[:1], inner, ends[1:]))
    return index, factor


def _coarsen(operator: Operator, parents: tuple[NDArray[np.int64], ...]) -> Operator:
    """The operator on the parents: diag summed, faces summed and divided by the growth of the distance."""
    shape = tuple(int(p[-1]) + 1 for p in parents)
    ones = tuple(np.ones(p.size) for p in parents)
    diag = np.empty(shape)
    stencil.accumulate(operator.diag, parents, ones, diag)
    faces = []
    for axis, fine in enumerate(operator.faces):
        index, factor = _face_map(parents[axis], operator.periodic[axis])
        coarse = np.empty(tuple(m + (a == axis) for a, m in enumerate(shape)))
        maps, factors = list(parents), list(ones)
        maps[axis], factors[axis] = index, factor
        stencil.accumulate(fine, tuple(maps), tuple(factors), coarse)
        faces.append(coarse)
    return Operator(diag, faces[0], faces[1], faces[2], operator.periodic)
