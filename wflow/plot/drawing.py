"""How each kind of state is drawn on axes, and the range it needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Ellipse

from wflow.arrays import Array
from wflow.distances import grid_around, moments, values_on
from wflow.errors import InputError
from wflow.grid import Grid
from wflow.plot.style import BLUE, DENSITY, INK, RED
from wflow.states import Density, Gaussian, Particles, Point, cell_values

LEVELS = 15
VISIBLE = 2e-3  # of the largest value: below it a density is as good as white
AXES = ("x", "y", "z")

Range = tuple[Array, Array]


def line_of(state: Any) -> tuple[Array, Array]:
    """A 1-D state as a curve (x, density); particles by a kernel estimate."""
    grid = state.grid if isinstance(state, Density) else grid_around(state)
    return grid.centers[0], values_on(state, grid)


def marginal(state: Density) -> Array:
    """Density of the first two axes `(nx, ny)`."""
    return state.values if state.dim == 2 else state.values.sum(axis=2) * state.grid.spacing[2]


def extent(state: Any) -> Range:
    """Lower and upper corner, on the first two axes, of what is to be seen of a state."""
    if isinstance(state, Point):
        return state.x[:2], state.x[:2]
    if isinstance(state, Particles):
        return state.positions.min(axis=0)[:2], state.positions.max(axis=0)[:2]
    if isinstance(state, Gaussian):
        reach = 3.2 * np.sqrt(np.diag(state.cov))
        return (state.mean - reach)[:2], (state.mean + reach)[:2]
    values = marginal(state) if state.dim > 1 else state.values
    low, high = [], []
    for axis in range(values.ndim):
        seen = np.flatnonzero(
            values.max(axis=tuple(k for k in range(values.ndim) if k != axis)) > VISIBLE * values.max()
        )
        edges = np.linspace(state.grid.lower[axis], state.grid.upper[axis], state.grid.cells[axis] + 1)
        low.append(edges[seen[0]])
        high.append(edges[seen[-1] + 1])
    return np.array(low), np.array(high)


def union(ranges: list[Range], margin: float = 0.06) -> Range:
    """One range around all, with a margin; never empty."""
    low = np.min([r[0] for r in ranges], axis=0)
    high = np.max([r[1] for r in ranges], axis=0)
    sides = high - low
    gap = margin * np.where(sides > 0.0, sides, 5.0 * sides.max() if sides.max() > 0.0 else 1.0 / margin)
    return low - gap, high + gap


def color_levels(peaks: list[float]) -> Array:
    """One scale for several densities, even in the square root: what holds a tenth of the mass, in a wide well beside a
    narrow one, is seen as it is among the dots of a cloud."""
    return max(peaks) * (1.0 + 1e-9) * np.linspace(0.0, 1.0, LEVELS + 1) ** 2


def draw_line(ax: Any, state: Any, color: str = BLUE, label: str | None = None) -> None:
    """A 1-D state: a curve over its area, a point as an arrow at its place."""
    if isinstance(state, Point):
        ax.axvline(state.x[0], color=color, label=label)
        return
    x, q = line_of(state)
    ax.fill_between(x, q, color=color, alpha=0.18, linewidth=0)
    ax.plot(x, q, color=color, label=label)


def draw_plane(ax: Any, state: Any, levels: Array | None = None, color: str = BLUE, over: bool = False) -> Any:
    """A state on the first two axes; gives what a colour bar needs for a Density, else None. `over` a density: dots
    that are seen on it, ellipses that do not hide it."""
    if isinstance(state, Density):
        return _filled(ax, state, levels)
    if isinstance(state, Particles):
        _dots(ax, state, color, 0.5 if over else 0.06)
    elif isinstance(state, Gaussian):
        _ellipses(ax, state, color, () if over else ((2.0, 0.15), (1.0, 0.3)))
    else:
        ax.plot(*state.x[:2], marker="*", markersize=16, color=color, markeredgecolor="white", linestyle="none")
    return None


def _filled(ax: Any, state: Density, levels: Array | None) -> Any:
    values, grid = marginal(state), state.grid
    levels = color_levels([float(values.max())]) if levels is None else levels
    # The outer half cells belong to the picture: centres are extended to the box.
    x, y = (np.concatenate(([grid.lower[k]], grid.centers[k], [grid.upper[k]])) for k in (0, 1))
    padded = np.pad(values, 1, mode="edge")
    # One colour a band, the first of them white: what is empty looks empty.
    colors = ListedColormap(DENSITY(np.linspace(0.0, 1.0, LEVELS)))
    return ax.contourf(x, y, padded.T, levels=levels, norm=BoundaryNorm(levels, LEVELS), cmap=colors)


def _dots(ax: Any, state: Particles, color: str, least: float) -> None:
    n = len(state)
    alpha = float(np.clip((400.0 / n) ** 0.5, least, 0.8))
    size = np.clip(6000.0 / n, 3.0, 28.0) * np.clip(n * state.weights, 0.1, 10.0)
    x, y = state.positions[:, 0], state.positions[:, 1]
    ax.scatter(x, y, s=size, color=color, alpha=alpha, linewidths=0, rasterized=True)


def _ellipses(ax: Any, state: Gaussian, color: str, fills: Sequence[tuple[float, float]]) -> None:
    values, vectors = np.linalg.eigh(state.cov[:2, :2])
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    center = (float(state.mean[0]), float(state.mean[1]))
    for sd, alpha in (*fills, (2.0, None), (1.0, None)):
        width, height = 2.0 * sd * np.sqrt(values[::-1])
        look: Any = {"fill": False, "linewidth": 1.6} if alpha is None else {"alpha": alpha, "linewidth": 0}
        ax.add_patch(Ellipse(center, width, height, angle=angle, color=color, **look))
    ax.plot(*state.mean[:2], marker="+", markersize=9, markeredgewidth=2, color=color)


def draw_target(ax: Any, target: Any, state: Any, limits: Range) -> None:
    """The target over a state: a dashed curve, or contour lines at even shares of its peak."""
    if state.dim > 2:
        raise InputError(f"a target is drawn in 1-D and 2-D only, the state has dimension {state.dim}")
    grid = state.grid if isinstance(state, Density) else Grid(*limits, 600 if state.dim == 1 else 160)
    p = Density(grid, cell_values(grid, target))
    scale = state.mass if isinstance(state, Density) else 1.0
    if state.dim == 1:
        ax.plot(grid.centers[0], scale * p.values, color=INK, linestyle=(0, (4, 2)), linewidth=1.8, label="target")
        return
    levels = float(p.values.max()) * np.array([0.05, 0.2, 0.4, 0.6, 0.8])
    ax.contour(*grid.centers, p.values.T, levels=levels, colors=RED, linewidths=1.4)
    ax.plot([], [], color=RED, linewidth=1.4, label="target")


def draw_data(ax: Any, data: Any, dim: int) -> None:
    """Raw points `(n, d)`: small crosses, on the line ticks at the bottom."""
    points = np.asarray(data, dtype=float)
    points = points[:, None] if points.ndim == 1 else points
    if points.ndim != 2 or points.shape[1] != dim:
        raise InputError(f"data must have shape (n, {dim}), got {np.shape(data)}")
    if dim == 1:
        ax.plot(points[:, 0], np.zeros(len(points)), "|", color=INK, markersize=12, alpha=0.5, label="data")
    else:
        ax.plot(points[:, 0], points[:, 1], "x", color=INK, markersize=4, markeredgewidth=1.0, alpha=0.7, label="data")


def name_axes(ax: Any, dim: int, left: bool = True, bottom: bool = True) -> None:
    """Labels of the first two axes; of more than two it is a projection."""
    names = AXES if dim <= 3 else ("x0", "x1")
    if bottom:
        ax.set_xlabel(names[0])
    if left:
        ax.set_ylabel("density q" if dim == 1 else names[1])


def known_extent(target: Any, state: Any) -> Range | None:
    """The range of a target where it is known: on the cells of the state, or by its moments."""
    if isinstance(state, Density):
        return extent(Density(state.grid, cell_values(state.grid, target)))
    try:
        mean, cov = moments(target)
    except InputError:
        return None
    reach = 2.6 * np.sqrt(np.diag(cov))
    return (mean - reach)[:2], (mean + reach)[:2]


def panel_height(limits: Range, width: float) -> float:
    """Height of a panel on which lengths are equal, within reason."""
    if limits[0].size < 2 or aspect(limits) == "auto":
        return 0.8 * width
    sides = limits[1] - limits[0]
    return width * float(np.clip(sides[1] / sides[0], 0.35, 1.25))


def aspect(limits: Range) -> str:
    """Equal lengths where that leaves both axes legible."""
    sides = limits[1] - limits[0]
    return "equal" if 0.3 < sides[0] / sides[1] < 3.4 else "auto"
