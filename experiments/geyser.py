"""One gradient flow solved three ways, on the eruptions of the Old Faithful geyser."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import fitted_rate, stage

import wflow as wf

DATA = Path(__file__).resolve().parent.parent / "data" / "geyser.csv"
NAMES = ("grid", "particles, ODE", "particles, Langevin")
FILES = ("grid", "ode", "langevin")


def main(
    particles: int = 20_000,
    cells: int = 128,
    t_end: float = 4.0,
    dt: float = 0.01,
    seed: int = 0,
    out: Path = Path("results/geyser"),
) -> dict[str, Any]:
    """Follow KL(q‖p) downhill, p the kernel density of 272 eruptions, and solve it on a grid and with particles.

    The data are duration x and waiting time y, each less its mean and divided by its standard deviation. Their Gaussian
    kernel density with Scott's bandwidth n^(-1/6) is the target p; it has two hills. The functional is the reverse
    divergence F[q] = ∫ q log(q/p), whose Wasserstein gradient flow from q₀ = N((1.5, -1.5), 0.4 I), a Gaussian off to
    the side, is stated once and solved three times:

    on a grid, as the Fokker–Planck equation ∂q/∂t = ∇·(p ∇(q/p)), by TR-BDF2;

    with particles, as the ODE dx/dt = ∇ log p - ∇ log q̂, q̂ the kernel density of the particles themselves;

    with particles, as Langevin's SDE dx = ∇ log p dt + √2 dW with steps dt.

    The three densities agree to the sampling error of the clouds and, for the ODE, to what its kernel smooths away. KL
    falls at once as the mass slides into the hills, then slowly as it evens out between them: in the end like
    exp(-2 λ₁ t), with λ₁ the spectral gap. The rate printed is the slope of log KL on the grid over the last quarter.
    KL of a cloud is the plug-in value ∑ wᵢ log(q̂(xᵢ)/p(xᵢ)): it is biased by the smoothing in q̂, and near equilibrium
    the bias, a few hundredths, is larger than KL itself.
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
        (cloud, {}),
        (cloud, {"stepper": wf.steppers.Langevin(), "dt": dt}),
    ]
    results = []
    for name, file, (state, extra) in zip(NAMES, FILES, runs, strict=True):
        with stage(name):
            path = out / f"{file}.h5"
            results.append(wf.run(functional, state, t_end=t_end, save=save, rng=seed, out=path, **extra))
    return report(results, data, out)


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


def report(results: list[wf.Result], data: np.ndarray, out: Path) -> dict[str, Any]:
    """Compare, draw, print; gives the numbers of the experiment."""
    reference = results[0]
    times = reference.times
    end = float(times[-1])
    rate = fitted_rate(times, reference.diagnostics["energy"], start=0.75 * end)
    with stage("comparison"):
        chosen = times[np.unique(np.linspace(0, len(times) - 1, 9).round().astype(int))]
        compared = wf.compare(*results, names=NAMES, times=chosen)
    print(compared)
    print(f"KL on the grid ends in exp(-{rate:.4f} t): spectral gap about {rate / 2:.4f}")
    with stage("pictures"):
        panels = [0.0, *(float(times[np.argmin(np.abs(times - share * end))]) for share in (0.03, 0.1, 1.0))]
        wf.plot.frames(results, panels, names=NAMES, data=data, path=out / "frames.png")
        wf.plot.energy(results, NAMES, [rate, None, None], out / "decay.png", floor=0.0)
        compared.plot(out / "comparison.png")
    print(f"pictures and files: {out}")
    last = {row["other"]: row for row in compared.rows if row["time"] == end}
    numbers: dict[str, Any] = {"rate": rate, "gap": rate / 2, "kl_start": float(reference.diagnostics["energy"][0])}
    for name, file, result in zip(NAMES, FILES, results, strict=True):
        numbers[file] = {
            "kl": float(result.diagnostics["energy"][-1]),
            "mean": result.final.mean,
            "cov": result.final.cov,
        }
        if name in last:
            numbers[file] |= {key: last[name][key] for key in ("w2", "l1")}
    return numbers


if __name__ == "__main__":
    typer.run(main)
