"""Errors against closed solutions: the grid in space and time, particles in their number, optimizers in the step."""

from pathlib import Path
from typing import Any

import numpy as np
import typer

import wflow as wf

T = 0.5
PROBLEMS = ("space", "time", "particles", "optimizer")


def main(
    problem: str = "space",
    cells: int = 64,
    steps: int = 40,
    particles: int = 1000,
    seed: int = 0,
    out: Path = Path("results/accuracy"),
) -> dict[str, Any]:
    """The error of one method on one problem whose solution is known; `wflow converge accuracy` makes the tables.

    space: Fokker–Planck ∂q/∂t = (x q)' + q'' on [-8, 8] from N(1.5, 0.25) to t = 1/2, stepped exactly in time by
    `Exponential`; what is left is the error of the grid, L1 against the cell averages of the solution, the Gaussian
    N(1.5 e^-t, 1 - 0.75 e^-2t). Order 2 in 1/`cells`.

    time: the same on a grid of `cells`, by TR-BDF2 with `steps` equal steps; L1 against the solution of the same grid
    that is exact in time. Order 2 in 1/`steps`.

    particles: the same by Langevin's SDE with the scheme of Leimkuhler and Matthews in `steps` steps; W2 of the cloud
    to the Gaussian. In one dimension its mean falls like n^(-1/2) times a power of log log n; the bias of the steps, of
    order 2, stays below 1e-3 with 100.

    optimizer: gradient descent, explicit Euler, with `steps` steps to t = 0.1 on L = |y|², y = (x₀, x₁²), from (3, 3):
    distance to the gradient flow x₀ = 3 e^-2t, x₁ = 3/√(1 + 72 t). Order 1 in 1/`steps`.
    """
    if problem not in PROBLEMS:
        raise wf.InputError(f"problem is one of {', '.join(PROBLEMS)}, got {problem!r}")
    out.mkdir(parents=True, exist_ok=True)
    error = {"space": space, "time": in_time, "particles": cloud, "optimizer": descent}[problem]
    found = error(cells=cells, steps=steps, particles=particles, seed=seed, file=out / f"{problem}.h5")
    print(f"{problem}: error {found:.4e}")
    return {"error": found}


F = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
START, END = wf.Gaussian([1.5], 0.25), wf.Gaussian([1.5 * np.exp(-T)], 1.0 - 0.75 * np.exp(-2.0 * T))


def averages(grid: wf.Grid, law: wf.Gaussian) -> wf.Density:
    """Cell averages of a Gaussian by eight points of Gauss and Legendre in a cell."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    points = grid.centers[0][:, None] + 0.5 * grid.spacing[0] * nodes
    values = law.density(points.reshape(-1, 1)).reshape(points.shape) @ weights / 2.0
    return wf.Density(grid, values, normalize=False)


def space(cells: int, file: Path, **unused: Any) -> float:
    """L1 error of the grid."""
    grid = wf.Grid(-8.0, 8.0, cells)
    result = wf.run(
        F, averages(grid, START), t_end=T, stepper=wf.steppers.Exponential(), tol=1e-8, save="ends", out=file
    )
    return l1(result.final, averages(grid, END))


def in_time(cells: int, steps: int, file: Path, **unused: Any) -> float:
    """L1 error of the steps."""
    start = averages(wf.Grid(-8.0, 8.0, cells), START)
    exact = wf.run(F, start, t_end=T, stepper=wf.steppers.Exponential(), tol=1e-10, save="ends").final
    stepper = wf.steppers.TRBDF2()
    return l1(wf.run(F, start, t_end=T, dt=T / steps, stepper=stepper, save="ends", out=file).final, exact)


def l1(one: wf.Density, other: wf.Density) -> float:
    """∫|q - q'|."""
    return float(np.abs(one.values - other.values).sum()) * one.grid.volume


def cloud(particles: int, steps: int, seed: int, file: Path, **unused: Any) -> float:
    """W2 error of a cloud."""
    start = wf.Particles(START.sample(particles, rng=seed))
    stepper = wf.steppers.Langevin()
    result = wf.run(F, start, t_end=T, dt=T / steps, stepper=stepper, estimator=0.2, save="ends", rng=seed, out=file)
    return wf.wasserstein2(result.final, END)


def descent(steps: int, file: Path, **unused: Any) -> float:
    """Distance of gradient descent from the gradient flow at t = 0.1."""
    loss = wf.Potential("x**2 + y**4")
    result = wf.run(loss, wf.Point([3.0, 3.0]), steps=steps, dt=0.1 / steps, save="ends", out=file)
    return float(np.linalg.norm(result.final.x - wf.exact.pbdl_flow([3.0, 3.0], 0.1)))


if __name__ == "__main__":
    typer.run(main)
