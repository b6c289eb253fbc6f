"""One gradient flow solved three ways, on the eruptions of the Old Faithful geyser."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import fitted_rate, stage

import wflow as wf
from wflow.plot.style import INK

DATA = Path(__file__).resolve().parent.parent / "data" / "geyser.csv"
NAMES = ("grid", "particles, ODE", "particles, Langevin")
FILES = ("grid", "ode", "langevin")


def main(
    particles: int = 20_000,
    cells: int = 128,
    t_end: float = 4.0,
    dt: float = 0.01,
    bandwidth: float = 0.12,
    seed: int = 0,
    out: Path = Path("results/geyser"),
) -> dict[str, Any]:
    """Follow KL(q‖p) downhill, p the kernel density of 272 eruptions, and solve it on a grid and with particles.

    The data are duration x and waiting time y, each less its mean and divided by its standard deviation. Their
    Gaussian kernel density with Scott's bandwidth n^(-1/6) is the target p; it has two hills. The functional is the
    reverse divergence F(q) = ∫ q log(q/p), whose Wasserstein gradient flow from q₀ = N((1.5, -1.5), 0.4 I), a
    Gaussian off to the side, is stated once and solved three times:

    on a grid, as the Fokker–Planck equation ∂q/∂t = ∇·(p ∇(q/p)), by the default stepper;

    with particles, as the ODE dx/dt = ∇ log p - ∇ log q̂, where q̂ is the kernel density of the particles themselves
    with the given bandwidth;

    with particles, as Langevin's SDE dx = ∇ log p dt + √2 dW with steps dt, by the scheme of Leimkuhler and Matthews.

    The three agree to the sampling error of the clouds and, for the ODE, to what its kernel smooths away: at rest q̂
    is p, so the cloud itself is narrower by the square of the bandwidth. KL falls at once as the mass slides into
    the hills, then slowly as it evens out between them, in the end like exp(-2 λ₁ t) with λ₁ the spectral gap, found
    from the grid alone by `wf.spectrum`; the slope of log KL over the last quarter of the run is 2 % above 2 λ₁. KL
    of a cloud is the plug-in value ∑ wᵢ log(q̂(xᵢ)/p(xᵢ)), whose own error, about a hundredth, shows near
    equilibrium.
    """
    out.mkdir(parents=True, exist_ok=True)
    data = standardised()
    functional = wf.FDivergence("reverse-kl", wf.KernelDensity(data, bandwidth="scott"))
    start = wf.Gaussian([1.5, -1.5], 0.4)
    grid = wf.Grid([-4.0, -4.5], [4.5, 4.0], cells)
    cloud = wf.Particles(start.sample(particles, rng=seed))
    save = frame_times(t_end, dt)
    runs: list[tuple[Any, dict[str, Any]]] = [
        (wf.Density(grid, start), {}),
        (cloud, {"estimator": bandwidth}),
        (cloud, {"stepper": wf.steppers.Langevin(), "dt": dt, "estimator": bandwidth}),
    ]
    results = []
    for name, file, (state, extra) in zip(NAMES, FILES, runs, strict=True):
        with stage(name):
            path = out / f"{file}.h5"
            results.append(wf.run(functional, state, t_end=t_end, save=save, rng=seed, out=path, **extra))
    with stage("spectral gap"):
        gap = float(wf.spectrum(functional, grid, k=2).rates[1])
    return report(results, gap, data, out)


def standardised() -> np.ndarray:
    """Duration and waiting time (272, 2), each with mean 0 and standard deviation 1."""
    table = np.loadtxt(DATA, delimiter=",", skiprows=1, usecols=(0, 1))
    return (table - table.mean(axis=0)) / table.std(axis=0)


def frame_times(t_end: float, dt: float) -> np.ndarray:
    """Frames close together at first and equally spaced later, all on multiples of dt."""
    steps = round(t_end / dt)
    early = np.geomspace(1.0, steps, 17)
    even = np.linspace(0.0, steps, 17)[1:]
    return dt * np.unique(np.round(np.concatenate([early, even])))


def report(results: list[wf.Result], gap: float, data: np.ndarray, out: Path) -> dict[str, Any]:
    """Compare, draw, print; gives the numbers of the experiment."""
    energy, times = results[0].diagnostics["energy"], results[0].times
    end = float(times[-1])
    rate = fitted_rate(times, energy, start=0.75 * end)
    with stage("comparison"):
        compared = wf.compare(*results, names=NAMES, times=nearest(times, end * np.array([0.0, 0.03, 0.1, 0.3, 1.0])))
    print(compared)
    print(f"KL on the grid falls at rate {rate:.4f} over the last quarter; in the end at 2 λ₁ = {2 * gap:.4f}")
    with stage("pictures"):
        draw_frames(results, data, out / "frames.png")
        figure = wf.plot.energy(results, NAMES, [2 * gap, None, None], floor=0.0)
        figure.suptitle("KL(q‖p) to the kernel density of the eruptions", parse_math=False)
        wf.plot.save(figure, out / "decay.png")
        compared.plot(out / "comparison.png")
    print(f"pictures and files: {out}")
    last = {row["other"]: row for row in compared.rows if row["time"] == end}
    numbers: dict[str, Any] = {"rate": rate, "gap": gap, "kl_start": float(energy[0])}
    for name, file, result in zip(NAMES, FILES, results, strict=True):
        numbers[file] = {
            "kl": float(result.diagnostics["energy"][-1]),
            "mean": result.final.mean,
            "cov": result.final.cov,
        }
        if name in last:
            numbers[file] |= {key: last[name][key] for key in ("w2", "l1")}
    return numbers


def nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The frame times next to those wanted."""
    return np.unique(times[np.argmin(np.abs(times[:, None] - wanted), axis=0)])


def draw_frames(results: list[wf.Result], data: np.ndarray, path: Path) -> None:
    """Four times side by side over the data; the contours of the grid's solution lie over the particles."""
    times = nearest(results[0].times, results[0].times[-1] * np.array([0.0, 0.03, 0.1, 1.0]))
    figure = wf.plot.frames(results, times, names=NAMES)
    axes = np.array(figure.axes[: 3 * len(times)]).reshape(3, -1)
    for column, time in enumerate(times):
        density = results[0].states[int(np.argmin(np.abs(results[0].times - time)))]
        for row, ax in enumerate(axes[:, column]):
            ax.plot(*data.T, "o", color=INK, markersize=2.6, markeredgewidth=0.4, markeredgecolor="white")
            if row:
                levels = density.values.max() * np.array([0.1, 0.3, 0.6, 0.9])
                ax.contour(*density.grid.centers, density.values.T, levels=levels, colors=INK, linewidths=0.9)
            ax.set(xlim=(-2.8, 3.4), ylim=(-3.5, 2.9))
    for ax, name in zip(axes[:, 0], NAMES, strict=True):
        ax.set_ylabel(f"{name}\nwaiting time")
    for ax in axes[-1]:
        ax.set_xlabel("duration")
    figure.suptitle(
        "One flow, KL(q‖p) downhill to the geyser data (dots), solved three ways", fontsize=16, parse_math=False
    )
    figure.set_size_inches(12.4, 9.2)
    wf.plot.save(figure, path)


if __name__ == "__main__":
    typer.run(main)
