"""The gradient flows of nine f-divergences to one bimodal target, from one start."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import fitted_rate, stage

import wflow as wf
from wflow.plot.style import BLUE, DENSITY, GREY, RED, new_figure, styled

# Name: f''(1), and alpha for the family of that name.
ROWS: dict[str, tuple[float, float | None]] = {
    "reverse-kl": (1.0, None),
    "kl": (1.0, None),
    "chi2": (2.0, None),
    "reverse-chi2": (2.0, None),
    "hellinger": (0.5, None),
    "jensen-shannon": (0.25, None),
    "jeffreys": (2.0, None),
    "triangular": (1.0, None),
    "alpha": (1.0, -0.5),
}
TEMPERATURE = 0.5
# Spectral gap of dq/dt = (q V')' + ε q'' for V = (x² - 1)², ε = 0.5; the divergence flow runs 1/ε times as fast.
GAP = 0.227273301008 / TEMPERATURE


def main(
    cells: int = 200, span: float = 5.0, tol: float = 1e-4, out: Path = Path("results/f_divergences")
) -> dict[str, Any]:
    """Descend each D_f(p‖q) = ∫ q f(p/q) dx in the Wasserstein metric, on p ∝ exp(-(x² - 1)²/ε), ε = 1/2.

    The flow is the weighted filtration equation ∂q/∂t = ∇·(p ∇Φ(u)) with u = q/p, one Φ for each f. All start from
    u₀ = 0.2 + a exp(-(x - 1.2)²/(2·0.3²)) with a set by the mass, so that 0.2 ≤ u₀ ≤ 5 and none begins frozen or
    infinite: nearly everything is in the right well, and a fifth of the left one is filled.

    Near equilibrium every smooth f acts as f''(1) (r - 1)²/2: the density relaxes at f''(1) λ₁ and D_f at twice that,
    with λ₁ the spectral gap of ∂q = ∇·(p ∇(q/p)). So each runs for `span` of its own relaxation times 1/(f''(1) λ₁),
    and the slope of log D_f over the last two fifths is held against 2 f''(1) λ₁, known to twelve digits here
    (λ₁ = 0.4545466). `tol` is the L1 error allowed per relaxation time.

    "alpha" is taken at -1/2, where Φ ∝ u^{3/2} lies between Φ = u of reverse-kl and Φ = u² of reverse-chi2.
    Total variation is the row without a flow: f'' = 0, and its velocity is zero.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = wf.Gibbs("(x**2 - 1)**2", temperature=TEMPERATURE, dim=1)
    start = starting_density(wf.Grid(-2.4, 2.4, cells), target)
    results, report = {}, {}
    for name, (curvature, alpha) in ROWS.items():
        rate = curvature * GAP
        functional = wf.FDivergence(name, target, alpha=alpha)
        with stage(name):
            results[name] = wf.run(
                functional, start, t_end=span / rate, tol=tol * rate, save=101, out=out / f"{name}.h5"
            )
        report[name] = measure(results[name], 2.0 * rate)
    print_table(report)
    draw(results, report, out)
    print(f"pictures and files: {out}")
    return report


def starting_density(grid: wf.Grid, target: wf.Gibbs) -> wf.Density:
    """u₀ p with the u₀ of the docstring; the smallest and largest u₀ are checked."""
    p = wf.Density(grid, target).values
    bump = np.exp(-0.5 * ((grid.centers[0] - 1.2) / 0.3) ** 2)
    ratio = 0.2 + 0.8 / float(np.sum(bump * p) * grid.volume) * bump
    assert 0.2 <= ratio.min() <= ratio.max() <= 5.0
    return wf.Density(grid, ratio * p)


def measure(result: wf.Result, expected: float) -> dict[str, float]:
    """Fitted rate of the energy's decay at the end, the expected one and their ratio, and the energies at both
    ends."""
    energy = result.diagnostics["energy"]
    fitted = fitted_rate(result.times, energy, start=0.6 * result.times[-1])
    return {
        "measured": fitted,
        "expected": expected,
        "ratio": fitted / expected,
        "start": float(energy[0]),
        "end": float(energy[-1]),
        "mass_error": float(np.max(np.abs(result.diagnostics["mass"] - 1.0))),
    }


def print_table(report: dict[str, Any]) -> None:
    """One row for each divergence."""
    print(f"{'divergence':>16} {'2 f″(1) λ₁':>11} {'measured':>11} {'ratio':>9} {'D_f(0)':>10} {'D_f(T)':>10}")
    for name, row in report.items():
        print(
            f"{name:>16} {row['expected']:11.6f} {row['measured']:11.6f} {row['ratio']:9.6f}"
            f" {row['start']:10.3e} {row['end']:10.3e}"
        )


@styled
def draw(results: dict[str, wf.Result], report: dict[str, Any], out: Path) -> None:
    """Densities over time, and the decay of each energy with its expected slope, a panel for each divergence.

    Time is counted in relaxation times, s = f''(1) λ₁ t, so that every energy should end in exp(-2 s); the titles of
    the decays give the measured rate over the expected one.
    """
    densities, decays = (new_figure(11.0, 9.0) for _ in range(2))
    rows = (len(results) + 2) // 3
    upper = densities.subplots(rows, 3, sharex=True, sharey=True).ravel()
    lower = decays.subplots(rows, 3, sharex=True, sharey=True).ravel()
    for k, (name, result) in enumerate(results.items()):
        title = name if ROWS[name][1] is None else f"{name}, α = {ROWS[name][1]:g}"
        scale = ROWS[name][0] * GAP
        draw_densities(upper[k], result, scale, title)
        draw_decay(lower[k], result, scale, title, report[name]["ratio"])
    for ax in (*upper[::3], *lower[::3]):
        ax.set_ylabel("density q" if ax in upper else r"$D_f(p\,\Vert\, q)$")
    for ax in (*upper[-3:], *lower[-3:]):
        ax.set_xlabel("x" if ax in upper else "s = f″(1) λ₁ t", parse_math=False)
    for figure, axes in ((densities, upper), (decays, lower)):
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    wf.plot.save(densities, out / "densities.png")
    wf.plot.save(decays, out / "decay.png")


def draw_densities(ax: Any, result: wf.Result, scale: float, title: str) -> None:
    """The density at five times, light to dark, over the target."""
    x = result.states[0].grid.centers[0]
    wanted = np.array([0.0, 0.04, 0.2, 0.5, 1.0]) * result.times[-1]
    for shade, time in zip(np.linspace(0.3, 1.0, len(wanted)), wanted, strict=True):
        index = int(np.argmin(np.abs(result.times - time)))
        label = f"s = {scale * result.times[index]:.2g}"
        ax.plot(x, result.states[index].values, color=DENSITY(shade), label=label)
    ax.plot(x, result.target, "--", color=RED, linewidth=1.6, label="target p")
    ax.set_title(title)
    ax.set(xlim=(-2.0, 2.0), ylim=(0.0, None))


def draw_decay(ax: Any, result: wf.Result, scale: float, title: str, ratio: float) -> None:
    """D_f at every step against s, and a line of slope -2 through its end; the title says measured over expected."""
    energy = np.append(result.diagnostics["energy"][0], result.steps["energy"])
    s = scale * np.append(0.0, result.steps["time"])
    ax.plot(s, energy, color=BLUE, label="energy")
    ax.plot(
        s, energy[-1] * np.exp(2.0 * (s[-1] - s)), "--", color=RED, linewidth=1.6, label="expected slope, exp(-2 s)"
    )
    ax.set_yscale("log")
    ax.set_title(f"{title}: {ratio:.4f}")
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.8)


if __name__ == "__main__":
    typer.run(main)
