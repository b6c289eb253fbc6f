"""One sensible picture of any result."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from wflow.errors import InputError
from wflow.functionals import Potential
from wflow.loop.recipes import rebuilt
from wflow.plot.curves import draw_plain_energy
from wflow.plot.drawing import extent, panel_height, union
from wflow.plot.panels import PANEL, default_frames, draw_frames, draw_ridge
from wflow.plot.paths import trajectories
from wflow.plot.style import DASHES, GREY, as_results, finished, new_figure, set_title, styled, title_of
from wflow.results import Result
from wflow.states import Point


@styled
def result(result: Result, path: str | Path | None = None) -> Figure:
    """A picture chosen by state and dimension: densities over time and the energy; the way of a point.

    1-D: a ridge. 2-D and more: four frames on the first two axes. Points: the way in the plane, over the contours of
    the objective where that was stated in expressions; else coordinates over time.
    """
    one = as_results(result)[0]
    first = one.states[0]
    if isinstance(first, Point):
        flat = first.dim == 2 and len(one.times) > 1
        figure = trajectories(one, objective_of(one)) if flat else _coordinates(one)
        set_title(figure, title_of(one))
        return finished(figure, path)
    figure = _on_the_line(one) if first.dim == 1 else _in_the_plane(one)
    set_title(figure, title_of(one), str(one.info.get("stepper", "")))
    return finished(figure, path)


def objective_of(one: Result) -> Any:
    """The objective of a point's run as a function of positions, where it was stated in expressions; else None."""
    try:
        terms = rebuilt(str(one.info.get("functional")), "functional").terms
    except InputError:
        return None
    if not all(isinstance(term, Potential) and not term.field.timed for _, term in terms):
        return None
    return lambda x: sum(weight * term.field.value(x) for weight, term in terms)


def _has_energy(one: Result) -> bool:
    series = one.diagnostics.get("energy")
    return series is not None and len(series) > 1 and bool(np.isfinite(series).any())


def _on_the_line(one: Result) -> Figure:
    with_energy = _has_energy(one)
    figure = new_figure(11.0 if with_energy else 6.8, 5.2)
    axes = figure.subplots(1, 1 + with_energy, squeeze=False)[0]
    draw_ridge(axes[0], one)
    if with_energy:
        draw_plain_energy(axes[1], one)
    return figure


def _in_the_plane(one: Result) -> Figure:
    chosen = default_frames(one)
    with_energy = _has_energy(one)
    limits = union([extent(one.states[i]) for i in chosen])
    heights = [panel_height(limits, PANEL) + 1.1, 2.9][: 1 + with_energy]
    figure = new_figure(PANEL * len(chosen) + 1.4, sum(heights) + 0.7)
    parts = figure.subfigures(1 + with_energy, 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = parts[0].subplots(1, len(chosen), squeeze=False, sharex=True, sharey=True)
    draw_frames(parts[0], axes, [one], [chosen], [""])
    if with_energy:
        draw_plain_energy(parts[1].subplots(), one)
    return figure


def _coordinates(one: Result) -> Figure:
    figure = new_figure(7.0, 4.6)
    ax = figure.subplots()
    x = np.stack([state.x for state in one.states])
    names: list[Any] = list("xyz") if x.shape[1] <= 3 else [f"x{k}" for k in range(x.shape[1])]
    few = x.shape[1] <= 6
    for k in range(x.shape[1]):
        ax.plot(one.times, x[:, k], linestyle=DASHES[k % len(DASHES)] if few else "-", label=names[k] if few else None)
    ax.set_xlabel("time t")
    ax.set_ylabel("x" if x.shape[1] == 1 else "coordinates")
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)
    if 1 < x.shape[1] <= 6:
        ax.legend()
    return figure
