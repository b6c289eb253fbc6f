"""The three wells of Müller and Brown: equilibrium, slowest modes, committor, passage times, and the flow itself."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import fitted_rate, stage
from matplotlib.figure import Figure

import wflow as wf

# A, a, b, c, x₀, y₀ of V = Σ A exp(a (x - x₀)² + b (x - x₀)(y - y₀) + c (y - y₀)²): Theor. Chim. Acta 53 (1979) 75.
TERMS = (
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)
POTENTIAL = " + ".join(
    f"({A})*exp(({a})*(x - ({u}))**2 + ({b})*(x - ({u}))*(y - ({v})) + ({c})*(y - ({v}))**2)"
    for A, a, b, c, u, v in TERMS
)
# The two deep minima, V = -146.7 and -108.2; the third, shallow one is at (-0.050, 0.467), V = -80.8.
DEEP, RIGHT = (-0.558, 1.442), (0.623, 0.028)
BOX = ([-1.5, -0.2], [1.2, 2.0])


def main(
    cells: int = 96,
    temperature: float = 15.0,
    radius: float = 0.1,
    span: float = 9.0,
    out: Path = Path("results/muller_brown"),
) -> dict[str, Any]:
    """Cross from one deep well of the Müller–Brown potential to the other by ∂q = ∇·(q∇V) + kT Δq, and say how fast.

    At kT = 15 the deep well at (-0.56, 1.44) lies 7 kT below the pass; what is in it leaves about once in the mean
    first-passage time. Five answers are found without a run: the equilibrium p ∝ exp(-V/kT), the slowest rates and
    modes, the committor h between discs of `radius` around the two deep minima (probability to see the right one
    first), and the mean times τ to either disc.

    They belong together. The crossings A → B and B → A, averaged over p in each half (h < ½, h > ½), give the slowest
    rate, λ₁ ≈ 1/τ_AB + 1/τ_BA, up to terms like the weight of the pass against the wells. And the flow from a narrow
    Gaussian at the right minimum, run for `span`/λ₁, must end at these rates: its weight on the right goes to
    equilibrium like exp(-λ₁ t), its free energy above the minimum falls like exp(-2 λ₁ t). Both are fitted over the
    last half of the run. The flow is linear, and so run by the exponential, exact in time.
    """
    out.mkdir(parents=True, exist_ok=True)
    functional = temperature * wf.Entropy() + wf.Potential(POTENTIAL)
    grid = wf.Grid(*BOX, cells)
    with stage("rates, committor, passage times"):
        slow = wf.spectrum(functional, grid, k=4)
        h = wf.committor(functional, grid, disc(DEEP, radius), disc(RIGHT, radius))
        to_right = wf.first_passage_time(functional, grid, disc(RIGHT, radius))
        to_deep = wf.first_passage_time(functional, grid, disc(DEEP, radius))
    left = h < 0.5
    rate = float(slow.rates[1])
    with stage("flow"):
        start = wf.Density(grid, wf.Gaussian(RIGHT, 0.01))
        save = np.concatenate([[0.0], np.geomspace(1e-3, 0.5, 18), np.linspace(0.55, 1.0, 10)]) * span / rate
        exact, file = wf.steppers.Exponential(), out / "flow.h5"
        result = wf.run(functional, start, t_end=span / rate, tol=1e-8, save=save, stepper=exact, out=file)
    numbers = measure(functional, slow, left, to_right, to_deep, result)
    with stage("pictures"):
        draw_answers(grid, slow, h, to_right * rate, out / "answers.png")
        figure = wf.plot.frames(result, indices=[0, 6, 12, 28])
        figure.suptitle("From the right well to equilibrium")
        wf.plot.save(figure, out / "flow.png")
        wf.plot.movie(result, out / "flow.mp4", fps=6)
        floor = wf.energy(functional, slow.equilibrium)
        figure = wf.plot.energy([result], ["from the right well"], [2.0 * rate], floor=floor)
        figure.suptitle("Free energy above its minimum")
        wf.plot.save(figure, out / "decay.png")
    for name, value in numbers.items():
        print(f"{name:>24}  {value:.6g}" if isinstance(value, float) else f"{name:>24}  {value}")
    print(f"pictures and files: {out}")
    return numbers


def disc(center: tuple[float, float], radius: float) -> Any:
    """Whether positions (n, 2) lie in a disc."""
    return lambda x: np.sum((x - np.array(center)) ** 2, axis=1) < radius**2


def measure(functional: Any, slow: Any, left: Any, to_right: Any, to_deep: Any, result: wf.Result) -> dict[str, Any]:
    """Rates three ways: of the operator, of the crossings, of the run."""
    p, volume, rate = slow.equilibrium.values, slow.equilibrium.grid.volume, float(slow.rates[1])
    share = float(p[left].sum()) * volume
    there = float((to_right * p)[left].sum()) / float(p[left].sum())
    back = float((to_deep * p)[~left].sum()) / float(p[~left].sum())
    right = np.array([float(state.values[~left].sum()) * volume for state in result.states])
    floor = wf.energy(functional, slow.equilibrium)
    half = 0.5 * float(result.times[-1])
    crossed = fitted_rate(result.times, right - (1.0 - share), start=half)
    fallen = fitted_rate(result.times, result.diagnostics["energy"] - floor, start=half)
    return {
        "rates": [float(value) for value in slow.rates],
        "deep share": share,
        "time deep to right": there,
        "time right to deep": back,
        "crossings over rate": (1.0 / there + 1.0 / back) / rate,
        "weight over rate": crossed / rate,
        "energy over 2 rate": fallen / (2.0 * rate),
        "mass error": float(np.max(np.abs(result.diagnostics["mass"] - 1.0))),
        "steps": len(result.steps["time"]),
    }


def draw_answers(grid: wf.Grid, slow: Any, h: Any, time: Any, path: Path) -> None:
    """Equilibrium, slowest mode over it, committor and passage time, with contours of the potential 2 kT apart."""
    figure = Figure(figsize=(10.5, 8.6), layout="constrained", dpi=150)
    p = slow.equilibrium.values
    potential = -np.log(p / p.max())
    seen = potential < 20.0
    mode, longest = _right_up(slow.modes[1] / p), float(np.ceil(time[seen].max()))
    size = 1.05 * float(np.abs(mode[seen]).max())
    panels = (
        ("log₁₀ of the equilibrium density", np.log10(p), "viridis", np.linspace(-8.0, 2.0, 41), 2.0),
        ("slowest mode over the equilibrium", mode, "RdBu_r", np.linspace(-size, size, 42), 0.2),
        ("committor: right well before deep well", h, "RdBu_r", np.linspace(0.0, 1.0, 21), 0.2),
        ("mean time to the right well × slowest rate", time, "magma", np.linspace(0.0, longest, 34), 2.0),
    )
    x, y = grid.centers
    for ax, (title, values, colors, levels, tick) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        shown = np.where(seen, values, np.nan).T
        shades = ax.contourf(x, y, shown, levels, cmap=colors)
        ax.contour(x, y, potential.T, np.arange(1.0, 20.0, 2.0), colors="black", linewidths=0.4, alpha=0.5)
        if values is h:
            ax.contour(x, y, shown, [0.5], colors="black", linewidths=1.6)
        ticks = tick * np.arange(np.ceil(levels[0] / tick), np.floor(levels[-1] / tick + 1e-9) + 1.0)
        figure.colorbar(shades, ax=ax, shrink=0.9, ticks=ticks, format="%.2g")
        ax.set(title=title, xlabel="x", ylabel="y", aspect="equal")
    figure.savefig(path)


def _right_up(mode: Any) -> Any:
    """The sign that makes the mode positive at the right well."""
    return mode * np.sign(mode[int(0.79 * mode.shape[0]), int(0.1 * mode.shape[1])])


if __name__ == "__main__":
    typer.run(main)
