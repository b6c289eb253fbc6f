"""W2 between states and targets of any kind."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from wflow.arrays import Array, generator
from wflow.distances.atoms import as_atoms, coupled
from wflow.distances.plane import plane_wasserstein2
from wflow.errors import InputError
from wflow.estimators import mesh_estimate
from wflow.grid import Grid
from wflow.linalg import transport
from wflow.states import Density, Gaussian, Particles, Point
from wflow.targets import GaussianMixture, Gibbs, KernelDensity, Target, Uniform

FINE = 20_000
REACH = 9.0  # standard deviations on each side of a normal density; beyond lies 2e-19 of the mass
DIRECT_PAIRS = 10_000_000
FEW_PAIRS = 400 * 400

Pieces = tuple[Array, Array, Array]


def wasserstein2(a: Any, b: Any, rng: Any = 0) -> float:
    """W2 between two states, or a state and a target, in units of length; masses are scaled to 1.

    A Density counts as constant on its cells, Particles as point masses; distances are Euclidean, also in a periodic
    box. Two Gaussians, or a Point and anything: closed forms, exact to rounding. One dimension: quantiles, exact for
    Density, Particles and Uniform, to about 1e-6 standard deviations for other targets. Beyond: the linear program
    of the coupling, exact for particles up to 2000 by 2000; as many particles of equal weights, up to 20 000 in d = 2
    and 3, are paired by an auction, mostly within 5e-6 of W2; other clouds are first gathered in boxes (d = 2, 3),
    with a bound on the error, or compared by slices (d > 3), a lower bound. Two densities on grids, equal or not, go by
    Sinkhorn divergences extrapolated to ε = 0, with an estimate of the error: on 64² cells 2e-6 of W2 for Gaussians
    five cells wide, 2e-3 for peaks of two thirds of a cell, 3 % where W2 is one cell; translates are exact. Up to 400
    by 400 filled cells take the linear program between centres.
    `wasserstein2_with_method` says which, and the error. `rng` draws from targets where neither is possible. Cost:
    milliseconds in one dimension, up to some seconds for the program and the auction (2000 by 2000 particles 0.4 s
    and 0.1 s, 10⁴ by 10⁴ 1 to 10 s); for two densities on grids 0.1 s of processor for 64² cells, 1 to 7 s for
    256², smooth ones least. Raises `InputError` for a Gibbs target without a density on a grid to put it on, and
    unequal dimensions. Source: Santambrogio, Optimal Transport for Applied Mathematicians (2015), ch. 2; Flamary et
    al., POT, JMLR 22 (2021); Chizat et al., NeurIPS 2020: see `wflow/linalg/entropic.py`.

    >>> wasserstein2(Point([0.0, 0.0]), Point([3.0, 4.0]))
    5.0
    """
    return wasserstein2_with_method(a, b, rng)[0]


def wasserstein2_with_method(a: Any, b: Any, rng: Any = 0) -> tuple[float, str]:
    """`wasserstein2` and a sentence that says how it was found and how far off it may be.

    >>> wasserstein2_with_method(Gaussian([1.0], 4.0), Gaussian([0.0], 1.0))[1]
    'closed form of Bures, exact'
    """
    check_pair("wasserstein2", a, b)
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        return transport.bures(a.mean, a.cov, b.mean, b.cov), "closed form of Bures, exact"
    a, b = on_grid_of(a, b), on_grid_of(b, a)
    if isinstance(a, Point) or isinstance(b, Point):
        point, other = (a, b) if isinstance(a, Point) else (b, a)
        mean, cov = moments(other)
        return float(np.sqrt(np.sum((mean - point.x) ** 2) + np.trace(cov))), "second moments, exact"
    if a.dim == 1:
        exact = all(isinstance(s, Density | Particles | Uniform) for s in (a, b))
        text = "quantiles, exact" if exact else "quantiles of fine cells"
        return transport.wasserstein2_pieces(pieces_of(a), pieces_of(b)), text
    if isinstance(a, Density) and isinstance(b, Density):
        filled = np.count_nonzero(a.values) * np.count_nonzero(b.values)
        if filled > FEW_PAIRS:
            return plane_wasserstein2(a, b)
    draw = generator(rng)
    return coupled(as_atoms(a, b, draw), as_atoms(b, a, draw))


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


def check_pair(name: str, a: Any, b: Any) -> None:
    """Refuse what is no state or target, and two of different dimensions."""
    for one in (a, b):
        if not isinstance(one, Density | Particles | Point | Gaussian | Target):
            raise InputError(f"{name} takes states and targets, got {type(one).__name__}: {one!r}")
    if a.dim != b.dim:
        raise InputError(f"{name} needs two of the same dimension, got {a.dim} and {b.dim}")


def on_grid_of(measure: Any, other: Any) -> Any:
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


def pieces_of(measure: Any) -> Pieces:
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
        return pieces_of(density)
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
