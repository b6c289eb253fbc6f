"""A rare event to the end: relaxation over a barrier of ten temperatures, from one well to t = 10⁵.

    ∂q/∂t = ∇·(q ∇V) + ε Δq,   V = (x² - 1)² + 2y²,   ε = 0.1 on [-2.2, 2.2] × [-2, 2], no flux.

All mass starts in the left well, in the form of p ∝ exp(-V/ε) cut at x = 0; its excess there decays at the slowest
rate of the operator, 7.835709e-5 (the one-dimensional gap: y relaxes at once). Steps grow from the relaxation inside
the well to a tenth of the escape time, seven orders of magnitude.
"""

import time

import numpy as np
import typer
from tables import write_table

import wflow as wf

RATE = 7.835709e-5


def main(sizes: str = "128,256", tol: float = 1e-7, out: str = "data/benchmark_metastable.csv") -> list[dict[str, str]]:
    """Print rate, time and mass for each size, write them to `out`, return the rows."""
    rows = []
    for cells in (int(n) for n in sizes.split(",")):
        grid = wf.Grid([-2.2, -2.0], [2.2, 2.0], cells)
        F = 0.1 * wf.Entropy() + wf.Potential("(x**2 - 1)**2 + 2*y**2")
        x, y = grid.points().T
        start = wf.Density(grid, np.exp(-((x**2 - 1) ** 2 + 2 * y**2) / 0.1) * (x < 0))
        wf.run(F, start, t_end=1e-3, save="ends")
        begin = time.perf_counter()
        result = wf.run(F, start, t_end=1e5, save=np.array([1e3, 1e4, 1e5]), tol=tol)
        seconds = time.perf_counter() - begin
        left = np.array([state.values[grid.centers[0] < 0].sum() * grid.volume for state in result.states]) - 0.5
        rate = float(np.log(left[1] / left[2]) / (result.times[2] - result.times[1]))
        rows.append(
            {
                "cells": f"{cells}^2",
                "seconds": f"{seconds:.3g}",
                "steps": str(len(result.steps["time"])),
                "linear iterations": str(int(result.steps["linear"].sum())),
                "rate / 7.835709e-5": f"{rate / RATE:.6f}",
                "mass error": f"{np.abs(result.diagnostics['mass'] - 1.0).max():.1e}",
                "largest energy rise": f"{np.diff(result.steps['energy']).max():.1e}",
            }
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    write_table(rows, out)
    return rows


if __name__ == "__main__":
    typer.run(main)
