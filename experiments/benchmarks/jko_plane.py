"""One JKO step of the porous medium equation in the plane, against Barenblatt's solution.

    q⁺ = argmin W2²(·, q)/2τ + ∫ q² dx,   q Barenblatt's solution at t = 1 on [-3, 3]², averaged over cells.

The error is L1 to the solution at 1 + τ, beside how far that has moved: it holds the first order of the step in τ,
which no solver can undo, and what the cells and the dual's tolerance add. Seconds are processor time of the second of
two steps, since the first compiles.
"""

import time

import numpy as np
import typer
from tables import write_table

import wflow as wf
from wflow import exact


def main(
    sizes: str = "64,128,256", steps: str = "0.05,0.0125", out: str = "data/benchmark_jko_plane.csv"
) -> list[dict[str, str]]:
    """Print time and error for each size and step, write them to `out`, return the rows."""
    rows = []
    for cells in (int(n) for n in sizes.split(",")):
        grid, fine = wf.Grid([-3.0, -3.0], [3.0, 3.0], cells), wf.Grid([-3.0, -3.0], [3.0, 3.0], 4 * cells)

        def averages(t: float, fine: wf.Grid = fine, n: int = cells) -> np.ndarray:
            return np.asarray(exact.barenblatt(fine.points(), t, 2.0).reshape(n, 4, n, 4).mean(axis=(1, 3)))

        start = wf.Density(grid, averages(1.0), normalize=False)
        for dt in (float(tau) for tau in steps.split(",")):
            for _ in range(2):
                begin = time.process_time()
                result = wf.run(wf.PowerEntropy(2), start, dt=dt, steps=1, stepper=wf.steppers.JKO(), save="ends")
                seconds = time.process_time() - begin
            after = averages(1.0 + dt)
            rows.append(
                {
                    "cells": f"{cells}^2",
                    "step": f"{dt:g}",
                    "seconds": f"{seconds:.3g}",
                    "Newton": str(int(result.steps["newton"][0])),
                    "linear": str(int(result.steps["linear"][0])),
                    "L1 error": f"{np.abs(result.final.values - after).sum() * grid.volume:.2e}",
                    "L1 moved": f"{np.abs(start.values - after).sum() * grid.volume:.2e}",
                    "status": result.status.name,
                }
            )
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    write_table(rows, out)
    return rows


if __name__ == "__main__":
    typer.run(main)
