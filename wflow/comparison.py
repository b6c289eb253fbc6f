"""Results of different methods held against each other on common times."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from wflow import plot
from wflow.arrays import Array, floats, random_seed
from wflow.distances import moments, wasserstein2_with_method
from wflow.errors import InputError
from wflow.estimators import bandwidths, mesh_estimate
from wflow.flows import box_of
from wflow.grid import Grid
from wflow.results import Result
from wflow.states import Density, Gaussian, Particles, Point

SAME_TIME = 1e-9  # of the largest time: frames this near are at one time
CELLS = {1: 2000, 2: 256, 3: 64}
COLUMNS = ("w2", "l1", "mean", "covariance", "energy")
HEADS = ("time", "against", "W2", "L1", "|mean|", "|cov|", "energy")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `compare` gives: printed as a table; `rows` has one dict for each time and result but the first.

    Keys of a row: `time`; `reference` and `other`, the names; `w2` and `w2_method`, which says how it was found;
    `l1`; `mean`, the Euclidean norm of the difference of the means, and `covariance`, the Frobenius norm; `energy`,
    other minus reference; `energy_reference`, `energy_other`. What is not known is nan.
    """

    names: tuple[str, ...]
    rows: list[dict[str, Any]]

    def plot(self, path: str | Path | None = None) -> Any:
        """W2, L1 and energies over time as a matplotlib figure, saved where a path (.png, .svg, .pdf) is given."""
        return plot.comparison(self, path)

    def __str__(self) -> str:
        cells = [list(HEADS)]
        for row in self.rows:
            numbers = [_short(row[name]) for name in COLUMNS]
            cells.append([f"{row['time']:g}", row["other"], *numbers])
        widths = [max(len(line[k]) for line in cells) for k in range(len(HEADS))]
        lines = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
        methods = sorted({row["w2_method"] for row in self.rows})
        notes = [f"W2: {method}" for method in methods[:3]] + ["W2: other methods, see rows"] * (len(methods) > 3)
        return "\n".join([f"reference: {self.names[0]}", *lines, *notes])

    __repr__ = __str__


def compare(
    a: Result,
    b: Result,
    *more: Result,
    names: Sequence[str] | None = None,
    times: ArrayLike | None = None,
    rng: Any = 0,
) -> Comparison:
    """Hold results against the first one at the times where all have a frame; nothing is interpolated in time.

    `times` picks among the common times; `names` stand in the table and the plot. W2 as in `wf.wasserstein2`. L1 =
    ∫|q - q'| needs densities: it is taken on the grid of the reference, else of the other, else on a box around
    both. A density on another grid is brought over by its cumulative mass (second order, keeps mass and sign);
    particles by a kernel estimate with the bandwidth of Botev, whose own error, 0.02 to 0.1 at 2e4 particles, is the
    floor; Gaussians at cell centres; points and d > 3 have nan. `energy` is nan where the functionals differ. Raises
    `InputError` where no frames coincide.

    >>> from wflow import Gaussian, Potential, run
    >>> fast, slow = (run(Potential("x**2 / 2"), Gaussian([m], 1.0), t_end=1.0, save="ends") for m in (1.0, 3.0))
    >>> round(compare(fast, slow).rows[0]["w2"], 12)
    2.0
    """
    results = (a, b, *more)
    chosen = _names(results, names)
    seed = random_seed(rng)
    rows = []
    for indices in _frames(results, times):
        states = [result.states[i] for result, i in zip(results, indices, strict=True)]
        energies = [_energy(result, i) for result, i in zip(results, indices, strict=True)]
        time = float(a.times[indices[0]])
        for k in range(1, len(results)):
            value, method = wasserstein2_with_method(states[0], states[k], seed)
            one, other = moments(states[0]), moments(states[k])
            same = a.info.get("functional") == results[k].info.get("functional")
            rows.append(
                {
                    "time": time,
                    "reference": chosen[0],
                    "other": chosen[k],
                    "w2": value,
                    "w2_method": method,
                    "l1": l1(states[0], states[k]),
                    "mean": float(np.linalg.norm(one[0] - other[0])),
                    "covariance": float(np.linalg.norm(one[1] - other[1])),
                    "energy": _minus(energies[k], energies[0]) if same else np.nan,
                    "energy_reference": energies[0],
                    "energy_other": energies[k],
                }
            )
    return Comparison(chosen, rows)


def l1(a: Any, b: Any) -> float:
    """∫ |a - b| for two states, as `compare` says; nan where there are no densities.

    >>> grid = Grid(0.0, 2.0, 2)
    >>> l1(Density(grid, [1.0, 0.0]), Density(grid, [0.5, 0.5]))
    1.0
    """
    if isinstance(a, Point) or isinstance(b, Point) or a.dim > 3:
        return np.nan
    try:
        grid = next((s.grid for s in (a, b) if isinstance(s, Density)), None) or _common_box(a, b)
        one, other = values_on(a, grid), values_on(b, grid)
    except InputError:  # coincident particles have no bandwidth
        return np.nan
    # Mass outside the grid of the one counts in full: there the other has none.
    outside = sum(_outside(s, v, grid) for s, v in ((a, one), (b, other)))
    return float(np.abs(one - other).sum()) * grid.volume + outside


def values_on(state: Any, grid: Grid) -> Array:
    """The density of a state as cell averages on a grid, in the shape of its cells; not rescaled."""
    if isinstance(state, Density):
        return state.values if state.grid == grid else _transfer(state, grid)
    points = grid.points()
    if isinstance(state, Gaussian):
        return state.density(points).reshape(grid.cells)
    width = bandwidths(state.positions, state.weights, "isj")
    values, domain = np.zeros(len(points)), state.domain
    inside = np.ones(len(points), dtype=bool) if domain is None else domain.contains(points)
    if inside.any():
        box = box_of(domain)
        values[inside] = mesh_estimate(state.positions, state.weights, width, box, points=points[inside])[0]
    return values.reshape(grid.cells)


def _transfer(state: Density, grid: Grid) -> Array:
    """Cell averages on another grid: along each axis the cumulative mass, read at the new edges."""
    values = state.values
    for axis in range(grid.dim):
        old, new = (np.linspace(g.lower[axis], g.upper[axis], g.cells[axis] + 1) for g in (state.grid, grid))
        padding = [(1 if k == axis else 0, 0) for k in range(grid.dim)]
        mass = np.pad(np.cumsum(values, axis=axis) * state.grid.spacing[axis], padding)
        read = PchipInterpolator(old, mass, axis=axis)(np.clip(new, old[0], old[-1]))
        values = np.diff(read, axis=axis) / grid.spacing[axis]
    return np.maximum(values, 0.0)


def _outside(state: Any, values: Array, grid: Grid) -> float:
    mass = state.mass if isinstance(state, Density) else 1.0
    return max(0.0, mass - float(values.sum()) * grid.volume)


def _common_box(a: Any, b: Any) -> Grid:
    sides = []
    for state in (a, b):
        if isinstance(state, Particles):
            reach = 4.0 * bandwidths(state.positions, state.weights, "isj")
            low, high = state.positions.min(axis=0) - reach, state.positions.max(axis=0) + reach
            if state.domain is not None:
                low, high = np.maximum(low, state.domain.lower), np.minimum(high, state.domain.upper)
        else:
            reach = 6.0 * np.sqrt(np.diag(state.cov))
            low, high = state.mean - reach, state.mean + reach
        sides.append((low, high))
    low, high = np.minimum(sides[0][0], sides[1][0]), np.maximum(sides[0][1], sides[1][1])
    return Grid(low, high, CELLS[a.dim])


def _names(results: Sequence[Any], names: Sequence[str] | None) -> tuple[str, ...]:
    for result in results:
        if not isinstance(result, Result):
            raise InputError(f"compare takes results of wf.run or wf.load, got {type(result).__name__}")
    dims = [result.states[0].dim for result in results]
    if len(set(dims)) > 1:
        raise InputError(f"compare needs results in one dimension, got {dims}")
    if names is None:
        kinds = [str(result.info.get("state", "result")) for result in results]
        return tuple(k if kinds.count(k) == 1 else f"{k} {i + 1}" for i, k in enumerate(kinds))
    if len(names) != len(results):
        raise InputError(f"names has {len(names)} entries for {len(results)} results")
    return tuple(str(name) for name in names)


def _frames(results: Sequence[Result], times: ArrayLike | None) -> list[tuple[int, ...]]:
    """For each common time the index of the frame in every result."""
    near = SAME_TIME * max(float(result.times[-1]) for result in results)
    found = []
    for time in results[0].times:
        indices = tuple(int(np.argmin(np.abs(result.times - time))) for result in results)
        if all(abs(r.times[i] - time) <= near for r, i in zip(results, indices, strict=True)):
            found.append(indices)
    common = results[0].times[[indices[0] for indices in found]]
    if times is not None:
        wanted = np.atleast_1d(floats("times", times))
        missing = [float(t) for t in wanted if not np.any(np.abs(common - t) <= near)]
        if missing:
            raise InputError(f"not all results have frames at {missing}; they share {np.round(common, 6).tolist()}")
        return [found[int(np.argmin(np.abs(common - t)))] for t in wanted]
    if not len(found) or (len(found) == 1 and common[0] == 0.0 and all(len(r.times) > 1 for r in results)):
        raise InputError(
            "the results have no frames at the same times (but perhaps the start); run them with the same t_end and "
            "save, for example save=np.linspace(0, t_end, 11)"
        )
    return found


def _energy(result: Result, index: int) -> float:
    series = result.diagnostics.get("energy")
    return np.nan if series is None else float(series[index])


def _minus(a: float, b: float) -> float:
    return a - b if np.isfinite(a) and np.isfinite(b) else np.nan


def _short(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"
