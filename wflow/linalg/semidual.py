"""Entropic transport from masses a to an end b that follows from its potential: Newton's method for the semi-dual.

    maximise over f:  Σ a f - ρ*(base - g),   g = -soft(f + log a),   b = ρ(base - g),   ρ = ∂ρ*

in units of ε. With P(x|y) the weights of the soft minimum, the gradient is a - Pᵀ b, what the mass at x lacks, and the
Hessian -(diag(Pᵀ b) - Pᵀ diag(b) P + Pᵀ diag(ρ') P): concave for every law ρ that grows, whatever the masses. Where
masses are smooth Pᵀ diag(b) P blurs as the heat flow does, so that the Hessian is an elliptic operator for long waves
and Pᵀ b for short ones: conjugate gradients with one cycle of multigrid for the first and a share of the inverse
diagonal for the second takes two to ten iterations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wflow.arrays import Array
from wflow.linalg.anderson import dot
from wflow.linalg.multigrid import Operator, build, cycle
from wflow.linalg.softmin import Axes, Soft, logs_of

SHORT = 0.75  # of the inverse diagonal: 1/x + 0.75 is within a quarter of 1/(1 - exp(-x)) for every x > 0
MOST_LINEAR = 200
HALVINGS = 40
LACK = 1e6  # what should come over what comes counts up to this
MOST_LEVELLED, LEVEL = 20, 1.0  # iterations; how far the log of the mass may be off
FAINT = 1e-30  # of the largest mass: less stays where it is


class Law(Protocol):
    """How masses follow from what acts on them: ρ(w), growing cell by cell."""

    def masses(self, w: Array) -> Array:
        """ρ(w), inf where it is beyond float64."""

    def slope(self, masses: Array) -> Array:
        """dρ/dw where the masses are ρ(w)."""


@dataclass(frozen=True, eq=False)
class Semidual:
    """f with its soft minimum, the masses b and what of them comes from each x; iterations and the residual |a - Pᵀ b|
    in parts of the mass."""

    f: Array
    soft: Soft
    b: Array
    come: Array
    residual: float
    iterations: int = 0
    linear: int = 0

    @property
    def g(self) -> Array:
        """The potential of b."""
        return -self.soft.value


def at(law: Law, a: Array, base: Array, axes: Axes, f: Array) -> Semidual | None:
    """What follows from f; None where masses are beyond float64."""
    soft = Soft(np.where(a > 0.0, f, 0.0) + logs_of(a), axes)
    b = law.masses(base + soft.value)
    if not np.all(np.isfinite(b)):
        return None
    come = soft.spread(b)
    return Semidual(f, soft, b, come, float(np.abs(a - come).sum() / a.sum()))


def climb(law: Law, a: Array, base: Array, axes: Axes, start: Semidual, goal: float, most: int) -> Semidual:
    """Maximise until the residual is at most `goal`, or for `most` iterations.

    Cost: three to six iterations from a start that is not far, each of some ten products with P and one soft minimum.
    """
    here, linear = _levelled(law, a, base, start), 0
    for iteration in range(most + 1):
        if here.residual <= goal or iteration == most:
            break
        direction, count = _direction(law, a, axes, here)
        linear += count
        following = _search(law, a, base, axes, here, direction)
        if following is None:
            break
        here = following
    return Semidual(here.f, here.soft, here.b, here.come, here.residual, iteration, linear)


def _levelled(law: Law, a: Array, base: Array, here: Semidual) -> Semidual:
    """The same with a constant added to f by which as much comes as there is, where that is off by far: a law that
    answers slowly would take hundreds of iterations to it, since those are of size one in f."""
    total, wanted = here.soft.value, np.log(a.sum())
    b, raised = here.b, 0.0
    for _ in range(MOST_LEVELLED):
        mass = float(b.sum())
        if not 0.0 < mass < np.inf or abs(wanted - np.log(mass)) < LEVEL:
            break
        raised += (wanted - np.log(mass)) * mass / float(law.slope(b).sum())
        b = law.masses(base + total + raised)
    if raised == 0.0 or not np.all(np.isfinite(b)):
        return here
    soft = here.soft.raised(raised)
    come = soft.spread(b)
    return Semidual(here.f + raised, soft, b, come, float(np.abs(a - come).sum() / a.sum()))


def _direction(law: Law, a: Array, axes: Axes, here: Semidual) -> tuple[Array, int]:
    # Where less comes than should, what should keeps a step to the range of exp; b grows alike, so that shifts of f,
    # which change no share, stay free.
    lack = np.clip(a / np.maximum(here.come, 1e-300), 1.0, LACK)
    b, slope = here.b * here.soft.mean(lack), law.slope(here.b)
    come = here.soft.spread(b)
    held = np.where(a > LACK * here.come, np.maximum(a, come), come)
    live = (a > 0.0) & (held > FAINT * held.max())
    held = np.where(live, held, 0.0)
    long = _multigrid(np.where(live, here.soft.spread(slope) + (held - come), 1.0), held, axes, live)
    short = SHORT / np.where(live, held, np.inf)

    def product(v: Array) -> Array:
        return (held * v - here.soft.spread((b - slope) * here.soft.mean(v))) * live

    rtol = min(0.1, max(1e-4, np.sqrt(here.residual)))
    return _conjugate(product, lambda r: long(r) + short * r, (a - here.come) * live, rtol)


def _multigrid(diag: Array, held: Array, axes: Axes, live: Array) -> Callable[[Array], Array]:
    """A cycle for diag - ½ ∇·(held ∇)."""
    shape = (1,) * (3 - held.ndim) + held.shape
    faces = [np.zeros(tuple(n + (k == axis) for k, n in enumerate(shape))) for axis in range(3)]
    box = held.reshape(shape)
    for axis, x in enumerate(axes, start=3 - held.ndim):
        lines = np.moveaxis(box, axis, 0)
        gaps = np.diff(x).reshape(-1, 1, 1)
        np.moveaxis(faces[axis], axis, 0)[1:-1] = 0.25 * (lines[1:] + lines[:-1]) / gaps**2
    hierarchy = build(Operator((diag + 1e-14 * held.max()).reshape(shape), faces[0], faces[1], faces[2]))

    def solve(r: Array) -> Array:
        out = np.empty(shape)
        cycle(hierarchy, np.ascontiguousarray(r * live).reshape(shape), out)
        return out.reshape(r.shape) * live

    return solve


def _conjugate(
    product: Callable[[Array], Array], precondition: Callable[[Array], Array], rhs: Array, rtol: float
) -> tuple[Array, int]:
    r, total = rhs.copy(), np.zeros(rhs.shape)
    z = precondition(r)
    ahead, size = z, dot(r, z)
    first = size
    for count in range(1, MOST_LINEAR + 1):
        image = product(ahead)
        curvature = dot(ahead, image)
        if not curvature > 0.0:
            return (total if count > 1 else ahead), count
        total, r = total + (size / curvature) * ahead, r - (size / curvature) * image
        z = precondition(r)
        before, size = size, dot(r, z)
        if not size > rtol**2 * first:
            return total, count
        ahead = z + (size / before) * ahead
    return total, MOST_LINEAR


def _search(law: Law, a: Array, base: Array, axes: Axes, here: Semidual, direction: Array) -> Semidual | None:
    """The longest of the steps 1, ½, ... at which the slope along the direction has not turned round by half.

    Slopes keep their digits where the concave merit itself no longer changes.
    """
    rise = dot(a - here.come, direction)
    length = 1.0
    for _ in range(HALVINGS):
        trial = at(law, a, base, axes, here.f + length * direction)
        if trial is not None and dot(a - trial.come, direction) >= -0.5 * rise:
            return trial
        length *= 0.5
    return None
