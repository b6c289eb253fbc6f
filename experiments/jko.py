"""One problem, six ways to take its steps: JKO, its second-order variant, implicit and explicit Euler, particles."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage

import wflow as wf
from wflow import exact
from wflow.plot.style import new_figure, styled

TARGET = wf.Gaussian([0.0], 1.0)


def main(
    cells: int = 800, particles: int = 400, t_end: float = 0.8, halvings: int = 5, out: Path = Path("results/jko")
) -> dict[str, Any]:
    """Descend KL(q‖N(0, 1)) from N(1, 4) in n, 2n, 4n, ... steps of τ = t_end/n, n = 4.

    The flow is ∂q/∂t = ∇·(q ∇(log q + x²/2)), an Ornstein–Uhlenbeck process, whose law stays normal: mean e⁻ᵗ, variance
    1 + 3 e⁻²ᵗ. Its variational step, q⁺ = argmin W2²(·, q)/2τ + KL, stays normal too: mean m/(1 + τ), and a standard
    deviation that solves (1/τ + 1) s² - (s₀/τ) s - 1 = 0. On the grid it is taken in quantiles, and at second order.
    Implicit Euler on the grid is the same step of another metric, that of finite volumes; explicit Euler is its
    linearisation, taken on Gaussians and on particles that know their density by fitting a Gaussian (on cells it would
    need τ below h²/2). The error is W2 to the law at `t_end`; all are of first order but the second, until cells are
    all that is left. Sources: Jordan, Kinderlehrer & Otto (1998); Matthes & Plazotta (2019).
    """
    out.mkdir(parents=True, exist_ok=True)
    F = wf.FDivergence("reverse-kl", TARGET)
    start = wf.Gaussian([1.0], 4.0)
    mean, sd = exact.gaussian_kl_wasserstein(1.0, 2.0, t_end)
    law = wf.Gaussian([mean], sd**2)
    density = wf.Density(wf.Grid(-9.0, 11.0, cells), start)
    levels = (np.arange(particles) + 0.5) / particles
    cloud = wf.Particles(start.mean + 2.0 * normal_quantiles(levels))
    ways: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "JKO": (density, wf.steppers.JKO(), {}),
        "variational BDF2": (density, wf.steppers.VariationalBDF2(), {}),
        "JKO of Gaussians": (start, wf.steppers.JKO(), {}),
        "implicit Euler, cells": (density, wf.steppers.ImplicitEuler(), {}),
        "explicit Euler, Gaussians": (start, wf.steppers.ExplicitEuler(), {}),
        "explicit Euler, particles": (cloud, wf.steppers.ExplicitEuler(), {"estimator": wf.estimators.GaussianFit()}),
    }
    steps = [4 * 2**k for k in range(halvings)]
    errors: dict[str, list[float]] = {}
    for name, (state, stepper, arguments) in ways.items():
        with stage(name):
            ends = [
                wf.run(F, state, dt=t_end / n, steps=n, stepper=stepper, save="ends", **arguments).final for n in steps
            ]
        # Particles at the middles of their levels miss the spread within; their moments are compared instead.
        errors[name] = [gap(end, law) for end in ends]
        print(f"{name}: " + "  ".join(f"{error:.2e}" for error in errors[name]))
    dts = [t_end / n for n in steps]
    draw(dts, errors, out)
    orders = {name: float(np.log2(row[0] / row[1])) for name, row in errors.items()}
    return {"dt": dts, "errors": errors, "orders": orders}


def normal_quantiles(levels: np.ndarray) -> np.ndarray:
    """Standard normal quantiles as positions `(n, 1)`, scaled to unit variance."""
    grid = wf.Density(wf.Grid(-8.0, 8.0, 16000), wf.Gaussian([0.0], 1.0))
    below = np.append(0.0, np.cumsum(grid.values)) * grid.grid.volume
    z = np.interp(levels, below, np.linspace(-8.0, 8.0, 16001))
    return np.asarray((z / z.std())[:, None])


def gap(end: Any, law: wf.Gaussian) -> float:
    """W2 to the law; of a cloud, that of the Gaussians with its moments."""
    state = wf.Gaussian(end.mean, end.cov) if isinstance(end, wf.Particles) else end
    return wf.wasserstein2(state, law)


@styled
def draw(dts: list[float], errors: dict[str, list[float]], out: Path) -> None:
    """Errors against τ with slopes one and two."""
    figure = new_figure(6.8, 4.6)
    ax = figure.subplots()
    for marker, (name, row) in zip("osD^vx", errors.items(), strict=True):
        size = 10 if name == "JKO" else 5  # under the same step of Gaussians it would not be seen
        ax.loglog(dts, row, marker=marker, label=name, markersize=size, markerfacecolor="none")
    ends = np.array([dts[0], dts[-1]])
    for power, level in ((1, 0.16), (2, 0.02)):
        line = level * (ends / dts[0]) ** power
        ax.loglog(ends, line, color="0.6", linestyle=":", zorder=0)
        ax.annotate(f"slope {power}", (ends[1], 1.25 * line[1]), color="0.4", fontsize=8)
    ax.set_xticks(dts, [f"{dt:g}" for dt in dts])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="step τ", ylabel="W2 to the law at the end", title="N(1, 4) to N(0, 1): errors against the step")
    ax.legend(fontsize=8)
    wf.plot.save(figure, out / "errors.png")


if __name__ == "__main__":
    typer.run(main)
