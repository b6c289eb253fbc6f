"""States side by side: one state, frames of results, ridges over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from wflow.arrays import Array, floats
from wflow.errors import InputError
from wflow.plot import drawing as draw
from wflow.plot.style import (
    COLORS,
    DENSITY,
    as_results,
    check_states,
    finished,
    labels,
    new_figure,
    set_title,
    styled,
    title_of,
)
from wflow.results import Result
from wflow.states import Density, cell_values

SAME_TIME = 1e-6  # of the last time
PANEL = 3.1


@styled
def state(state: Any, ax: Any = None, target: Any = None, data: Any = None, path: str | Path | None = None) -> Figure:
    """A state: a curve in 1-D; in 2-D filled contours, dots, the 1 and 2 sd ellipses, a star. Beyond: the first two
    axes.

    `ax`: matplotlib axes to draw on, else a new figure. `target`: a target or its values on the cells, as a dashed
    curve or contour lines. `data`: points `(n, d)` drawn over it.
    """
    check_states([state])
    ranges = [draw.extent(state)]
    if data is not None:
        points = np.asarray(data, dtype=float).reshape(len(data), -1)[:, :2]
        ranges.append((points.min(axis=0), points.max(axis=0)))
    if target is not None and state.dim <= 2:
        ranges += [reach for reach in [draw.known_extent(target, state)] if reach is not None]
    limits = draw.union(ranges)
    figure = ax.figure if ax is not None else new_figure(6.4, draw.panel_height(limits, 5.2) + 1.0)
    ax = figure.subplots() if ax is None else ax
    if state.dim == 1:
        draw.draw_line(ax, state, label="state" if target is not None else None)
        _set_line(ax, limits)
    else:
        shades = draw.draw_plane(ax, state)
        if shades is not None:
            _bar(figure, shades, [ax], state.dim)
        _set_plane(ax, limits, state.dim)
    if target is not None:
        draw.draw_target(ax, target, state, limits)
    if data is not None:
        draw.draw_data(ax, data, state.dim)
    if state.dim == 1:
        ax.set_ylim(bottom=0.0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    return finished(figure, path)


@styled
def frames(
    results: Result | Sequence[Result],
    times: ArrayLike | None = None,
    indices: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    data: Any = None,
    path: str | Path | None = None,
) -> Figure:
    """Results at several times: one row for each result, one column for each time, one range and one colour scale.

    `times` must be frames of every result; `indices` counts frames of the first; without both four frames from first
    to last. The colours follow the square root of the density. `data`:
    points.
    """
    given = as_results(results)
    rows = _chosen(given, times, indices)
    ranges = [draw.extent(r.states[i]) for r, row in zip(given, rows, strict=True) for i in row]
    height = draw.panel_height(draw.union(ranges), PANEL) + 0.35
    figure = new_figure(PANEL * len(rows[0]) + 1.4, height * len(given) + 1.1)
    axes = figure.subplots(len(given), len(rows[0]), squeeze=False, sharex=True, sharey=True)
    draw_frames(figure, axes, given, rows, labels(given, names) if len(given) > 1 or names is not None else [""], data)
    set_title(figure, title_of(given[0]))
    return finished(figure, path)


@styled
def ridge(result: Result, path: str | Path | None = None, target: Any = None) -> Figure:
    """1-D densities over time, the first at the bottom; at most twelve frames. `target`: dashed, behind the last."""
    figure = new_figure(6.8, 5.4)
    draw_ridge(figure.subplots(), as_results(result)[0], target)
    set_title(figure, title_of(result))
    return finished(figure, path)


def draw_frames(
    figure: Any,
    axes: Any,
    given: Sequence[Result],
    rows: Sequence[Sequence[int]],
    names: Sequence[str],
    data: Any = None,
) -> None:
    """Fill an array of axes; `rows` holds the frames of each result."""
    states = [[result.states[i] for i in row] for result, row in zip(given, rows, strict=True)]
    everything = [one for row in states for one in row]
    dim = everything[0].dim
    if any(one.dim != dim for one in everything):
        raise InputError("frames needs results in one dimension")
    limits = draw.union([draw.extent(one) for one in everything])
    peaks = [float(draw.marginal(one).max()) for one in everything if isinstance(one, Density) and dim > 1]
    levels = draw.color_levels(peaks) if peaks else None
    shades = None
    for r, (row, frame) in enumerate(zip(states, rows, strict=True)):
        for c, one in enumerate(row):
            ax = axes[r, c]
            shades = _panel(ax, one, limits, levels, COLORS[r % len(COLORS)]) or shades
            if data is not None:
                draw.draw_data(ax, data, dim)
            time = given[r].times[frame[c]]
            if r == 0 or abs(time - given[0].times[rows[0][c]]) > SAME_TIME * given[0].times[-1]:
                ax.set_title(f"t = {time:.3g}")
            draw.name_axes(ax, dim, left=c == 0, bottom=r == len(states) - 1)
        if names[r]:
            _row_name(axes[r, 0], names[r])
    if shades is not None:
        _bar(figure, shades, axes.ravel().tolist(), dim)


def draw_ridge(ax: Any, result: Result, target: Any = None) -> None:
    """1-D states as curves above each other, their base lines at equal distances, labelled with the time."""
    if result.states[0].dim != 1:
        raise InputError(f"a ridge is for 1-D results, this one has dimension {result.states[0].dim}; take plot.frames")
    chosen = np.unique(np.linspace(0, len(result.times) - 1, min(12, len(result.times))).round().astype(int))
    states = [result.states[int(i)] for i in chosen]
    lines = [draw.line_of(one) for one in states]
    step = 0.45 * max(float(q.max()) for _, q in lines)
    limits = draw.union([draw.extent(one) for one in states])
    for k in range(len(lines) - 1, -1, -1):
        (x, q), base = lines[k], k * step
        color = DENSITY(0.35 + 0.6 * k / max(1, len(lines) - 1))
        ax.fill_between(x, base, base + q, color="white", alpha=0.75, linewidth=0, zorder=3 - 0.01 * k)
        ax.fill_between(x, base, base + q, color=color, alpha=0.45, linewidth=0, zorder=3 - 0.01 * k)
        ax.plot(x, base + q, color=color, linewidth=1.8, zorder=3 - 0.01 * k)
        # A cloud's estimate ends near its last particle, the line of zero does not.
        for low, high in ((limits[0][0], x[0]), (x[-1], limits[1][0])):
            if low < high:
                ax.plot([low, high], [base, base], color=color, linewidth=1.8, zorder=3 - 0.01 * k)
    if target is not None:
        grid = states[-1].grid if isinstance(states[-1], Density) else draw.grid_around(states[-1])
        p = Density(grid, cell_values(grid, target)).values
        ax.plot(grid.centers[0], p + (len(lines) - 1) * step, "--", color="k", linewidth=1.5, label="target", zorder=4)
        ax.legend(loc="upper right")
    ax.set_xlim(limits[0][0], limits[1][0])
    ax.set_ylim(-0.1 * step, None)
    ax.set_yticks(step * np.arange(len(lines)), [f"{result.times[i]:.3g}" for i in chosen])
    ax.set_xlabel("x")
    ax.set_ylabel("time t")


def default_frames(result: Result, count: int = 4) -> list[int]:
    """At most `count` frames from first to last."""
    return sorted({int(i) for i in np.linspace(0, len(result.times) - 1, count).round()})


def _chosen(given: Sequence[Result], times: ArrayLike | None, indices: Sequence[int] | None) -> list[list[int]]:
    if times is not None and indices is not None:
        raise InputError("frames takes times or indices, not both")
    first = given[0].times
    if indices is not None:
        wanted = first[np.asarray(indices, dtype=int)]
    else:
        wanted = first[default_frames(given[0])] if times is None else np.atleast_1d(floats("times", times))
    rows = []
    for result in given:
        row = [int(np.argmin(np.abs(result.times - t))) for t in wanted]
        far = [float(t) for t, i in zip(wanted, row, strict=True) if abs(result.times[i] - t) > 0.02 * result.times[-1]]
        if far:
            raise InputError(f"a result has no frame near t = {far}; it has {np.round(result.times, 6).tolist()}")
        rows.append(row)
    return rows


def _panel(ax: Any, one: Any, limits: draw.Range, levels: Array | None, color: str) -> Any:
    if one.dim > 1:
        shades = draw.draw_plane(ax, one, levels, color)
        ax.set(xlim=(limits[0][0], limits[1][0]), ylim=(limits[0][1], limits[1][1]), aspect=draw.aspect(limits))
        return shades
    draw.draw_line(ax, one, color)
    ax.set_xlim(limits[0][0], limits[1][0])
    ax.set_ylim(bottom=0.0)
    return None


def _set_line(ax: Any, limits: draw.Range) -> None:
    ax.set_xlim(limits[0][0], limits[1][0])
    draw.name_axes(ax, 1)


def _set_plane(ax: Any, limits: draw.Range, dim: int) -> None:
    ax.set(xlim=(limits[0][0], limits[1][0]), ylim=(limits[0][1], limits[1][1]), aspect=draw.aspect(limits))
    draw.name_axes(ax, dim)


def _bar(figure: Any, shades: Any, axes: list[Any], dim: int) -> None:
    bar = figure.colorbar(shades, ax=axes, shrink=0.9, pad=0.02, aspect=24)
    bar.set_label("density q" if dim == 2 else "density of (x, y)")
    ticks = shades.levels[::3]
    bar.set_ticks(ticks, labels=[f"{v:.2g}" for v in ticks])
    bar.minorticks_off()
    bar.outline.set_linewidth(0.6)


def _row_name(ax: Any, name: str) -> None:
    ax.set_ylabel(f"{name}\n{ax.get_ylabel()}")
