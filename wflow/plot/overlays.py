"""Several states in one picture: over each other, and by their marginals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wflow.errors import InputError
from wflow.grid import Grid
from wflow.plot import drawing as draw
from wflow.plot.style import COLORS, DASHES, GREY, check_states, finished, new_figure, set_title, styled
from wflow.states import Density, Gaussian, Particles, Point

MOST_AXES = 6


@styled
def overlay(
    states: Sequence[Any], names: Sequence[str] | None = None, path: str | Path | None = None, title: Sequence[str] = ()
) -> Figure:
    """States over each other: the first density as filled contours, further ones as contour lines, particles as
    points, Gaussians as their 1 and 2 sd ellipses, points as stars; curves in 1-D. Beyond two dimensions: the first
    two axes."""
    given, called = _checked(states, names)
    limits = draw.union([draw.extent(state) for state in given])
    if given[0].dim == 1:
        figure = new_figure(7.2, 4.6)
        ax = figure.subplots()
        _lines(ax, given, called)
        ax.set_xlim(limits[0][0], limits[1][0])
        ax.set_ylabel("density")
        ax.legend()
    else:
        figure = new_figure(6.4, draw.panel_height(limits, 5.2) + 1.3)
        ax = figure.subplots()
        _planes(ax, given, called)
        ax.set(xlim=(limits[0][0], limits[1][0]), ylim=(limits[0][1], limits[1][1]), aspect=draw.aspect(limits))
    draw.name_axes(ax, given[0].dim)
    if title:
        set_title(figure, *title)
    return finished(figure, path)


@styled
def marginals(states: Sequence[Any], names: Sequence[str] | None = None, path: str | Path | None = None) -> Figure:
    """The marginal densities of states, a panel for each axis, six at most; of clouds by a kernel estimate."""
    given, called = _checked(states, names)
    count = min(given[0].dim, MOST_AXES)
    figure = new_figure(4.4 * count + 0.6, 3.9)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for k, ax in enumerate(axes):
        along = [marginal(state, k) for state in given]
        _lines(ax, along, called)
        limits = draw.union([draw.extent(state) for state in along])
        ax.set_xlim(limits[0][0], limits[1][0])
        ax.set_xlabel(draw.AXES[k] if given[0].dim <= 3 else f"x{k}")
    axes[0].set_ylabel("marginal density")
    axes[-1].legend()
    return finished(figure, path)


def marginal(state: Any, axis: int) -> Any:
    """The 1-D state of one coordinate.

    >>> marginal(Gaussian([1.0, 2.0], [[1.0, 0.5], [0.5, 4.0]]), 1)
    Gaussian(mean=[2.0], cov=[[4.0]])
    """
    if isinstance(state, Density):
        others = tuple(k for k in range(state.dim) if k != axis)
        grid, share = state.grid, float(np.prod([state.grid.spacing[k] for k in others]))
        line = Grid(grid.lower[axis], grid.upper[axis], grid.cells[axis])
        return Density(line, np.ones(line.cells)).at(state.values.sum(axis=others) * share)
    if isinstance(state, Particles):
        return Particles(state.positions[:, axis : axis + 1], state.weights)
    if isinstance(state, Point):
        return Point(state.x[axis : axis + 1])
    return Gaussian(state.mean[axis : axis + 1], state.cov[axis, axis])


def _checked(states: Sequence[Any], names: Sequence[str] | None) -> tuple[list[Any], list[str]]:
    given = list(states)
    if not given:
        raise InputError("there is no state to draw")
    words = check_states(given)
    if len({state.dim for state in given}) > 1:
        raise InputError(f"states over each other need the same dimension, got {[state.dim for state in given]}")
    if names is not None and len(names) != len(given):
        raise InputError(f"names has {len(names)} entries for {len(given)} states")
    return given, words if names is None else [str(name) for name in names]


def _lines(ax: Any, states: list[Any], names: list[str]) -> None:
    for k, (state, name) in enumerate(zip(states, names, strict=True)):
        color, dash = COLORS[k % len(COLORS)], DASHES[k % len(DASHES)]
        if isinstance(state, Point):
            ax.axvline(state.x[0], color=color, linestyle=dash, label=name)
            continue
        x, q = draw.line_of(state)
        if k == 0:
            ax.fill_between(x, q, color=color, alpha=0.18, linewidth=0)
        ax.plot(x, q, color=color, linestyle=dash, label=name)
    ax.set_ylim(bottom=0.0)
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)


def _planes(ax: Any, states: list[Any], names: list[str]) -> None:
    shown, filled, ground = [], False, None
    # Fills first, or they would hide what stands before them in the list.
    for k in sorted(range(len(states)), key=lambda k: not isinstance(states[k], Density)):
        state, color = states[k], COLORS[k % len(COLORS)]
        if isinstance(state, Density) and filled:
            _contours(ax, state, color)
        else:
            draw.draw_plane(ax, state, color=color, over=filled)
            ground = (state, color) if isinstance(state, Density) else ground
            filled = ground is not None
        line = isinstance(state, Density)
        look = {"linewidth": 4.0} if line else {"marker": "o", "linestyle": "none", "markersize": 7.0}
        shown.append((k, Line2D([], [], color=color, label=names[k], **look)))
    if ground is not None and len(states) > 1:  # dots hide the fill: its lines go over them
        _contours(ax, *ground)
    ax.legend(handles=[one for _, one in sorted(shown, key=lambda pair: pair[0])], loc="upper right")


def _contours(ax: Any, state: Density, color: str) -> None:
    values, grid = draw.marginal(state), state.grid
    levels = values.max() * np.array([0.1, 0.3, 0.6, 0.9])
    ax.contour(grid.centers[0], grid.centers[1], values.T, levels=levels, colors=color, linewidths=1.4, zorder=6)
