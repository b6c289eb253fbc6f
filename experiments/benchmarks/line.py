"""Linear flows on the line: the default against TR-BDF2, cost beside error.

Fokker–Planck equations ∂q/∂t = ∇·(q ∇V) + ε Δq in 1-D from a Gaussian and from all mass in one cell, over short and
long times, with few frames and with a thousand. The error is the largest L1 distance at a frame to the run of
`Exponential` at tol = 1e-12, on the same grid; the seconds are of the processor, the best of three, after one run to
compile. TR-BDF2 is given the default tolerance and, but for the spike, a hundredth of it.
"""

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import typer
from tables import write_table

import wflow as wf

WELLS = wf.Potential("(x**2 - 1)**2")


def problems(cells: int) -> Iterator[tuple[str, Any, wf.Density, float, int]]:
    """Name, functional, start, end and number of frames."""
    grid, wide = wf.Grid(-3.0, 3.0, cells), wf.Grid(-6.0, 6.0, cells)
    smooth = wf.Density(grid, wf.Gaussian([0.5], 0.1))
    spike = wf.Density(grid, (np.arange(cells) == cells // 3) / grid.volume)
    F = wf.Entropy() + WELLS
    yield "smooth", F, smooth, 2.0, 5
    yield "spike", F, spike, 2.0, 5
    yield "short heat", wf.Entropy(), wf.Density(wide, wf.Gaussian([0.0], 0.5)), 0.1, 5
    yield (
        "Ornstein-Uhlenbeck",
        wf.Entropy() + wf.Potential("x**2/2"),
        wf.Density(wide, wf.Gaussian([2.0], 0.3)),
        1.0,
        11,
    )
    yield "long", F, smooth, 1e3, 5
    yield "cold, long", 0.1 * wf.Entropy() + WELLS, wf.Density(grid, wf.Gaussian([0.5], 0.01)), 1e5, 5
    yield "cold vacuum", 0.05 * wf.Entropy() + WELLS, wf.Density(grid, wf.Gaussian([0.5], 0.01)), 5.0, 5
    yield "100 frames", F, smooth, 2.0, 101
    yield "1000 frames", F, smooth, 2.0, 1001


def measured(F: Any, start: wf.Density, reference: Any, repeats: int, **arguments: Any) -> dict[str, str]:
    """A run as a part of a row."""
    best = np.inf
    for _ in range(repeats + 1):
        begun = time.process_time()
        result = wf.run(F, start, **arguments)
        best = min(best, time.process_time() - begun)
    error = np.nan
    if reference is not None:
        pairs = zip(result.states, reference, strict=True)
        error = max(float(np.abs(a.values - b.values).sum()) * start.grid.volume for a, b in pairs)
    return {
        "stepper": str(result.info["stepper"]), "steps": str(len(result.steps["time"])), "ms": f"{1e3 * best:.3g}",
        "L1 error": f"{error:.1e}", "status": result.status.value,
    }  # fmt: skip


def main(
    sizes: str = "100,400,1600", tol: float = 1e-3, repeats: int = 3, out: str = "data/benchmark_line.csv"
) -> list[dict[str, str]]:
    """Print the table, write it to `out`, return its rows."""
    rows = []
    for cells in (int(size) for size in sizes.split(",")):
        for name, F, start, end, frames in problems(cells):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", wf.RunWarning)  # a start so deep in the tails has no exponential
                exact = wf.run(F, start, t_end=end, save=frames, tol=1e-12, stepper=wf.steppers.Exponential())
            reference = exact.states if exact.status.good else None
            for given, tight in ((None, tol), (wf.steppers.TRBDF2(), tol), (wf.steppers.TRBDF2(), 1e-2 * tol)):
                if tight < tol and (name == "spike" or reference is None):
                    continue  # a hundred thousand steps
                more = {"stepper": given, "tol": tight, "t_end": end, "save": frames}
                row = measured(F, start, reference, repeats, **more)
                rows.append(
                    {"problem": name, "cells": str(cells), "default": str(given is None), "tol": f"{tight:g}"} | row
                )
                print("  ".join(rows[-1].values()), flush=True)
    write_table(rows, out)
    return rows


if __name__ == "__main__":
    typer.run(main)
