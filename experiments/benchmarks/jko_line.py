"""Hard JKO steps on the line: every functional from every kind of start at steps from 1e-3 to 100.

    q⁺ = argmin W2²(·, q)/2τ + F,   on cells of [-5, 5], two steps each.

Starts: one cell, one wall, both walls, a top hat, blobs narrow beside the cells and narrower, cells random over six
decades with and without empty ones, a smooth density, tails out of float64. Each of all must end complete, with its
mass kept to 1e-12 and an energy that never rises; starts where p is out of float64's range are refused, and counted.
"""

import time
import warnings

import numpy as np
import typer
from tables import write_table

import wflow as wf
from wflow.errors import Status
from wflow.functionals.densities import DIVERGENCES

TARGETS = {
    "N(0, 1)": wf.Gaussian([0.0], 1.0),
    "N(0, 0.1)": wf.Gaussian([0.0], 0.1),
    "two peaks": wf.GaussianMixture([[-2.0], [2.0]], 0.05),
    "uniform": wf.Uniform([-5.0], [5.0]),
}
FIELDS = ("x**2/2", "(x**2 - 1)**2", "sin(5*x)", "-x**2/2", "x")
PAIRS = ("x**2/2", "-x**2/2", "abs(x)", "-exp(-x**2)", "exp(-x**2)", "exp(-abs(x)) - 0.5*exp(-abs(x)/2)")


def functionals() -> dict[str, wf.functionals.Functional]:
    """All of them, by family and member."""
    found = {f"{name} | {key}": wf.FDivergence(name, p) for name in DIVERGENCES for key, p in TARGETS.items()}
    found |= {
        f"alpha {a:g} | {key}": wf.FDivergence("alpha", p, alpha=a)
        for a in (-1.0, 0.5, 2.0, 3.0)
        for key, p in TARGETS.items()
    }
    found |= {"entropy | ": wf.Entropy(), "U | sum": wf.InternalEnergy("q**1.5 + q*log(q)")}
    found |= {f"power | {m:g}": wf.PowerEntropy(m) for m in (0.5, 2.0, 3.0, 8.0)}
    for V in FIELDS:
        found[f"V | {V}"] = wf.Potential(V)
        found |= {f"{e:g} entropy + V | {V}": e * wf.Entropy() + wf.Potential(V) for e in (0.1, 0.001)}
        found |= {
            f"{c:g} power {m:g} + V | {V}": c * wf.PowerEntropy(m) + wf.Potential(V)
            for c, m in ((1.0, 2.0), (0.01, 3.0), (1.0, 0.5))
        }
    for W in PAIRS:
        found[f"W | {W}"] = wf.Interaction(W)
        found[f"0.1 entropy + W | {W}"] = 0.1 * wf.Entropy() + wf.Interaction(W)
        found[f"power 2 + W | {W}"] = wf.PowerEntropy(2) + wf.Interaction(W)
        found[f"chi2 + W | {W}"] = wf.FDivergence("chi2", TARGETS["N(0, 1)"]) + wf.Interaction(W)
    sums = (wf.FDivergence("kl", TARGETS["two peaks"]), wf.Potential("(x**2 - 1)**2"))
    found |= {
        f"jensen-shannon + more | {k}": wf.FDivergence("jensen-shannon", TARGETS["N(0, 1)"]) + f
        for k, f in enumerate(sums)
    }
    return found


def starts(x: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Cell averages by name; those without are in no cell but the ones named."""
    n, cells = x.size, np.eye(x.size)
    peaks = {
        s: np.exp(np.logaddexp(-((x - m) ** 2) / (2 * s**2), -((x + m) ** 2) / (2 * s**2)))
        for s, m in ((0.1, 3), (0.05, 4))
    }
    decades = 10.0 ** rng.uniform(-6, 0, n)
    return {
        "one cell": cells[n // 4],
        "one wall": cells[0],
        "two walls": cells[0] + cells[-1],
        "top hat": np.where(np.abs(x + 2.5) < 1.0, 1.0, 0.0),
        "blobs": peaks[0.1],
        "narrow blobs": peaks[0.05],
        "random cells": decades,
        "random cells and vacuum": np.where(rng.random(n) < 0.4, 0.0, decades),
        "smooth": 1 + 0.5 * np.sin(x),
        "tails": np.exp(-((x - 2) ** 2) / 0.04),
    }


def main(
    cells: int = 100, steps: str = "1e-3,0.1,1,10,100", only: str = "", out: str = "data/benchmark_jko_line.csv"
) -> list[dict[str, str]]:
    """Print and write a row for each family of functionals: how many ran, and how; `only` picks families by name."""
    grid, dts = wf.Grid(-5.0, 5.0, cells), [float(tau) for tau in steps.split(",")]
    begins = starts(grid.centers[0], np.random.default_rng(3))
    counts: dict[str, dict[str, float]] = {}
    for name, functional in functionals().items():
        family = name.split(" | ")[0]
        if only not in family:
            continue
        row = counts.setdefault(family, dict.fromkeys(("runs", "refused", "failed", "rises", "Newton", "seconds"), 0.0))
        for begin, values in begins.items():
            for dt in dts:
                clock = time.process_time()
                said = one(functional, wf.Density(grid, values), dt)
                row["seconds"] += time.process_time() - clock
                row["runs"] += 1
                row["Newton"] += said.pop("Newton", 0)
                for word in said:
                    row[word] += 1
                    if word != "refused":
                        print(f"{name}, {begin}, dt = {dt:g}: {word}", flush=True)
    rows = [
        {
            "functional": family,
            **{key: f"{value:.3g}" if key == "seconds" else f"{value:.0f}" for key, value in row.items()},
        }
        for family, row in counts.items()
    ]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    write_table(rows, out)
    return rows


def one(functional: wf.functionals.Functional, q: wf.Density, dt: float) -> dict[str, int]:
    """Newton iterations of two steps, and what was wrong with them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wf.RunWarning)
            result = wf.run(functional, q, dt=dt, steps=2, stepper=wf.steppers.JKO(), save="all")
    except wf.InputError:
        return {"refused": 1}
    energies, masses = result.diagnostics["energy"], result.diagnostics["mass"]
    kept = energies[np.flatnonzero(np.isfinite(energies))[0] :] if np.any(np.isfinite(energies)) else energies
    said = {"Newton": int(result.steps["newton"].sum())}
    if result.status is not Status.COMPLETE or np.abs(masses - 1).max() > 1e-12:
        said["failed"] = 1
    if not np.all(np.diff(kept) <= 2e-13 * (1 + np.abs(kept[:-1]))):
        said["rises"] = 1
    return said


if __name__ == "__main__":
    typer.run(main)
