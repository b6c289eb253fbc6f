"""The blob method: porous medium against its exact solution, and aggregation under a height constraint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

import wflow as wf
from wflow.exact import barenblatt, barenblatt_radius
from wflow.plot.style import BLUE, DENSITY, INK, RED, styled

START, END = 0.05, 1.0


def main(
    across: int = 60, m: float = 5.0, height: float = 40.0, pictures: int = 40, out: Path = Path("results/blob")
) -> dict[str, Any]:
    """Particles whose energy is that of their mollified density, Σ wᵢ (K * μ)(xᵢ)^(m-1)/(m - 1).

    Porous medium: ∂q/∂t = Δq^m from Barenblatt's solution at t = 0.05, on the cells of a lattice of spacing h across
    its disc, mollified by σ = h^0.95, to t = 1. The exact flow takes a particle from x to x R(t)/R(0.05), with R the
    radius of the disc; the error is the root mean square distance from there.

    Height constraint: F = ∫ q^m/(m - 1) + ½ ∬ ½|x - y|² q q with m large. As m grows q may not exceed 1 (Craig, Kim &
    Yao, Indiana Univ. Math. J. 67 (2018) 1), and two squares of density 0.7 that attract each other run together into
    the disc of density 1 and radius 1/√π. For finite m the disc is a little larger, its density at rest (½ (R² -
    r²)(m - 1)/m)^(1/(m - 1)), 0.95 in the middle for m = 40. The centre of mass stays where it is to rounding.
    `pictures` of this run make a movie; 0 for none.
    """
    out.mkdir(parents=True, exist_ok=True)
    with stage("porous medium"):
        porous, error = porous_medium(across, m, out)
    with stage("height constraint"):
        packed = aggregation(across // 3, height, pictures, out)
    if pictures:
        with stage("movie"):
            title = [f"two squares that attract each other, m = {height:g}"]
            wf.plot.movie(packed, out / "height.mp4", fps=8, title=title)
    width = packed.final.positions.std(axis=0)
    shift = float(np.abs(packed.final.mean - packed.states[0].mean).max())
    disc = float(0.5 / np.sqrt(np.pi))
    print(f"porous medium: {len(porous.final)} particles, error {error:.2e}, {len(porous.steps['dt'])} steps")
    print(
        f"height constraint: standard deviations {np.round(width, 4)}, of the disc {disc:.4f}; centre moved {shift:.1e}"
    )
    draw(porous, packed, m, out)
    print(f"pictures and files: {out}")
    return {"error": error, "width": width, "disc": disc, "shift": shift, "energy": packed.diagnostics["energy"]}


def porous_medium(across: int, m: float, out: Path) -> tuple[wf.Result, float]:
    """The run from Barenblatt's solution, and its error at the end."""
    radius = barenblatt_radius(START, m, 2)
    h = 2.0 * radius / across
    x = lattice(across, h)
    x = x[np.sum(x**2, axis=1) < radius**2]
    start = wf.Particles(x, barenblatt(x, START, m))
    F = wf.Blob(wf.PowerEntropy(m), h**0.95)
    times = np.array([0.15, 0.4, 1.0]) - START
    result = wf.run(F, start, t_end=END - START, tol=1e-4, save=times, out=out / "porous_medium.h5")
    exact = x * barenblatt_radius(END, m, 2) / radius
    moved = np.sum((result.final.positions - exact) ** 2, axis=1)
    return result, float(np.sqrt(start.weights @ moved))


def aggregation(across: int, m: float, pictures: int, out: Path) -> wf.Result:
    """Two squares of density 0.7 under attraction."""
    side = float(np.sqrt(0.5 / 0.7))
    square = lattice(across, side / across)
    away = np.array([0.8, 0.35])
    start = wf.Particles(np.concatenate([square - away, square + away]))
    F = wf.Blob(wf.PowerEntropy(m), round(1.5 * side / across, 4)) + wf.Interaction("(x**2 + y**2)/2")
    stepper = wf.steppers.RKL2()
    times = np.union1d([0.3, 0.7, 2.5], np.linspace(0.0, 2.5, pictures + 1)[1:])
    return wf.run(F, start, t_end=2.5, tol=1e-3, save=times, stepper=stepper, out=out / "height.h5")


def lattice(across: int, h: float) -> np.ndarray:
    """Centres of the cells of a square lattice around 0."""
    axis = h * (np.arange(across) - 0.5 * (across - 1))
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def mollified(result: wf.Result, index: int) -> np.ndarray:
    """K * μ at the particles of a frame."""
    state = result.states[index]
    width = float(result.info["functional"].split("Blob(")[1].split(", ")[-1].split(")")[0])
    return wf.estimators.Kernel(width)(state.positions, state.weights).density


@styled
def draw(porous: wf.Result, packed: wf.Result, m: float, out: Path) -> None:
    """Frames of both, and the radial profile of the first against the exact one."""
    start = [barenblatt_radius(time + START, m, 2) for time in porous.times]
    frames(porous, range(4), START, start, (1.1, 1.1), "edge of the exact solution", out / "porous_medium.png")
    shown = np.searchsorted(packed.times, [0.0, 0.3, 0.7, 2.5]).tolist()
    disc = [float(1.0 / np.sqrt(np.pi))] * 4
    frames(packed, shown, 0.0, disc, (1.3, 0.85), "disc of density 1", out / "height.png")
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    ax = figure.subplots()
    r = np.linspace(0.0, 1.05, 600)
    for k, time in enumerate(porous.times + START):
        x = porous.states[k].positions
        ax.plot(np.linalg.norm(x, axis=1), mollified(porous, k), ".", color=BLUE, markersize=2.0)
        exact = barenblatt(np.stack([r, 0 * r], axis=1), time, m)
        ax.plot(r, exact, color=INK, linewidth=1.2)
        ax.annotate(f"t = {time:g}", (0.02, exact[0]), textcoords="offset points", xytext=(0, 5))
    ax.set(xlabel="distance from the centre", ylabel="density", ylim=(0.0, 0.9))
    ax.set_title("mollified density at the particles (dots), exact density (lines)", fontsize=12)
    wf.plot.save(figure, out / "profile.png")


def frames(
    result: wf.Result,
    shown: Sequence[int],
    begin: float,
    radii: Sequence[float],
    reach: tuple[float, float],
    label: str,
    path: Path,
) -> None:
    """Four frames of a cloud in the colours of its mollified density, each with a circle."""
    figure = Figure(figsize=(15.0, 1.5 + 3.1 * reach[1] / reach[0]), layout="constrained")
    axes = figure.subplots(1, 4, sharex=True, sharey=True)
    densities = [mollified(result, k) for k in shown]
    top = max(float(density.max()) for density in densities)
    for k, density, radius, ax in zip(shown, densities, radii, axes, strict=True):
        x, y = result.states[k].positions.T
        dots = ax.scatter(x, y, c=density, s=5, cmap=DENSITY, vmin=0.0, vmax=top, edgecolors="none")
        edge = Circle((0.0, 0.0), radius, fill=False, color=RED, linewidth=1.6)
        ax.add_patch(edge)
        ax.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), xticks=[-1, 0, 1], xlabel="x", aspect="equal")
        ax.set_title(f"t = {result.times[k] + begin:g}")
    figure.colorbar(dots, ax=axes[3], shrink=0.75, label="density")
    figure.legend(
        handles=[Line2D([], [], color=RED, linewidth=1.6, label=label)], loc="outside lower center", frameon=False
    )
    axes[0].set_ylabel("y")
    wf.plot.save(figure, path)


if __name__ == "__main__":
    typer.run(main)
