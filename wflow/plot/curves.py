"""Numbers against time: energies with the slopes expected of them, differences between results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from wflow.arrays import Array, floats
from wflow.errors import InputError
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
    title_of,
)
from wflow.results import Result

ROUNDING = 1e-14
DECADE = 10.0


@styled
def energy(
    results: Result | Sequence[Result],
    names: Sequence[str] | None = None,
    rates: float | Sequence[float | None] | None = None,
    path: str | Path | None = None,
    floor: ArrayLike | None = None,
) -> Figure:
    """Energy above its limit against time, on a log scale.

    `floor`: the limit, one for all or one for each result; without it 0 for an f-divergence alone, else the smallest
    energy of each functional, whose own point is left out. `rates`: one for all or one for each result; the slope
    e^(-rate t) expected of the energy is drawn beside the curve, dashed.
    """
    given = as_results(results)
    figure = new_figure(7.2, 4.8)
    draw_energy(figure.subplots(), given, labels(given, names), rates, floor)
    if len({title_of(result) for result in given}) == 1:
        set_title(figure, title_of(given[0]))
    return finished(figure, path)


def draw_plain_energy(ax: Any, result: Result) -> None:
    """The energy of one result: log scale towards 0 for a divergence, else as it is, its limit being unknown."""
    if _is_divergence(result, _series(result)[1]):
        draw_energy(ax, [result], ["energy"])
        return
    time, value = _series(result)
    seen = np.isfinite(value)
    ax.plot(time[seen], value[seen], marker="o" if np.count_nonzero(seen) <= 12 else None)
    _dress(ax, "energy")


def draw_energy(ax: Any, given: Sequence[Result], names: Sequence[str], rates: Any = None, floor: Any = None) -> None:
    """Draw the curves on axes."""
    series = [_series(result) for result in given]
    floors = _floors(given, series, floor)
    slopes, expected = _each(rates, len(given)), []
    for k, ((time, value), low) in enumerate(zip(series, floors, strict=True)):
        gap = value - low
        seen = np.isfinite(gap) & (gap > ROUNDING * np.max(np.abs(value[np.isfinite(value)]), initial=0.0))
        color, dash = COLORS[k % len(COLORS)], DASHES[k % len(DASHES)]
        if not seen.any():
            continue
        every = max(1, np.count_nonzero(seen) // 12)
        marker = MARKERS[k % len(MARKERS)] if np.count_nonzero(seen) <= 12 else None
        ax.plot(time[seen], gap[seen], color=color, linestyle=dash, marker=marker, markevery=every, label=names[k])
        rate = slopes[k]
        if rate is not None:
            expected.append((time[seen], gap[seen], float(rate)))
    for k, (time, gap, rate) in enumerate(expected):
        _slope(ax, time, gap, rate, first=rate not in [other[2] for other in expected[:k]])
    ax.set_yscale("log")
    unknown = "energy above its smallest" if floor is None else "energy above its limit"
    _dress(ax, "energy" if all(low == 0.0 for low in floors) else unknown)
    if ax.lines and (len(given) > 1 or any(s is not None for s in slopes)):
        ax.legend()


def _dress(ax: Any, label: str) -> None:
    ax.set_xlabel("time t")
    ax.set_ylabel(label)
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)


def _slope(ax: Any, time: Array, gap: Array, rate: float, first: bool) -> None:
    """e^(-rate t) in the later half, a little above the curve, so that both are seen."""
    start = np.searchsorted(time, 0.5 * (time[0] + time[-1]))
    if start >= time.size - 1:
        return
    line = np.array([time[start], time[-1]])
    ax.plot(
        line,
        2.0 * gap[start] * np.exp(-rate * (line - line[0])),
        color=INK,
        linestyle=(0, (4, 2)),
        linewidth=1.6,
        label=f"slope of $e^{{-{rate:.4g}\\,t}}$" if first else None,
    )


def _series(result: Result) -> tuple[Array, Array]:
    """Energy at every step where it is known, else at the frames."""
    if "energy" in result.steps and len(result.steps["time"]) and np.isfinite(result.steps["energy"]).any():
        start = result.diagnostics.get("energy", np.array([np.nan]))[:1]
        return np.append(result.times[:1], result.steps["time"]), np.append(start, result.steps["energy"])
    if "energy" not in result.diagnostics:
        raise InputError("a result has no energy: clouds beyond three dimensions have it only where it is asked for")
    return result.times, result.diagnostics["energy"]


def _floors(given: Sequence[Result], series: Sequence[tuple[Array, Array]], floor: Any) -> list[float]:
    if floor is not None:
        return [float(low) for low in np.broadcast_to(floats("floor", floor), len(given))]
    texts = [str(result.info.get("functional")) for result in given]
    lowest: dict[str, float] = {}
    for text, result, (_, value) in zip(texts, given, series, strict=True):
        smallest = float(np.min(value[np.isfinite(value)], initial=np.inf))
        limit = 0.0 if _is_divergence(result, value) else smallest
        lowest[text] = min(lowest.get(text, np.inf), limit)
    return [lowest[text] for text in texts]


def _is_divergence(result: Result, value: Array) -> bool:
    """Whether the energy is an f-divergence alone, to a target whose constant is known: its limit is 0."""
    text = str(result.info.get("functional"))
    alone = text.startswith("FDivergence(") and " + " not in text
    return alone and not np.any(value < 0.0) and (result.info.get("state") == "density" or "Gibbs(" not in text)


def _each(rates: Any, count: int) -> list[float | None]:
    listed = [rates] * count if rates is None or np.ndim(rates) == 0 else list(rates)
    if len(listed) != count:
        raise InputError(f"rates has {len(listed)} entries for {count} results")
    return listed


@styled
def comparison(compared: Any, path: str | Path | None = None) -> Figure:
    """W2, L1 and the energies of a `Comparison` over time."""
    panels = [("w2", "W2 to the reference"), ("l1", "L1 to the reference")]
    panels = [(key, title) for key, title in panels if any(np.isfinite(row[key]) for row in compared.rows)]
    energies = any(np.isfinite(row["energy_other"]) for row in compared.rows)
    count = len(panels) + energies
    figure = new_figure(4.6 * count + 0.6, 4.3)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for ax, (key, title) in zip(axes, panels, strict=False):
        for k, name in enumerate(compared.names[1:], start=1):
            _curve(ax, [row for row in compared.rows if row["other"] == name], key, name, k)
        ax.set_title(f"{title} ({compared.names[0]})" if count < 3 else title)
        ax.set_ylim(bottom=0.0)
    if energies:
        first = [row for row in compared.rows if row["other"] == compared.names[1]]
        _curve(axes[-1], first, "energy_reference", compared.names[0], 0)
        for k, name in enumerate(compared.names[1:], start=1):
            _curve(axes[-1], [row for row in compared.rows if row["other"] == name], "energy_other", name, k)
        axes[-1].set_title("energy")
        if _spans(compared.rows):
            axes[-1].set_yscale("log")
    for ax in axes:
        ax.set_xlabel("time t")
        ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)
    # Of all panels, so beside none of them.
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=len(compared.names))
    return finished(figure, path)


def _spans(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether energies are positive and so far apart that a linear scale would show the largest alone."""
    values = np.array([row[key] for row in rows for key in ("energy_reference", "energy_other")])
    values = values[np.isfinite(values)]
    return bool(values.min() > 0.0 and values.max() > DECADE * values.min())


def _curve(ax: Any, rows: Sequence[dict[str, Any]], key: str, name: str, k: int) -> None:
    value = np.array([row[key] for row in rows])
    seen = np.isfinite(value)
    color, dash, marker = COLORS[k % len(COLORS)], DASHES[k % len(DASHES)], MARKERS[k % len(MARKERS)]
    time = np.array([row["time"] for row in rows])
    ax.plot(time[seen], value[seen], color=color, linestyle=dash, marker=marker, label=name)
