"""Landscapes: critical points of every kind, descent on a line, hill climbing, and basins of attraction."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from matplotlib.figure import Figure

import wflow as wf
from wflow.plot.style import typeset

BLUE, RED, GREEN, INK, GREY = "#0072B2", "#D55E00", "#009E73", "#1A1A1A", "#8C8C8C"
ALPINE = "(x**2 + y - 11)**2/40 + (x + y**2 - 7)**2/40"
LINE = "0.06*x**4 - 0.3*x**2 + 0.25*x + 0.9*cos(3.6*x)"


def main(cells: int = 240, steps: int = 12, out: Path = Path("results/landscape")) -> dict[str, Any]:
    """What descent can and cannot find.

    Where ∇f = 0 the point is critical; the signs of the eigenvalues of ∇²f tell which: all positive a minimum, all
    negative a maximum, both a saddle (in one dimension an inflection, where ∇²f = 0: degenerate).

    Gradient descent x ← x - η f'(x) goes down while f' ≠ 0, for small η, and to the nearest critical point only. On a
    line with several minima the start decides which. On Himmelblau's function, four minima, four saddles and a
    maximum, the plane falls apart into four basins, whose edges are the stable sets of the saddles: a flow that starts
    exactly there ends at a saddle. Long steps leave the flow, and the basins of the method are not those of the flow.

    Source of the function: Himmelblau, Applied Nonlinear Programming (1972), problem 29, here over 40.
    """
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"kinds": kinds(out), "descent": descent(steps, out), "line": line(out)}
    F = wf.Potential(ALPINE)
    with stage("critical points in the plane"):
        points = wf.critical_points(F, [-5.5, -5.5], [5.5, 5.5], starts=400)
    print("".join(f"{p.kind:>8} at ({p.x[0]:9.5f}, {p.x[1]:9.5f}), f = {p.value:.6f}\n" for p in points))
    report["points"] = {kind: sum(p.kind == kind for p in points) for kind in ("minimum", "saddle", "maximum")}
    with stage("basins of the flow"):
        flow = wf.basins(F, [-5.5, -5.5], [5.5, 5.5], cells)
    with stage("basins of long steps"):
        long = wf.basins(F, [-5.5, -5.5], [5.5, 5.5], cells, dt=0.5, steps=400, stepper=wf.steppers.ExplicitEuler())
    wf.plot.basins(flow, ALPINE, out / "basins_flow.png")
    wf.plot.basins(long, ALPINE, out / "basins_long_steps.png")
    report["shares"] = [float(np.mean(flow.labels == k)) for k in range(len(flow.minima))]
    report["changed"] = float(np.mean(flow.labels != long.labels))
    climb = wf.hill_climb(F, [-10, 2], spacing=0.5)
    report["climb"] = 0.5 * climb
    print(f"shares of the plane {np.round(report['shares'], 4)}; other ends by long steps {report['changed']:.2%}")
    print(f"on the lattice from (-5, 1) to {report['climb'][-1]} in {len(climb) - 1} moves")
    print(f"pictures: {out}")
    return report


def panels(count: int) -> tuple[Figure, Any]:
    """A row of plain panels."""
    figure = Figure(figsize=(4.0 * count, 3.6), layout="constrained", dpi=120)
    axes = np.atleast_1d(figure.subplots(1, count))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel("x")
    return figure, axes


def kinds(out: Path) -> list[tuple[str, bool]]:
    """Three kinds of critical points on a line, and what the Hessian says of them."""
    figure, axes = panels(3)
    x, found = np.linspace(-1.2, 1.2, 200), []
    for ax, text in zip(axes, ("x**2", "-x**2", "x**3"), strict=True):
        F = wf.Potential(text)
        point = wf.critical_points(F, [-1.0], [1.0], starts=20)[0]
        found.append((point.kind, point.degenerate))
        ax.plot(x, F.field.value(x[:, None]), color=BLUE, linewidth=2)
        ax.plot(*point.x, point.value, "o", color=RED, markersize=9)
        name = "inflection" if point.degenerate else point.kind
        ax.set(title=f"{typeset(text)}: {name}", ylabel="f" if ax is axes[0] else "")
    figure.savefig(out / "kinds.png")
    return found


def descent(steps: int, out: Path) -> np.ndarray:
    """f = x²/2 with its slope, and gradient descent from both sides."""
    F, x = wf.Potential("x**2/2"), np.linspace(-2.2, 2.2, 200)
    figure, (ax,) = panels(1)
    figure.set_size_inches(5.5, 4.2)
    ax.plot(x, x**2 / 2, color=BLUE, linewidth=2, label="f(x) = x²/2")
    ax.plot(x, x, color=GREY, linewidth=1.5, linestyle="--", label="f'(x) = x")
    ways = []
    for start, color, side in ((-2.0, GREEN, "f' < 0: to the right"), (2.0, RED, "f' > 0: to the left")):
        result = wf.run(F, wf.Point([start]), dt=0.3, steps=steps, save="all")
        way = np.array([s.x[0] for s in result.states])
        ways.append(way)
        for a, b in pairwise(way[:5]):
            ax.annotate("", (b, b**2 / 2), (a, a**2 / 2), arrowprops={"arrowstyle": "->", "color": color, "lw": 2})
        ax.plot(way, way**2 / 2, "o", color=color, markersize=5, label=side)
    ax.plot(0, 0, "*", color=INK, markersize=14)
    ax.legend(frameon=False, loc="upper center")
    ax.set(ylim=(-2.3, 3.6))
    figure.savefig(out / "descent.png")
    return np.stack(ways)


def line(out: Path) -> dict[str, Any]:
    """A line with good and poor minima, and where descent from each place ends."""
    F, x = wf.Potential(LINE), np.linspace(-3.0, 3.0, 400)
    points = wf.critical_points(F, [-3.0], [3.0], starts=80)
    minima = [p for p in points if p.kind == "minimum"]
    figure, (ax,) = panels(1)
    figure.set_size_inches(7.0, 4.2)
    ax.plot(x, F.field.value(x[:, None]), color=BLUE, linewidth=2)
    for k, p in enumerate(minima):
        place = "global minimum" if k == 0 else "good" if p.value < minima[0].value + 0.6 else "poor"
        ax.plot(*p.x, p.value, "*" if k == 0 else "o", color=GREEN if k == 0 else RED, markersize=12)
        ax.annotate(place, (p.x[0], p.value), (0, -18), textcoords="offset points", ha="center")
    starts = np.linspace(-2.9, 2.9, 30)[:, None]
    ends = wf.run(F, wf.Particles(starts), t_end=30.0, save="ends").final.positions[:, 0]
    best = np.abs(ends - minima[0].x[0]) < 1e-2
    ax.plot(starts[best], F.field.value(starts[best]), "|", color=GREEN, markersize=14, label="starts that find it")
    ax.plot(starts[~best], F.field.value(starts[~best]), "|", color=RED, markersize=14, label="starts that do not")
    ax.set(ylim=(F.field.value(x[:, None]).min() - 0.8, 4.0), ylabel="f")
    ax.legend(frameon=False, loc="upper center")
    figure.savefig(out / "line.png")
    return {"minima": len(minima), "found": float(best.mean())}


if __name__ == "__main__":
    typer.run(main)
