"""States q: what moves. All are frozen; steppers move their flat `coordinates` and rebuild them with `at`."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from wflow.arrays import Array, floats, frozen, generator, probabilities, vector
from wflow.arrays import positions as checked_positions
from wflow.errors import InputError
from wflow.grid import Grid
from wflow.targets import Bounded, Gaussian, Target

# Of a target's mass, what a grid must hold at least.
LEAST = 1e-3


@runtime_checkable
class State(Protocol):
    """A state is its coordinates, an array in which steps are added, and a way back."""

    @property
    def dim(self) -> int:
        """Dimension d of position."""

    @property
    def coordinates(self) -> Array:
        """Cell averages, positions `(n, d)`, a point `(d,)`, or (mean | factor) `(d, d + 1)`."""

    def at(self, coordinates: Array) -> Self:
        """The same kind of state with other coordinates, unchecked."""


def _fields(instance: Any, **values: Any) -> Any:
    for name, value in values.items():
        object.__setattr__(instance, name, frozen(value) if isinstance(value, np.ndarray) else value)
    return instance


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Density:
    """A density on a grid: `values` are cell averages in the shape of the cells.

    `values` is such an array, or a callable `(n, d) -> (n,)` or a target, taken at the cell centres; it is scaled to
    mass 1 unless `normalize=False`. A box that holds less than a thousandth of a normalised target is refused.

    >>> q = Density(Grid(-6.0, 6.0, 60), Gaussian(0.5, 1.0))
    >>> round(q.mass, 12), round(float(q.mean[0]), 6)
    (1.0, 0.5)
    """

    grid: Grid
    values: Array

    def __init__(self, grid: Grid, values: Any, normalize: bool = True) -> None:
        if not isinstance(grid, Grid):
            raise InputError(f"grid must be a wf.Grid, got {type(grid).__name__}")
        array = cell_values(grid, values, normalize)
        if normalize and isinstance(values, Bounded):
            _check_held(grid, values)
        if array.min() < 0.0:
            raise InputError(f"a density must not be negative, its smallest value is {array.min():g}")
        mass = float(array.sum()) * grid.volume
        if not mass > 0.0:
            raise InputError("a density must have mass, all its values are zero")
        _fields(self, grid=grid, values=array / mass if normalize else array)

    @property
    def dim(self) -> int:
        return self.grid.dim

    @property
    def coordinates(self) -> Array:
        return self.values

    def at(self, coordinates: Array) -> "Density":
        return _fields(object.__new__(Density), grid=self.grid, values=coordinates)

    @cached_property
    def mass(self) -> float:
        """∫ q."""
        return float(self.values.sum()) * self.grid.volume

    @cached_property
    def mean(self) -> Array:
        """Mean position `(d,)`."""
        return self.grid.points().T @ self.values.ravel() / self.values.sum()

    @cached_property
    def cov(self) -> Array:
        """Covariance `(d, d)` of the cell centres under q."""
        centered = self.grid.points() - self.mean
        return (centered * self.values.reshape(-1, 1)).T @ centered / self.values.sum()

    def sample(self, n: int, rng: Any = 0) -> Array:
        """n draws `(n, d)` from the piecewise constant density."""
        draw = generator(rng)
        shares = self.values.ravel() / self.values.sum()
        which = draw.choice(shares.size, size=n, p=shares)
        return self.grid.points()[which] + self.grid.spacing * (draw.random((n, self.dim)) - 0.5)

    def __repr__(self) -> str:
        return f"Density({self.grid!r}, mass={self.mass:.6g})"


def _check_held(grid: Grid, target: Bounded) -> None:
    """A grid that holds next to nothing of a target is the wrong one: scaled to mass 1, its values would be those of
    a tail. Around periodic axes a target has no outside."""
    lower, upper = np.where(grid.periodic, -np.inf, grid.lower), np.where(grid.periodic, np.inf, grid.upper)
    held = target.within(lower, upper)
    if held < LEAST:
        raise InputError(
            f"{grid!r} holds {held:.2g} of the mass of {target!r}, less than {LEAST:g}: move or enlarge the box, or "
            "give the values at grid.points() where the tail is meant"
        )


def cell_values(grid: Grid, values: Any, scaled: bool = True) -> Array:
    """What is given for a density, at the cells of a grid; a target up to a factor if `scaled`, however little of it
    the grid holds."""
    if isinstance(values, Target):
        if values.dim != grid.dim:
            raise InputError(f"the density has dimension {values.dim}, the grid {grid.dim}")
        logs = values.log_density(grid.points())
        if not np.any(logs > -np.inf):
            raise InputError("the density is zero in every cell of the grid; move the box or refine it")
        # Up to a factor, which normalising takes out again: a density far from its centre may underflow.
        values = np.exp(logs - logs.max()) if scaled else np.exp(logs)
    elif callable(values):
        values = values(grid.points())
    array = floats("the values of a density", values)
    if array.shape not in (grid.cells, (int(np.prod(grid.cells)),)):
        raise InputError(f"the values of a density must have the shape {grid.cells} of the grid, got {array.shape}")
    return array.reshape(grid.cells)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Particles:
    """A weighted cloud: `positions` `(n, d)`, `weights` `(n,)` scaled to sum 1, equal where None.

    `domain` is a Grid whose box holds the cloud: at its no-flux sides particles are reflected, at periodic ones they
    come back at the other end. Its cells play no part.
    """

    positions: Array
    weights: Array
    domain: Grid | None

    def __init__(self, positions: ArrayLike, weights: ArrayLike | None = None, domain: Grid | None = None) -> None:
        points = checked_positions("positions", positions)
        if domain is not None:
            _check_domain(domain, points)
        shares = probabilities("weights", weights, len(points))
        _fields(self, positions=points, weights=shares, domain=domain)

    @property
    def dim(self) -> int:
        return self.positions.shape[1]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def coordinates(self) -> Array:
        return self.positions

    def at(self, coordinates: Array) -> "Particles":
        new = object.__new__(Particles)
        points = coordinates if self.domain is None else into_box(self.domain, coordinates)
        return _fields(new, positions=points, weights=self.weights, domain=self.domain)

    def with_parts(self, positions: Array, weights: Array, domain: Grid | None) -> "Particles":
        """A cloud of these parts, unchecked: what was written is what is read."""
        return _fields(object.__new__(Particles), positions=positions, weights=weights, domain=domain)

    @cached_property
    def mean(self) -> Array:
        """Weighted mean `(d,)`."""
        return self.weights @ self.positions

    @cached_property
    def cov(self) -> Array:
        """Weighted covariance `(d, d)`, without the n/(n-1) correction."""
        centered = self.positions - self.mean
        return (centered * self.weights[:, None]).T @ centered

    def __repr__(self) -> str:
        return f"Particles({len(self)} in {self.dim}-D)"


def _check_domain(domain: Any, points: Array) -> None:
    if not isinstance(domain, Grid):
        raise InputError(f"domain must be a wf.Grid, got {type(domain).__name__}")
    if domain.dim != points.shape[1]:
        raise InputError(f"the domain has dimension {domain.dim}, the particles {points.shape[1]}")
    if any("absorbing" in pair for pair in domain.boundary):
        raise InputError("particles need no-flux or periodic sides; an absorbing side would change their number")
    outside = len(points) - np.count_nonzero(domain.contains(points))
    if outside:
        raise InputError(f"{outside} particle(s) lie outside the domain {domain!r}; move them in or enlarge it")


def into_box(domain: Grid, x: Array) -> Array:
    """Positions folded into the box: reflected at no-flux sides, wrapped at periodic ones; inside ones are
    untouched."""
    if np.all(domain.contains(x)):
        return x
    y = x.copy()
    for axis, periodic in enumerate(domain.periodic):
        low, length = domain.lower[axis], domain.upper[axis] - domain.lower[axis]
        out = (x[:, axis] < low) | (x[:, axis] > domain.upper[axis])
        z = x[out, axis] - low
        folded = np.mod(z, length) if periodic else length - np.abs(np.mod(z, 2.0 * length) - length)
        y[out, axis] = np.clip(low + folded, low, domain.upper[axis])
    return y


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Point:
    """A Dirac mass at x `(d,)`: the zero-dimensional special case, on which a flow is an optimizer.

    >>> Point([3.0, 3.0]).dim
    2
    """

    x: Array

    def __init__(self, x: ArrayLike) -> None:
        _fields(self, x=vector("x", x))

    @property
    def dim(self) -> int:
        return self.x.size

    @property
    def coordinates(self) -> Array:
        return self.x

    def at(self, coordinates: Array) -> "Point":
        return _fields(object.__new__(Point), x=coordinates)

    def __repr__(self) -> str:
        return f"Point({self.x.tolist()})"


KINDS: dict[type, str] = {Density: "density", Particles: "particles", Point: "point", Gaussian: "gaussian"}
STATES = tuple(KINDS)


def kind(state: Any) -> str:
    """The word for a state in files: "density", "particles", "point" or "gaussian"."""
    if type(state) not in KINDS:
        raise InputError(f"a state is a Density, Particles, Point or Gaussian, got {type(state).__name__}")
    return KINDS[type(state)]


__all__ = ["KINDS", "STATES", "Density", "Gaussian", "Particles", "Point", "State", "cell_values", "into_box", "kind"]
