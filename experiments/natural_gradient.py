"""Two metrics, two curves: Gaussians to the standard normal in the Wasserstein and the Fisher–Rao metric."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from matplotlib.figure import Figure

import wflow as wf
from wflow import exact

TARGET = wf.Gaussian([0.0], 1.0)
KL = wf.FDivergence("reverse-kl", TARGET)
STARTS = ((1.0, 2.0), (2.0, 0.4), (-2.0, 0.6), (-1.5, 1.8), (0.0, 2.6))
BLUE, RED, GREEN, INK, GREY = "#0072B2", "#D55E00", "#009E73", "#1A1A1A", "#8C8C8C"
CLOSED = {
    "Wasserstein": exact.gaussian_kl_wasserstein,
    "Fisher–Rao": exact.gaussian_kl_natural,
    "both": exact.gaussian_kl_both,
}
COLORS = {"Wasserstein": BLUE, "Fisher–Rao": RED, "both": GREEN}
ON_GRIDS = {
    "Wasserstein": wf.metrics.Wasserstein(),
    "Fisher–Rao": wf.metrics.FisherRao(),
    "both": wf.metrics.WassersteinFisherRao(),
}


def main(cells: int = 300, t_end: float = 4.0, out: Path = Path("results/natural_gradient")) -> dict[str, Any]:
    """Descend KL(q | N(0, 1)) = (m² + s² - 1)/2 - log s from N(m, s²), to the same minimum along other curves.

    Wasserstein (Bures on Gaussians, flat in (m, s)): m' = -m, s' = 1/s - s, so m e^-t and s² = 1 + (s0² - 1) e^-2t.

    Fisher–Rao, metric diag(1/s², 2/s²), the natural gradient: m' = -s² m, s' = s (1 - s²)/2; the natural parameters
    (m/s², -1/(2s²)) relax exactly as e^-t, along a straight line in their own plane. Wide distributions move fast,
    narrow ones slowly, since distances are counted in standard deviations.

    Both at once (Wasserstein–Fisher–Rao): the sum of the two.

    Each curve is run on the Gaussian (not both, whose Gaussian form is no metric of ours), and on a grid as a density
    of any shape, where these flows happen to stay Gaussian; all are held against the closed forms. KL falls at least as
    e^-2t in Wasserstein, whatever the start, and in Fisher–Rao as fast in the end, but for narrow starts later.
    """
    out.mkdir(parents=True, exist_ok=True)
    times, report = np.linspace(0.0, t_end, 33), {}
    curves: dict[str, list[np.ndarray]] = {name: [] for name in CLOSED}
    for name, metric in ON_GRIDS.items():
        with stage(name):
            errors = []
            for mean, sd in STARTS:
                expected = np.array([CLOSED[name](mean, sd, t) for t in times])
                found = on_grid(mean, sd, metric, times, cells)
                errors.append(np.abs(found - expected).max())
                if name != "both":
                    errors.append(np.abs(on_gaussians(mean, sd, name, times) - expected).max())
                curves[name].append(found)
        report[name] = {"error": float(max(errors)), "kl": [float(kl(*curve.T)[-1]) for curve in curves[name]]}
        print(f"{name:>12}: largest error in mean and deviation {report[name]['error']:.1e}")
    draw(curves, times, out)
    print(f"pictures: {out}")
    return report


def on_grid(mean: float, sd: float, metric: Any, times: np.ndarray, cells: int) -> np.ndarray:
    """Mean and deviation `(T, 2)` of a density on a grid."""
    q = wf.Density(wf.Grid(-12, 12, cells), wf.Gaussian([mean], sd**2))
    result = wf.run(KL, q, t_end=times[-1], metric=metric, save=times[1:], tol=1e-4)
    return np.array([[s.mean[0], np.sqrt(s.cov[0, 0] - q.grid.volume**2 / 12)] for s in result.states])


def on_gaussians(mean: float, sd: float, name: str, times: np.ndarray) -> np.ndarray:
    """The same of a Gaussian state."""
    metric = wf.metrics.Natural() if name == "Fisher–Rao" else None
    result = wf.run(KL, wf.Gaussian([mean], sd**2), t_end=times[-1], metric=metric, save=times[1:], tol=1e-6)
    return np.array([[s.mean[0], s.cov[0, 0] ** 0.5] for s in result.states])


def kl(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """KL(N(mean, sd²) | N(0, 1))."""
    return 0.5 * (mean**2 + sd**2 - 1) - np.log(sd)


def draw(curves: dict[str, list[np.ndarray]], times: np.ndarray, out: Path) -> None:
    """The half-plane of Gaussians with the curves over KL, and KL against time from two starts."""
    figure = Figure(figsize=(11.0, 5.0), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    m, s = np.meshgrid(np.linspace(-2.6, 2.6, 200), np.linspace(0.2, 3.0, 200))
    left.contour(m, s, kl(m, s), levels=np.geomspace(0.02, 6, 10), colors=GREY, linewidths=0.7)
    fine = np.linspace(0.0, times[-1], 400)
    for name, found in curves.items():
        for k, ((mean, sd), curve) in enumerate(zip(STARTS, found, strict=True)):
            closed = np.array([CLOSED[name](mean, sd, t) for t in fine])
            left.plot(*closed.T, color=COLORS[name], linewidth=1.8, label=name if k == 0 else None)
            left.plot(*curve[::2].T, "o", color=COLORS[name], markersize=3.5)
    left.plot(*np.array(STARTS).T, "o", markerfacecolor="white", markeredgecolor=INK, markersize=9)
    left.plot(0.0, 1.0, "*", color=INK, markersize=16)
    left.set(xlabel="mean", ylabel="standard deviation", xlim=(-2.6, 2.6), ylim=(0.2, 3.0))
    left.legend(frameon=False, loc="upper right", title="lines: closed forms\ndots: grid")
    for name, found in curves.items():
        for k, dash in ((0, "-"), (1, "--")):
            start = f"N({STARTS[k][0]:g}, {STARTS[k][1]:g}²)"
            right.semilogy(times, kl(*found[k].T), dash, color=COLORS[name], label=f"{name} from {start}")
    right.set(xlabel="time", ylabel="KL divergence", ylim=(1e-6, 10))
    right.legend(frameon=False, fontsize=9, loc="lower left")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "curves.png")


if __name__ == "__main__":
    typer.run(main)
