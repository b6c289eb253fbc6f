"""Clouds against the grid: moments and W2 of Langevin's cloud, and of the blob method, at their rates in n."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage

import wflow as wf
from wflow.exact import barenblatt, barenblatt_radius
from wflow.linalg.assignment import assignment
from wflow.plot.style import COLORS, INK, MARKERS, new_figure, save, styled

END, DT = 0.5, 0.016  # the step for a thousand particles
START, STOP, M = 0.15, 0.3, 2.0  # of the porous medium
COLUMNS = ("quantity", "n", "runs", "error", "expected rate")
RATES = {"mean": -1 / 2, "second moment": -1 / 2, "W2, 1-D": -1 / 2, "W2, 3-D": -1 / 3}


def main(
    largest: int = 1_000_000,
    spatial: int = 100_000,
    across: int = 120,
    cells: int = 64,
    seed: int = 0,
    out: Path = Path("results/sampling_error"),
    table: Path | None = None,
) -> dict[str, float]:
    """q from N(1/2, 1/4) down reverse KL to p ∝ exp(-(x² - 1)²) to t = 1/2, by clouds and on a grid.

    The particles of Langevin's cloud are independent draws of q, up to the weak error of a step, O(dt): dt falls as
    n^(-1/2), from 0.016 for a thousand particles. So moments err as n^(-1/2), and W2 to the grid's density as n^(-1/2)
    in 1-D (Bobkov & Ledoux 2019), and n^(-1/3) in 3-D, from there to as many draws of the density itself (Fournier &
    Guillin 2015). In 3-D a harmonic well is added on the other axes. Errors are root mean squares over several runs,
    fewer for larger clouds.

    The blob method has no noise: from a lattice, ∂q/∂t = Δq² with a bandwidth h^0.95 follows Barenblatt's solution, and
    the rms distance from where the exact flow takes the particles, a bound on W2, falls with n; its rate is observed.

    Returns the slopes of log error against log n. `largest`: particles in 1-D, from 1000 on by factors of ten;
    `spatial`: in 3-D, from a thousandth of it on; `across`: of the lattice, from a quarter on; `cells`: of the
    3-D grid. A million in 3-D take a quarter of an hour.
    """
    out.mkdir(parents=True, exist_ok=True)
    with stage("1-D"):
        rows = on_a_line(largest, seed)
    with stage("3-D"):
        rows += in_space(spatial, cells, seed)
    with stage("blob"):
        rows += blobs(across)
    slopes = {name: slope(rows, name) for name in dict.fromkeys(row["quantity"] for row in rows)}
    for row in rows:
        print("  ".join(f"{row[name]!s:>16}" for name in COLUMNS))
    for name, value in slopes.items():
        print(f"{name}: error like n^{value:.3f}")
    if table is not None:
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    save(draw(rows, slopes), out / "rates.png")
    print(f"picture: {out}")
    return slopes


def line(quantity: str, n: int, errors: Any) -> dict[str, Any]:
    """A row of the table, the root mean square of the errors of several runs."""
    rate = f"{RATES[quantity]:.3f}" if quantity in RATES else ""
    error = f"{np.sqrt(np.mean(np.square(errors))):.3e}"
    return {"quantity": quantity, "n": n, "runs": np.size(errors), "error": error, "expected rate": rate}


def on_a_line(largest: int, seed: int) -> list[dict[str, Any]]:
    """Moments and W2 against the grid."""
    F, start = wf.FDivergence("reverse-kl", wf.Gibbs("(x**2 - 1)**2")), wf.Gaussian([0.5], 0.25)
    grid = wf.run(F, wf.Density(wf.Grid(-3.5, 3.5, 800), start), t_end=END, tol=1e-5, save="ends").final
    second = float(np.sum(grid.grid.points()[:, 0] ** 2 * grid.values) * grid.grid.volume)
    rows = []
    for n in (10**k for k in range(3, 1 + int(np.log10(largest)))):
        dt = DT * (1000 / n) ** 0.5
        found: dict[str, list[float]] = {name: [] for name in ("mean", "second moment", "W2, 1-D")}
        for run in range(max(4, min(32, 10**6 // n))):
            cloud = wf.Particles(start.sample(n, rng=1000 * seed + run))
            stepper = wf.steppers.Langevin()
            final = wf.run(F, cloud, t_end=END, dt=dt, stepper=stepper, save="ends", rng=1000 * seed + run).final
            found["mean"].append(float(final.mean[0] - grid.mean[0]))
            found["second moment"].append(float(np.mean(final.positions**2)) - second)
            found["W2, 1-D"].append(wf.wasserstein2(final, grid))
        rows += [line(name, n, errors) for name, errors in found.items()]
    return rows


def in_space(largest: int, cells: int, seed: int) -> list[dict[str, Any]]:
    """W2 to as many draws of the grid's density, by auctions: at most 0.5 % too large, half a minute for 10⁵ by 10⁵."""
    F = wf.FDivergence("reverse-kl", wf.Gibbs("(x**2 - 1)**2 + y**2 + z**2"))
    start, box = wf.Gaussian([0.5, 0.0, 0.0], 0.25), wf.Grid([-3.0] * 3, [3.0] * 3, cells)
    grid = wf.run(F, wf.Density(box, start), t_end=END, save="ends").final
    rows = []
    for n in (max(1, largest // 10**k) for k in (3, 2, 1, 0)):
        errors = []
        for run in range(max(1, min(8, 10**5 // n))):
            cloud = wf.Particles(start.sample(n, rng=1000 * seed + run))
            final = wf.run(
                F, cloud, t_end=END, dt=0.01, stepper=wf.steppers.Langevin(), save="ends", rng=1000 * seed + run
            ).final
            draws = grid.sample(n, rng=1000 * seed + run + 77)
            errors.append(assignment(final.positions, draws, 1e-2)[1])
        rows.append(line("W2, 3-D", n, errors))
    return rows


def blobs(largest: int) -> list[dict[str, Any]]:
    """Porous medium in the plane."""
    radius = barenblatt_radius(START, M, 2)
    growth, rows = barenblatt_radius(STOP, M, 2) / radius, []
    for across in (largest // 4, largest // 2, largest):
        h = 2.0 * radius / across
        axis = h * (np.arange(across) - 0.5 * (across - 1))
        x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        x = x[np.sum(x**2, axis=1) < radius**2]
        cloud = wf.Particles(x, barenblatt(x, START, M))
        F = wf.Blob(wf.PowerEntropy(M), h**0.95)
        final = wf.run(F, cloud, t_end=STOP - START, tol=1e-4, save="ends").final
        moved = np.sum((final.positions - growth * x) ** 2, axis=1)
        rows.append(line("blob, 2-D", len(x), [np.sqrt(cloud.weights @ moved)]))
    return rows


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Of log error against log n."""
    n, error = np.array([(row["n"], float(row["error"])) for row in rows if row["quantity"] == name]).T
    return float(np.polyfit(np.log(n), np.log(error), 1)[0])


@styled
def draw(rows: list[dict[str, Any]], slopes: dict[str, float]) -> Any:
    """Errors against n."""
    figure = new_figure(8.0, 5.4)
    ax = figure.subplots()
    for k, (name, rate) in enumerate(slopes.items()):
        n, error = np.array([(row["n"], float(row["error"])) for row in rows if row["quantity"] == name]).T
        ax.plot(n, error, color=COLORS[k], marker=MARKERS[k], label=f"{name}: $n^{{{rate:.2f}}}$")
    n = np.array([1e3, max(float(row["n"]) for row in rows)])
    ax.plot(n, 0.015 * (n / n[0]) ** -0.5, color=INK, linestyle=":", linewidth=1.2, label="$n^{-1/2}$")
    ax.plot(n, 0.2 * (n / n[0]) ** (-1 / 3), color=INK, linestyle="--", linewidth=1.2, label="$n^{-1/3}$")
    ax.set(xlabel="particles n", ylabel="error", xscale="log", yscale="log", title="Clouds against the grid")
    ax.legend(fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


if __name__ == "__main__":
    typer.run(main)
