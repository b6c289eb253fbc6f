"""Four ways to one target of two moons, at equal cost: SVGD, Langevin, the blob method, and a grid."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from matplotlib.figure import Figure

import wflow as wf
from wflow.plot.style import BLUE, DENSITY, INK, styled

MOONS = "((x**2 + y**2)**0.5 - 2)**2/(2*0.4**2) - log(exp(-(x - 2)**2/(2*0.6**2)) + exp(-(x + 2)**2/(2*0.6**2)))"
NAMES = ("SVGD", "Langevin", "blob", "grid")


def main(
    particles: int = 400,
    steps: int = 400,
    cells: int = 64,
    seed: int = 0,
    pictures: int = 40,
    out: Path = Path("results/svgd"),
) -> dict[str, Any]:
    """Reverse KL to p ∝ exp(-V), two moons, from N((0, 0), 0.5 I), which lies between them.

    V = (|x| - 2)²/(2 · 0.4²) - log(exp(-(x₁ - 2)²/(2 · 0.6²)) + exp(-(x₁ + 2)²/(2 · 0.6²))), the first of the
    targets of Rezende & Mohamed (ICML 2015). The three clouds have as many particles, and take as many gradients of
    V of each: `steps`. SVGD and the blob flow in explicit Euler steps of 0.15 and 0.005, Langevin in steps of 0.02.
    The blob's stability asks for small steps, SVGD's smooth velocity allows large ones. The grid has `cells`² cells;
    its run takes the default stepper to t = 8.

    What is compared is W2 to p on a fine grid, where a cloud of `particles` independent draws of p stands for the
    error of sampling, most of it from how many fall on either moon; and the processor time. Langevin's cloud is as
    good as draws; the deterministic ones spread out evenly within a moon, but share the moons as the start does.
    `pictures` of SVGD make a movie; 0 for none.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = wf.Gibbs(MOONS, dim=2)
    F = wf.FDivergence("reverse-kl", target)
    start = wf.Gaussian([0.0, 0.0], 0.5)
    cloud = wf.Particles(start.sample(particles, rng=seed))
    box = wf.Grid([-4.0, -4.0], [4.0, 4.0], cells)
    truth = wf.Density(wf.Grid([-4.0, -4.0], [4.0, 4.0], 128), target)
    width = 0.35
    blob = wf.Blob(F, width)
    runs: tuple[tuple[Any, Any, dict[str, Any]], ...] = (
        (F, cloud, {"metric": wf.metrics.Stein(), "stepper": wf.steppers.ExplicitEuler(), "dt": 0.15, "steps": steps}),
        (F, cloud, {"stepper": wf.steppers.Langevin(), "dt": 0.02, "steps": steps}),
        (blob, cloud, {"stepper": wf.steppers.ExplicitEuler(), "dt": 0.005, "steps": steps}),
        (F, wf.Density(box, start), {"t_end": 8.0}),
    )
    results, numbers = [], {}
    for name, (functional, state, options) in zip(NAMES, runs, strict=True):
        path = out / f"{name}.h5"
        wf.run(
            functional, state, **{**options, "save": "ends"}
        )  # compiled, so that the time below is of the work alone
        with stage(name):
            clock = time.process_time()
            results.append(wf.run(functional, state, save="ends", out=path, rng=seed, **options))
            work = time.process_time() - clock
        numbers[name] = {"w2": wf.wasserstein2(results[-1].final, truth), "seconds": work}
    draws = wf.Particles(truth.sample(particles, rng=seed))
    numbers["independent draws"] = {"w2": wf.wasserstein2(draws, truth), "seconds": 0.0}
    for name, row in numbers.items():
        print(f"{name:>18}: W2 to the target {row['w2']:.2g}, {row['seconds']:.2f} s of processor")
    draw(results, numbers, truth, out / "moons.png")
    if pictures:
        with stage("movie"):
            functional, state, options = runs[0]
            flow = wf.run(functional, state, save=pictures, **options)
            wf.plot.movie(flow, out / "svgd.mp4", fps=8, title=[f"SVGD, {particles} particles to two moons"])
    print(f"pictures and files: {out}")
    return numbers


@styled
def draw(results: list[wf.Result], numbers: dict[str, Any], truth: wf.Density, path: Path) -> None:
    """The four final states over the target."""
    figure = Figure(figsize=(15.0, 4.1), layout="constrained")
    axes = figure.subplots(1, 4, sharex=True, sharey=True)
    levels = truth.values.max() * np.array([0.05, 0.25, 0.5, 0.75])
    for ax, name, result in zip(axes, NAMES, results, strict=True):
        final = result.final
        if isinstance(final, wf.Density):
            ax.pcolormesh(*(final.grid.centers), final.values.T, cmap=DENSITY, shading="nearest", rasterized=True)
        else:
            ax.plot(*final.positions.T, ".", color=BLUE, markersize=4.0, markeredgewidth=0)
        ax.contour(*truth.grid.centers, truth.values.T, levels=levels, colors=INK, linewidths=0.8)
        ax.set(
            title=f"{name}: W2 {numbers[name]['w2']:.2g}",
            xlabel="x",
            aspect="equal",
            xlim=(-3.7, 3.7),
            ylim=(-3.3, 3.3),
        )
    axes[0].set_ylabel("y")
    wf.plot.save(figure, path)


if __name__ == "__main__":
    typer.run(main)
