"""Distances between states and targets of any kind."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from wflow.arrays import Array, generator
from wflow.errors import InputError
from wflow.estimators import mesh_estimate
from wflow.grid import Grid
from wflow.linalg import transport
from wflow.states import Density, Gaussian, Particles, Point
from wflow.targets import GaussianMixture, Gibbs, KernelDensity, Target, Uniform

DRAWS = 100_000
FINE = 20_000
REACH = 9.0  # standard deviations on each side of a normal density; beyond lies 2e-19 of the mass
DIRECT_PAIRS = 10_000_000
SLICED_POINTS = 20_000
BOXES = 2000
DEPTH = 10

Pieces = tuple[Array, Array, Array]


def wasserstein2(a: Any, b: Any, rng: Any = 0) -> float:
    """W2 between two states, or a state and a target, in units of length; masses are scaled to 1.

    A Density counts as constant on its cells, Particles as point masses; distances are Euclidean, also in a periodic
    box. Two Gaussians, or a Point and anything: closed forms, exact to rounding. One dimension: quantiles, exact for
    Density, Particles and Uniform, to about 1e-6 standard deviations for other targets. Beyond: the linear program
    of the coupling, exact for particles up to 2000 by 2000; larger clouds and cells of a grid are first gathered in
    boxes (d = 2, 3), with a bound on the error, or compared by slices (d > 3), a lower bound.
    `wasserstein2_with_method` says which, and the bound. `rng` draws from targets where neither is possible. Cost:
    below 1 ms in one dimension, up to some seconds for the program. Raises `InputError` for a Gibbs target without a
    density on a grid to put it on, and unequal dimensions. Source: Santambrogio, Optimal Transport for Applied
    Mathematicians (2015), ch. 2; Flamary et al., POT, JMLR 22 (2021).

    >>> wasserstein2(Point([0.0, 0.0]), Point([3.0, 4.0]))
    5.0
    """
    return wasserstein2_with_method(a, b, rng)[0]


def wasserstein2_with_method(a: Any, b: Any, rng: Any = 0) -> tuple[float, str]:
    """`wasserstein2` and a sentence that says how it was found and how far off it may be.

    >>> wasserstein2_with_method(Gaussian([1.0], 4.0), Gaussian([0.0], 1.0))[1]
    'closed form of Bures, exact'
    """
    _check(a, b)
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        return transport.bures(a.mean, a.cov, b.mean, b.cov), "closed form of Bures, exact"
    a, b = _on_grid_of(a, b), _on_grid_of(b, a)
    if isinstance(a, Point) or isinstance(b, Point):
        point, other = (a, b) if isinstance(a, Point) else (b, a)
        mean, cov = moments(other)
        return float(np.sqrt(np.sum((mean - point.x) ** 2) + np.trace(cov))), "second moments, exact"
    if a.dim == 1:
        exact = all(isinstance(s, Density | Particles | Uniform) for s in (a, b))
        text = "quantiles, exact" if exact else "quantiles of fine cells"
        return transport.wasserstein2_pieces(_pieces(a), _pieces(b)), text
    draw = generator(rng)
    return _beyond_the_line(_atoms(a, draw), _atoms(b, draw))


def moments(measure: Any) -> tuple[Array, Array]:
    """Mean `(d,)` and covariance `(d, d)` of a state or target; the spread inside the cells of a Density counts.

    >>> moments(Density(Grid(0.0, 1.0, 4), np.ones(4)))[1].round(12)
    array([[0.08333333]])
    """
    if isinstance(measure, Point):
        return measure.x, np.zeros((measure.dim, measure.dim))
    if isinstance(measure, Density):
        return measure.mean, measure.cov + np.diag(measure.grid.spacing**2) / 12.0
    if isinstance(measure, Particles | Gaussian):
        return measure.mean, measure.cov
    if isinstance(measure, Uniform):
        return 0.5 * (measure.lower + measure.upper), np.diag((measure.upper - measure.lower) ** 2) / 12.0
    if isinstance(measure, KernelDensity):
        cloud = Particles(measure.samples, measure.weights)
        return cloud.mean, cloud.cov + np.diag(measure.bandwidth**2)
    if isinstance(measure, GaussianMixture):
        means = np.stack([part.mean for part in measure.components])
        covs = np.stack([part.cov for part in measure.components])
        cloud = Particles(means, measure.weights)
        return cloud.mean, cloud.cov + np.tensordot(measure.weights, covs, axes=1)
    raise InputError(f"the moments of {measure!r} are not known; put it on a grid: wf.Density(grid, target)")


def _check(a: Any, b: Any) -> None:
    for one in (a, b):
        if not isinstance(one, Density | Particles | Point | Gaussian | Target):
            raise InputError(f"wasserstein2 takes states and targets, got {type(one).__name__}")
    if a.dim != b.dim:
        raise InputError(f"wasserstein2 needs one dimension, got {a.dim} and {b.dim}")


def _on_grid_of(measure: Any, other: Any) -> Any:
    """A target as a density on the grid of the other, where that holds it; everything else as it is."""
    on_grid = isinstance(other, Density)
    if isinstance(measure, Gibbs):
        if not on_grid:
            raise InputError("a Gibbs target has no closed form; put it on a grid: wf.Density(grid, target)")
        return Density(other.grid, measure)
    if isinstance(measure, Density | Particles | Point) or not on_grid or measure.dim == 1:
        return measure
    mass = float(measure.density(other.grid.points()).sum()) * other.grid.volume
    return Density(other.grid, measure) if abs(mass - 1.0) < 1e-4 else measure


def _pieces(measure: Any) -> Pieces:
    """A measure on the line as pieces (left, right, mass) in rising order."""
    if isinstance(measure, Particles):
        order = np.argsort(measure.positions[:, 0], kind="stable")
        x = measure.positions[order, 0]
        return x, x, measure.weights[order]
    if isinstance(measure, Density):
        edges = measure.grid.faces(0)[:, 0]
        return edges[:-1], edges[1:], measure.values
    if isinstance(measure, Uniform):
        return measure.lower, measure.upper, np.ones(1)
    if isinstance(measure, Gaussian | GaussianMixture):
        parts = measure.components if isinstance(measure, GaussianMixture) else (measure,)
        weights = measure.weights if isinstance(measure, GaussianMixture) else np.ones(1)
        return _normal_pieces([(float(p.mean[0]), float(p.factor[0, 0])) for p in parts], weights)
    if isinstance(measure, KernelDensity):
        density = _kernel_cells(measure)
        return _pieces(density)
    raise InputError(f"no quantiles are known for {measure!r}; put it on a grid: wf.Density(grid, target)")


def _normal_pieces(parts: list[tuple[float, float]], weights: Array) -> Pieces:
    """Cells fine for every component, with exact masses."""
    steps = np.linspace(-REACH, REACH, FINE // len(parts) + 2)
    edges = np.unique(np.concatenate([mean + sd * steps for mean, sd in parts]))
    below = sum(w * ndtr((edges - mean) / sd) for w, (mean, sd) in zip(weights, parts, strict=True))
    return edges[:-1], edges[1:], np.diff(below)


def _kernel_cells(p: KernelDensity) -> Density:
    reach = REACH * p.bandwidth
    low, high = p.samples.min(axis=0) - reach, p.samples.max(axis=0) + reach
    grid = Grid(low, high, int(np.clip((high - low)[0] / (0.02 * p.bandwidth[0]), 1000, FINE)))
    if len(p.samples) * grid.cells[0] <= DIRECT_PAIRS:
        return Density(grid, p)
    return Density(grid, mesh_estimate(p.samples, p.weights, p.bandwidth, points=grid.points())[0])


@dataclass(frozen=True)
class _Atoms:
    """Point masses that stand for a measure: positions, weights, the spread `slack` of what each stands for, and a
    note."""

    positions: Array
    weights: Array
    slack: float = 0.0
    note: str = ""


def _atoms(measure: Any, draw: np.random.Generator) -> _Atoms:
    if isinstance(measure, Density):
        shares = measure.values.ravel() / measure.values.sum()
        full = shares > 0.0
        return _Atoms(measure.grid.points()[full], shares[full], float(np.sum(measure.grid.spacing**2)) / 12.0)
    count = DRAWS if measure.dim <= 3 else SLICED_POINTS
    if not isinstance(measure, Particles):
        note = f", from {count} draws of the {type(measure).__name__}"
        return _Atoms(measure.sample(count, draw), np.full(count, 1.0 / count), note=note)
    if measure.dim <= 3 or len(measure) <= count:
        return _Atoms(measure.positions, measure.weights)
    which = draw.choice(len(measure), size=count, p=measure.weights)
    return _Atoms(measure.positions[which], np.full(count, 1.0 / count), note=f", from {count} of the particles")


def _beyond_the_line(a: _Atoms, b: _Atoms) -> tuple[float, str]:
    dim, note = a.positions.shape[1], a.note + b.note
    if len(a.positions) * len(b.positions) <= transport.EXACT_PAIRS:
        how = "linear program"
    elif dim > 3:
        text = f"{transport.DIRECTIONS} slices, a lower bound{note}"
        weights = [None if np.ptp(atoms.weights) == 0.0 else atoms.weights for atoms in (a, b)]
        return transport.sliced(a.positions, b.positions, *weights), text
    else:
        a, b = _gathered(a, b)
        how = f"linear program on {len(a.positions)} by {len(b.positions)} boxes"
    value, _ = transport.clouds(a.positions, b.positions, a.weights, b.weights)
    bound = np.sqrt(a.slack) + np.sqrt(b.slack)
    certainty = f", off by at most {bound:.1g}" if bound > 0.0 else "" if note else ", exact"
    return value, how + certainty + note


def _gathered(a: _Atoms, b: _Atoms) -> tuple[_Atoms, _Atoms]:
    """Both in at most `BOXES` boxes of one tree, each with its mass and centre of mass, so that means stay exact.

    Boxes are halved along every axis while mass times squared width is above a level, so that tails take few of them.
    One tree for both: what is alike stays alike.
    """
    points = np.concatenate((a.positions, b.positions))
    weights = np.concatenate((a.weights, b.weights))
    low = points.min(axis=0)
    width = float(np.max(points.max(axis=0) - low)) * (1.0 + 1e-12)
    parents, worth, labels = np.zeros(len(points), dtype=np.int64), [np.full(len(points), np.inf)], []
    for depth in range(DEPTH + 1):
        index = np.minimum(((points - low) * (2**depth / width)).astype(np.int64), 2**depth - 1)
        flat = index @ (2**depth) ** np.arange(points.shape[1])
        parents = np.unique(flat, return_inverse=True)[1].ravel()
        labels.append(parents)
        worth.append(np.bincount(parents, weights)[parents] * 0.25**depth)
    worth[-1] = np.zeros(len(points))
    boxes = _leaves(np.array(worth), labels)
    return _boxed(a, boxes[: len(a.positions)]), _boxed(b, boxes[len(a.positions) :])


def _leaves(worth: Array, labels: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The box of each point: of its first depth where the box is worth no more than a level; the lowest level that
    fits."""
    firsts = [np.unique(label, return_index=True)[1] for label in labels]

    def count(level: float) -> int:
        return sum(
            int(np.count_nonzero((worth[d][first] > level) & (worth[d + 1][first] <= level)))
            for d, first in enumerate(firsts)
        )

    low, high = 1e-16, 1.0
    for _ in range(40):
        level = float(np.sqrt(low * high))
        low, high = (low, level) if count(level) <= BOXES else (level, high)
    depth = np.count_nonzero(worth[1:] > high, axis=0)
    largest = len(depth)
    return np.array(labels)[depth, np.arange(largest)] + largest * depth


def _boxed(atoms: _Atoms, boxes: NDArray[np.int64]) -> _Atoms:
    which = np.unique(boxes, return_inverse=True)[1].ravel()
    mass = np.bincount(which, atoms.weights)
    filled = mass > 0.0
    safe = np.where(filled, mass, 1.0)
    centers = np.stack([np.bincount(which, atoms.weights * x) / safe for x in atoms.positions.T], axis=1)
    spread = float(atoms.weights @ np.sum((atoms.positions - centers[which]) ** 2, axis=1))
    return _Atoms(centers[filled], mass[filled], atoms.slack + spread, atoms.note)
