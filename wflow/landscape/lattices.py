"""Where the points of a lattice end: basins of attraction in the plane, and hill climbing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wflow.arrays import Array, floats, vector
from wflow.errors import InputError
from wflow.landscape.critical import FLAT, CriticalPoint, critical_points, objective
from wflow.loop import run
from wflow.loop.plan import positive, whole
from wflow.states import Particles, Point
from wflow.steppers import BogackiShampine


@dataclass(frozen=True, eq=False)
class Basins:
    """Where points of a plane box end: `axes` are the centres of its cells on both axes, `minima` the ends, `labels`
    `(nx, ny)` the number of the end of each cell, -1 where it came to none."""

    axes: tuple[Array, Array]
    minima: tuple[CriticalPoint, ...]
    labels: Array


def basins(F: Any, lower: ArrayLike, upper: ArrayLike, cells: int = 100, starts: int = 400, **how: Any) -> Basins:
    """Basins of attraction of the minima of an objective in a box of the plane, under the gradient flow.

    Every cell centre is followed as a particle of one cloud; `how` are arguments of `run`, such as `stepper`, `dt` and
    `steps` for another method, and without them the flow is followed for twenty of the slowest times at a minimum or
    saddle. An end is a minimum nearer than a thousandth of the diagonal. Cost: one gradient of cells² rows a step.

    >>> from wflow import Potential
    >>> found = basins(Potential("(x**2 - 1)**2 + y**2"), [-2, -2], [2, 2], cells=4)
    >>> [round(float(p.x[0]), 6) for p in found.minima], found.labels[:, 0].tolist()
    ([-1.0, 1.0], [0, 0, 1, 1])
    """
    low, high = vector("lower", lower), vector("upper", upper)
    if low.size != 2:
        raise InputError(f"basins are drawn in the plane, got {low.size} dimension(s)")
    known = critical_points(F, low, high, starts)
    minima = tuple(p for p in known if p.kind == "minimum")
    if not minima:
        raise InputError("no minimum was found in the box: enlarge it, or take more starts")
    count = whole("cells", cells)
    axes = tuple(a + (b - a) * (np.arange(count) + 0.5) / count for a, b in zip(low, high, strict=True))
    points = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    # Of the saddles too, near which points at the edge of a basin linger.
    rates = np.abs(np.concatenate([p.eigenvalues for p in known if p.kind != "maximum"]))
    slowest = float(rates[rates > FLAT].min(initial=1.0))
    given = how or {"t_end": 20.0 / slowest, "stepper": BogackiShampine()}
    ends = run(F, Particles(points), **{"save": "ends", **given}).final.positions
    with np.errstate(all="ignore"):
        gaps = np.linalg.norm(ends[:, None] - np.stack([p.x for p in minima]), axis=2)
    nearest = np.argmin(np.where(np.isfinite(gaps), gaps, np.inf), axis=1)
    arrived = gaps[np.arange(len(gaps)), nearest] <= 1e-3 * float(np.linalg.norm(high - low))
    labels = np.where(arrived, nearest, -1).reshape(count, count)
    return Basins((axes[0], axes[1]), minima, labels)


def hill_climb(
    F: Any,
    start: Sequence[int] | ArrayLike,
    spacing: float = 1.0,
    corners: bool = False,
    most: int = 100_000,
) -> Array:
    """Descend an objective on the lattice spacing · ℤᵈ, each time to the best neighbour, to a local minimum.

    `start` `(d,)` are whole numbers. Neighbours are one step away on one axis, with `corners` on any set of axes
    (3ᵈ - 1 of them). Returns the way `(k, d)`, whole numbers, along which f falls strictly; its last point is no
    worse than any neighbour. To climb, descend -f. Raises `InputError` where it has not ended after `most` moves.

    >>> from wflow import Potential
    >>> hill_climb(Potential("(x - 2)**2 + (y + 1)**2"), [0, 0])[-1]
    array([ 2, -1])
    """
    here = floats("start", start)
    if here.ndim != 1 or here.size == 0 or np.any(here != np.round(here)):
        raise InputError(f"start must be whole numbers (d,), got {start!r}")
    unit = positive("spacing", spacing)
    field = objective(F, Point(unit * here)).potential
    if corners:
        moves = np.array([m for m in product((-1.0, 0.0, 1.0), repeat=here.size) if any(m)])
    else:
        moves = np.concatenate([np.eye(here.size), -np.eye(here.size)])
    way, value = [here], float(field.value(unit * here[None])[0])
    for _ in range(whole("most", most)):
        values = field.value(unit * (way[-1] + moves))
        values = np.where(np.isfinite(values), values, np.inf)
        best = int(np.argmin(values))
        if not values[best] < value:
            return np.array(way, dtype=np.int64)
        way.append(way[-1] + moves[best])
        value = float(values[best])
    raise InputError(f"hill_climb made {most} moves without an end: the objective may have no minimum")
