"""Phase portraits: the ways of optimizers over an objective."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from wflow.arrays import Array, floats
from wflow.errors import InputError
from wflow.expression import as_field
from wflow.functionals import Potential
from wflow.landscape import Basins
from wflow.plot import drawing as draw
from wflow.plot.style import (
    COLORS,
    DASHES,
    GREY,
    INK,
    MARKERS,
    as_results,
    finished,
    labels,
    new_figure,
    set_title,
    styled,
)
from wflow.results import Result
from wflow.states import Gaussian, Point

SIDE = 220
SHADES = 16
NEAR = 0.006  # of the picture: ways this near hide each other


@styled
def trajectories(
    results: Result | Sequence[Result],
    field: Any = None,
    names: Sequence[str] | None = None,
    path: str | Path | None = None,
    bounds: Any = None,
) -> Figure:
    """The ways of points in the plane over the contours of an objective; of Gaussians, their means.

    `field`: an expression, a callable `(n, 2) -> (n,)` or a `Potential`. `bounds`: ((x0, x1), (y0, y1)), else around
    all ways. Contours are at equal shares of the area, so that valleys and flats show alike. A circle is the start,
    a star the end. A way beneath another is drawn wider. Every frame is a vertex: run with save="all".
    """
    given = as_results(results)
    ways = [way(result) for result in given]
    limits = _limits(ways, bounds)
    figure = new_figure(7.0, draw.panel_height(limits, 6.2) + 1.4)
    ax = figure.subplots()
    if field is not None:
        set_title(figure, _contours(ax, field, limits))
    near = NEAR * float(np.max(limits[1] - limits[0]))
    for k, (line, name) in enumerate(zip(ways, labels(given, names), strict=True)):
        color = COLORS[k % len(COLORS)]
        marker = MARKERS[k % len(MARKERS)] if len(line) <= 60 else None
        over, under = (any(along(line, other, near) for other in part) for part in (ways[:k], ways[k + 1 :]))
        if not over:  # else the seam would hide what lies beneath
            ax.plot(line[:, 0], line[:, 1], color="white", linewidth=4.0, alpha=0.9)
        style: dict[str, Any] = {"marker": marker, "linestyle": DASHES[k // len(COLORS) % len(DASHES)]}
        if under:
            style |= {"linewidth": 5.5, "markersize": 10.0, "linestyle": "-"}
        elif over:
            style |= {"linewidth": 1.4, "markersize": 3.0}
        ax.plot(line[:, 0], line[:, 1], color=color, label=name, **{"markersize": 4.5, "linewidth": 1.8} | style)
        ax.plot(*line[-1], marker="*", markersize=17, color=color, markeredgecolor="white", zorder=4)
    for start in np.unique([line[0] for line in ways], axis=0):
        ax.plot(*start, marker="o", markersize=9, markerfacecolor="white", markeredgecolor=INK, zorder=5)
    ax.set(xlim=(limits[0][0], limits[1][0]), ylim=(limits[0][1], limits[1][1]), aspect=draw.aspect(limits))
    draw.name_axes(ax, 2)
    if len(given) > 1 or names is not None:
        figure.legend(loc="outside lower center", ncols=min(3, len(given)))
    return finished(figure, path)


@styled
def basins(found: Basins, field: Any = None, path: str | Path | None = None) -> Figure:
    """Basins of attraction in the plane, a colour each, white where nothing was reached; stars are the minima.

    `found` comes from `wf.basins`; contours of `field`, as in `trajectories`, lie over it.
    """
    x, y = found.axes
    limits = tuple(np.array([1.5 * a[k] - 0.5 * a[j] for a in (x, y)]) for k, j in ((0, 1), (-1, -2)))
    figure = new_figure(7.0, draw.panel_height((limits[0], limits[1]), 6.2) + 0.8)
    ax = figure.subplots()
    colors = [to_rgb(COLORS[k % len(COLORS)]) for k in range(len(found.minima))]
    shades = np.array([[1.0, 1.0, 1.0], *(0.55 + 0.45 * np.array(color) for color in colors)])
    box = (limits[0][0], limits[1][0], limits[0][1], limits[1][1])
    ax.imshow(shades[found.labels.T + 1], origin="lower", extent=box, interpolation="nearest", aspect="auto")
    if field is not None:
        set_title(figure, _contours(ax, field, (limits[0], limits[1]), shaded=False))
    for color, minimum in zip(colors, found.minima, strict=True):
        ax.plot(*minimum.x, marker="*", markersize=20, color=color, markeredgecolor="white", markeredgewidth=1.5)
    ax.set(xlim=box[:2], ylim=box[2:], aspect=draw.aspect((limits[0], limits[1])))
    draw.name_axes(ax, 2)
    return finished(figure, path)


def along(line: Array, other: Array, near: float) -> bool:
    """Whether nine tenths of a way `(T, 2)` lie within `near` of another."""
    stations = [np.insert(np.cumsum(np.linalg.norm(np.diff(w, axis=0), axis=1)), 0, 0.0) for w in (line, other)]
    if stations[0][-1] == 0.0 or stations[1][-1] == 0.0:
        return False
    fine = [
        np.stack([np.interp(np.linspace(0.0, s[-1], 400), s, w[:, k]) for k in (0, 1)], axis=1)
        for s, w in zip(stations, (line, other), strict=True)
    ]
    gaps = np.linalg.norm(fine[0][:, None] - fine[1][None], axis=2).min(axis=1)
    return bool(np.mean(gaps <= near) >= 0.9)


def way(result: Result) -> Array:
    """Positions `(T, 2)` of a point, or means of a Gaussian, at the frames."""
    first = result.states[0]
    if first.dim != 2 or not isinstance(first, Point | Gaussian):
        raise InputError(
            f"trajectories draws points and Gaussians in the plane, got {type(first).__name__} in dimension {first.dim}"
        )
    return np.stack([one.x if isinstance(one, Point) else one.mean for one in result.states])


def _limits(ways: Sequence[Array], bounds: Any) -> draw.Range:
    if bounds is None:
        low, high = draw.union([(line.min(axis=0), line.max(axis=0)) for line in ways], 0.15)
        # A straight way would leave no room across.
        side = 0.5 * np.maximum(high - low, 0.7 * np.max(high - low))
        return 0.5 * (low + high) - side, 0.5 * (low + high) + side
    box = floats("bounds", bounds)
    if box.shape != (2, 2) or np.any(box[:, 0] >= box[:, 1]):
        raise InputError(f"bounds must be ((x0, x1), (y0, y1)) with x0 < x1 and y0 < y1, got {bounds}")
    return box[:, 0], box[:, 1]


def _contours(ax: Any, field: Any, limits: draw.Range, shaded: bool = True) -> str:
    objective = field.field if isinstance(field, Potential) else as_field(field)
    objective.check_dim(2)
    x, y = (np.linspace(limits[0][k], limits[1][k], SIDE) for k in (0, 1))
    points = np.stack([a.ravel() for a in np.meshgrid(x, y, indexing="ij")], axis=1)
    with np.errstate(all="ignore"):
        values = objective.value(points).reshape(SIDE, SIDE)
    levels = np.unique(np.quantile(values[np.isfinite(values)], np.linspace(0.005, 0.97, SHADES)))
    if levels.size > 1 and not shaded:
        ax.contour(x, y, values.T, levels=levels, colors=INK, linewidths=0.6, alpha=0.6)
    elif levels.size > 1:
        ranks = np.searchsorted(levels, values).astype(float)
        # Shade by rank: the lowest sixth of the area is the lightest.
        ax.contourf(
            x, y, ranks.T, levels=np.arange(-0.5, levels.size + 1.0), cmap="Greys", alpha=0.35, antialiased=True
        )
        ax.contour(x, y, values.T, levels=levels, colors=GREY, linewidths=0.8)
    return str(objective.text)
