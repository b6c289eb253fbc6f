"""Fokker–Planck in two dimensions beside fplanck and FiPy, and wflow's cost per cell up to 1024² and 128³.

    ∂q/∂t = ∇·(q ∇V) + Δq,   V = (x² - 1)² + 2y²  (+ 2z²)   on [-2, 2]^d, no flux,   t = 0 to 1,
    q₀ ∝ exp(-((x + ½)² + (y - 0.8)²)/(2 · 0.3²)).

Error: L1 against the separable solution, exact in time (eigenvectors of the one-dimensional generators) on a grid
sixteen times finer, averaged over the cells. Solvers run in alternation, warm; the table holds medians. Every peer
is used as its authors do: fplanck's `propagate` (its matrix is built beforehand and not timed), FiPy's implicit
exponential fitting with dt = 0.01.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import typer
from scipy.linalg import eigh_tridiagonal
from tables import write_table

import wflow as wf

POTENTIALS = (lambda x: (x * x - 1.0) ** 2, lambda y: 2.0 * y * y, lambda z: 2.0 * z * z)
CENTERS = (-0.5, 0.8, 0.0)


def start_1d(axis: int, x: np.ndarray) -> np.ndarray:
    """The factor of q₀ along an axis."""
    return np.exp(-((x - CENTERS[axis]) ** 2) / (2.0 * 0.3**2))


def exact_1d(axis: int, cells: int, fine: int = 16) -> np.ndarray:
    """Cell averages at t = 1 along one axis."""
    n = cells * fine
    h = 4.0 / n
    x, faces = -2.0 + h * (np.arange(n) + 0.5), -2.0 + h * np.arange(1, n)
    p, p_face = np.exp(-POTENTIALS[axis](x)), np.exp(-POTENTIALS[axis](faces))
    rates = np.zeros(n)
    rates[:-1] += p_face
    rates[1:] += p_face
    values, vectors = eigh_tridiagonal(rates / p / h**2, -p_face / np.sqrt(p[:-1] * p[1:]) / h**2)
    z = vectors @ (np.exp(-values) * (vectors.T @ (start_1d(axis, x) / np.sqrt(p))))
    q = (z * np.sqrt(p)).reshape(cells, fine).mean(axis=1)
    return q / (q.sum() * 4.0 / cells)


def exact(cells: int, dim: int) -> np.ndarray:
    """The product of the factors."""
    out = exact_1d(0, cells, 16 if cells <= 256 else 4)
    for axis in range(1, dim):
        out = np.multiply.outer(out, exact_1d(axis, cells, 16 if cells <= 256 else 4))
    return out


def wflow_solver(cells: int, dim: int, tol: float) -> Callable[[], Any]:
    """A whole `wf.run` with the default stepper."""
    V = "(x**2 - 1)**2 + 2*y**2" + (" + 2*z**2" if dim == 3 else "")
    grid = wf.Grid([-2.0] * dim, [2.0] * dim, (cells,) * dim)
    F = wf.Entropy() + wf.Potential(V)
    start = start_1d(0, grid.centers[0])
    for axis in range(1, dim):
        start = np.multiply.outer(start, start_1d(axis, grid.centers[axis]))
    state = wf.Density(grid, start)
    return lambda: wf.run(F, state, t_end=1.0, tol=tol, save="ends")


def fplanck_solver(cells: int) -> Callable[[], np.ndarray]:
    """fplanck in units where k T = 1 and the drag is 1."""
    setattr(np, "product", np.prod)  # noqa: B010  # fplanck 0.2.2 was written for NumPy 1
    import fplanck
    from scipy import constants

    h = 4.0 / cells
    solver = fplanck.fokker_planck(
        temperature=1.0 / constants.k,
        drag=1.0,
        extent=[4.0, 4.0],
        resolution=h,
        boundary=fplanck.boundary.reflecting,
        potential=lambda x, y: (x**2 - 1) ** 2 + 2 * y**2,
    )
    return lambda: solver.propagate(lambda x, y: start_1d(0, x) * start_1d(1, y), 1.0) / h**2


def fipy_solver(cells: int) -> Callable[[], np.ndarray]:
    """FiPy with an exponential convection term, implicit, dt = 0.01."""
    import fipy

    mesh = fipy.Grid2D(nx=cells, ny=cells, dx=4.0 / cells, dy=4.0 / cells) + ((-2.0,), (-2.0,))  # noqa: RUF005
    x, y = (np.asarray(c) for c in mesh.cellCenters)
    fx, fy = (np.asarray(c) for c in mesh.faceCenters)
    slope = fipy.FaceVariable(mesh=mesh, rank=1, value=(4.0 * fx * (fx**2 - 1.0), 4.0 * fy))
    start = start_1d(0, x) * start_1d(1, y)
    start = start / (start.sum() * (4.0 / cells) ** 2)

    def solve() -> np.ndarray:
        q = fipy.CellVariable(mesh=mesh, value=start)
        equation = fipy.TransientTerm() == fipy.DiffusionTerm(1.0) + fipy.ExponentialConvectionTerm(coeff=slope)
        for _ in range(100):
            equation.solve(var=q, dt=0.01)
        return np.asarray(q.value).reshape(cells, cells).T

    return solve


def timed(solvers: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, Any]]:
    """Median wall time of each, in alternation after one warm-up, and its last answer."""
    answers = {name: solve() for name, solve in solvers.items()}
    times: dict[str, list[float]] = {name: [] for name in solvers}
    for _ in range(repeats):
        for name, solve in solvers.items():
            begin = time.perf_counter()
            answers[name] = solve()
            times[name].append(time.perf_counter() - begin)
    return {name: (median(times[name]), answers[name]) for name in solvers}


def main(
    peer_cells: str = "64,128", own_cells: str = "64,128,256,512,1024", cells_3d: int = 128, tol: float = 1e-3,
    repeats: int = 3, out: str = "data/benchmark_grid.csv",
) -> dict[str, float]:  # fmt: skip
    """Print the table, write it to `out`, and return the ratios to the peers and the errors."""
    rows: list[dict[str, Any]] = []
    found: dict[str, float] = {}
    peers = {"fplanck": fplanck_solver, "FiPy": fipy_solver}
    own = [int(n) for n in own_cells.split(",") if n]
    beside = [int(n) for n in peer_cells.split(",") if n]
    cases = [*((n, 2) for n in own), *([(cells_3d, 3)] if cells_3d else [])]
    for cells, dim in cases:
        solvers: dict[str, Callable[[], Any]] = {"wflow": wflow_solver(cells, dim, tol)}
        for name, make in peers.items():
            if dim == 2 and cells in beside:
                try:
                    solvers[name] = make(cells)
                except ImportError:
                    print(f"{name} is not installed: its rows are left out (pip install 'wflow[peers]')")
        truth = exact(cells, dim)
        results = timed(solvers, repeats)
        own_time = results["wflow"][0]
        for name, (seconds, answer) in results.items():
            rows.append(_row(name, cells, dim, seconds, answer, truth, seconds / own_time))
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
        found |= {f"{name} {cells}^{dim}": row[0] / own_time for name, row in results.items() if name != "wflow"}
        found[f"error {cells}^{dim}"] = float(rows[-len(results)]["L1 error"])
    write_table(rows, out)
    return found


def _row(
    name: str, cells: int, dim: int, seconds: float, answer: Any, truth: np.ndarray, ratio: float
) -> dict[str, Any]:
    stages, values = "", answer
    if name == "wflow":
        values = answer.final.values
        # Evaluations of the rate by RKL2, terms of the polynomial by Exponential.
        count = answer.steps["rates" if "rates" in answer.steps else "terms"].sum()
        stages = f"{1e9 * seconds / (count * cells**dim):.2f}"
    error = float(np.abs(values - truth).sum()) * (4.0 / cells) ** dim
    return {
        "solver": name, "cells": f"{cells}^{dim}", "seconds": f"{seconds:.4g}", "L1 error": f"{error:.3e}",
        "time over wflow": f"{ratio:.4g}", "ns per cell and stage": stages,
    }  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
