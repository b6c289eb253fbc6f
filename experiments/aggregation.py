"""Attraction against diffusion: clusters form, wait, and merge; the energy falls in stairs."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from scipy import ndimage

import wflow as wf
from wflow.plot.style import BLUE, GREY, new_figure, styled


def main(
    cells: int = 64,
    t_end: float = 20.0,
    strength: float = 0.1,
    tol: float = 1e-2,
    out: Path = Path("results/aggregation"),
) -> dict[str, Any]:
    """Descend F[q] = (ε/3) ∫ q³ dx - ½ ∬ e^(-|x - y|²) q(x) q(y) dx dy on [-4, 4]², ε = `strength`.

    The flow is ∂q/∂t = ∇·(q ∇(ε q² + W * q)) with W(z) = -e^(-|z|²): diffusion that grows with the density holds the
    clusters open, attraction of range 1 pulls them together. From q = ¼ on the square [-3, 3]² (mass 9) the square
    contracts at its corners first, clusters form and merge into one with a compact support. Each merger is a step
    down in F, between long waits in which F hardly moves: a staircase, never up. The equilibrium has one ξ = ε q² +
    W * q on its support. Problem and parameters: Carrillo, Chertock & Huang, Commun. Comput. Phys. 17 (2015) 233,
    example 12.
    """
    out.mkdir(parents=True, exist_ok=True)
    F = 2.0 * strength / 3.0 * wf.PowerEntropy(3) + wf.Interaction("-exp(-x**2 - y**2)")
    grid = wf.Grid([-4.0, -4.0], [4.0, 4.0], cells)
    square = np.all(np.abs(grid.points()) < 3.0, axis=1)
    start = wf.Density(grid, 0.25 * square, normalize=False)
    with stage(f"{cells}² cells to t = {t_end:g}"):
        result = wf.run(
            F, start, t_end=t_end, tol=tol, save=41, out=out / "grid.h5", diagnostics={"clusters": clusters}
        )
    steps = result.steps
    report = {
        "status": result.status.name,
        "energy": result.diagnostics["energy"].tolist(),
        "largest_rise": float(np.diff(steps["energy"]).max()),
        "mass_error": float(np.abs(result.diagnostics["mass"] / start.mass - 1.0).max()),
        "minimum": float(result.diagnostics["minimum"].min()),
        "clusters": result.diagnostics["clusters"].astype(int).tolist(),
        "fallbacks": int(steps["fallbacks"].sum()),
        "steps": len(steps["time"]),
        "balance": float(steps["balance"][-1]),
    }
    for name, value in report.items():
        print(f"{name}: {value}")
    draw(result, out)
    return report


def clusters(time: float, state: wf.Density) -> float:
    """How many separate regions hold more than half the largest density."""
    return float(ndimage.label(state.values > 0.5 * state.values.max())[1])


@styled
def draw(result: wf.Result, out: Path) -> None:
    """Four densities, and the stairs of the energy."""
    count = len(result.times) - 1
    wf.plot.frames(result, indices=[0, count // 8, count // 3, count], path=out / "densities.png")
    figure = new_figure(6.8, 4.2)
    ax = figure.subplots()
    ax.plot(result.steps["time"], result.steps["energy"], color=BLUE)
    ax.plot(result.times, result.diagnostics["energy"], "o", color=GREY, markersize=3)
    ax.set(xlabel="time t", ylabel="energy F", title="Energy of nonlocal attraction against diffusion")
    wf.plot.save(figure, out / "energy.png")


if __name__ == "__main__":
    typer.run(main)
