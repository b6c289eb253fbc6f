"""The porous medium equation: Barenblatt's solution in one, two and three dimensions, and a front that waits."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage

import wflow as wf
from wflow.plot.style import BLUE, GREY, RED, new_figure, styled

SIZES = {1: (64, 128, 256, 512), 2: (32, 64, 128), 3: (16, 32, 64)}
TIMES = (0.5, 1.0)


def main(
    m: float = 2.0,
    levels: int = 4,
    tol: float = 1e-4,
    waiting_cells: int = 400,
    out: Path = Path("results/porous_medium"),
) -> dict[str, Any]:
    """Descend F[q] = ∫ q^m/(m - 1) dx: the flow is ∂q/∂t = Δq^m.

    Barenblatt's solution of mass 1 runs from t = 1/2 to 1 on a box that its front does not reach. Its pressure is a
    parabola with a corner at the front, so the L1 error is second order inside and is carried by the few cells about
    the free boundary, where q itself has a bounded slope for m = 2: the orders observed lie between 1.5 and 2, and
    the share of the error within three cells of the front is reported.

    A front waits when the pressure v = m/(m - 1) q^(m-1) starts flatter than a parabola can drive: for v₀ = A
    cos²(x) on |x| < π/2 it rests at π/2 exactly until t* = 1/(2 (m + 1) A) and moves then (Aronson, Caffarelli &
    Kamin, SIAM J. Math. Anal. 14 (1983) 639). Numerically the front is where q passes 1e-6 of its largest value.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, float]] = []
    for dim, sizes in SIZES.items():
        with stage(f"Barenblatt in {dim}-D"):
            rows += barenblatt_errors(m, dim, sizes[:levels], tol)
    print_table(rows)
    with stage("waiting time"):
        waiting = waiting_front(m, waiting_cells, out)
    draw(rows, waiting, out)
    orders = {f"order_{dim}d": [r["order"] for r in rows if r["dim"] == dim][-1] for dim in SIZES}
    return {"rows": rows, **orders, "waiting_time": waiting["exact"], "first_move": waiting["first_move"]}


def cell_averages(grid: wf.Grid, t: float, m: float, points: int = 6) -> np.ndarray:
    """Averages of Barenblatt's solution over the cells, by `points` midpoints an axis."""
    fine = wf.Grid(grid.lower, grid.upper, tuple(points * n for n in grid.cells))
    values = wf.exact.barenblatt(fine.points(), t, m)
    shape = [length for n in grid.cells for length in (n, points)]
    return values.reshape(shape).mean(axis=tuple(range(1, 2 * grid.dim, 2)))


def barenblatt_errors(m: float, dim: int, sizes: tuple[int, ...], tol: float) -> list[dict[str, float]]:
    """L1 error, observed order and the front's share of the error for each number of cells an axis."""
    rows: list[dict[str, float]] = []
    radius = wf.exact.barenblatt_radius(TIMES[1], m, dim)
    for cells in sizes:
        grid = wf.Grid([-1.3 * radius] * dim, [1.3 * radius] * dim, cells)
        start = wf.Density(grid, cell_averages(grid, TIMES[0], m))
        # The tolerance falls with the error in space, so that time costs no digit of the order.
        result = wf.run(wf.PowerEntropy(m), start, t_end=TIMES[1] - TIMES[0], tol=tol * (32 / cells) ** 2, save="ends")
        gap = np.abs(result.final.values - cell_averages(grid, TIMES[1], m)) * grid.volume
        distance = np.abs(np.linalg.norm(grid.points(), axis=1) - radius).reshape(grid.cells)
        error = float(gap.sum())
        order = np.nan if not rows else float(np.log(rows[-1]["error"] / error) / np.log(cells / rows[-1]["cells"]))
        front = float(gap[distance < 3.0 * grid.spacing[0]].sum()) / error
        rows.append({"dim": dim, "cells": cells, "error": error, "order": order, "front_share": front})
    return rows


def waiting_front(m: float, cells: int, out: Path) -> dict[str, Any]:
    """Where the front stands over time, for v₀ = A cos²(x), A = 1."""
    grid = wf.Grid(-2.4, 2.4, cells)
    x = grid.centers[0]
    start = np.where(np.abs(x) < 0.5 * np.pi, ((m - 1.0) / m * np.cos(x) ** 2) ** (1.0 / (m - 1.0)), 0.0)
    wait = 1.0 / (2.0 * (m + 1.0))
    state = wf.Density(grid, start, normalize=False)
    result = wf.run(wf.PowerEntropy(m), state, t_end=3.0 * wait, tol=1e-4, save=61, out=out / "waiting.h5")
    front = np.array([x[s.values > 1e-6 * s.values.max()].max() + 0.5 * grid.spacing[0] for s in result.states])
    moved = front > 0.5 * np.pi + 2.0 * grid.spacing[0]
    first = float(result.times[moved][0]) if moved.any() else np.inf
    return {"result": result, "front": front, "exact": wait, "first_move": first}


def print_table(rows: list[dict[str, float]]) -> None:
    print(f"{'dim':>3} {'cells':>6} {'L1 error':>10} {'order':>6} {'share of the front':>19}")
    for r in rows:
        print(f"{r['dim']:>3} {r['cells']:>6} {r['error']:>10.2e} {r['order']:>6.2f} {r['front_share']:>19.2f}")


@styled
def draw(rows: list[dict[str, float]], waiting: dict[str, Any], out: Path) -> None:
    """Errors against cells with a slope of two; the front against time."""
    figure = new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    for dim, marker in zip(SIZES, ("o", "s", "^"), strict=True):
        some = [r for r in rows if r["dim"] == dim]
        left.loglog([r["cells"] for r in some], [r["error"] for r in some], marker + "-", label=f"{dim}-D")
    n = np.array([32.0, 256.0])
    left.loglog(n, 0.3 * rows[0]["error"] * (rows[0]["cells"] / n) ** 2, "--", color=GREY, label="order 2")
    ticks = sorted({int(r["cells"]) for r in rows})
    left.set_xticks(ticks, [str(n) for n in ticks])
    left.minorticks_off()
    left.set(xlabel="cells an axis", ylabel="L1 error at t = 1", title="Barenblatt")
    left.legend()
    right.plot(waiting["result"].times, waiting["front"], color=BLUE, label="front")
    right.axvline(waiting["exact"], color=RED, linestyle="--", label="exact waiting time")
    right.axhline(0.5 * np.pi, color=GREY, linewidth=1.0)
    right.set(xlabel="time t", ylabel="position of the front", title="A front that waits")
    right.legend(loc="upper left")
    wf.plot.save(figure, out / "porous_medium.png")


if __name__ == "__main__":
    typer.run(main)
