"""How often an adaptive step on a grid is redone: rejected by its error estimate, or taken by implicit Euler.

Problems of the grid solver's tests and benchmarks, with the default stepper, with TR-BDF2 and, where it is cheap, with
RKL2, at the default tolerance: accepted steps, rejected ones and fallbacks in per cent of all that were tried, and the
largest rise of the energy. Vacuum and spike are the two nearly singular starts: a half-empty box, and all mass in 1 %
of it.
"""

from typing import Any

import numpy as np
import typer
from tables import write_table

import wflow as wf

DIVERGENCES = (
    "reverse-kl", "kl", "chi2", "reverse-chi2", "hellinger", "jensen-shannon", "jeffreys", "triangular",
)  # fmt: skip
LINE = wf.Grid(-4.0, 4.0, 200)


def half_empty(grid: wf.Grid) -> wf.Density:
    """Mass in the lower half of the box only."""
    middle = 0.5 * (grid.lower[0] + grid.upper[0])
    return wf.Density(grid, lambda x: (x[:, 0] < middle).astype(float))


def spike(grid: wf.Grid) -> wf.Density:
    """A Gaussian whose width is a hundredth of the box, away from its middle."""
    centre = grid.lower + 0.3 * (grid.upper - grid.lower)
    return wf.Density(grid, wf.Gaussian(centre, (0.01 * (grid.upper - grid.lower)) ** 2))


def problems() -> dict[str, tuple[Any, wf.Density, float]]:
    """Name to functional, start and end."""
    p, plane = wf.Gaussian([0.0], 1.0), wf.Grid([-2.0, -2.0], [2.0, 2.0], (64, 64))
    wells = wf.Potential("(x**2 - 1)**2 + 2*y**2")
    offset = wf.Density(plane, wf.Gaussian([-0.5, 0.8], 0.09))
    unit, ball = wf.Grid(0.0, 1.0, 200), wf.Grid([-2.0, -2.0], [2.0, 2.0], (48, 48))
    found: dict[str, tuple[Any, wf.Density, float]] = {
        "Fokker-Planck 2-D": (wf.Entropy() + wells, offset, 1.0),
        "cold wells 2-D": (0.1 * wf.Entropy() + wells, offset, 1e4),
        "drift-diffusion": (wf.Entropy() + wf.Potential("-x"), spike(unit), 1.0),
        "heat": (wf.Entropy(), half_empty(unit), 1.0),
        "Ornstein-Uhlenbeck": (wf.FDivergence("reverse-kl", p), spike(LINE), 10.0),
        "Barenblatt 2-D": (wf.PowerEntropy(2.0), wf.Density(ball, lambda x: np.maximum(1 - (x**2).sum(1), 0)), 1.0),
        "fast diffusion": (wf.PowerEntropy(0.5), spike(unit), 0.1),
        "aggregation": (
            0.1 * wf.PowerEntropy(2.0) + wf.Interaction("-exp(-x**2)"), wf.Density(LINE, lambda x: 1 + 0 * x[:, 0]), 5.0
        ),
    }  # fmt: skip
    for name in DIVERGENCES:
        F = wf.FDivergence(name, p)
        found[f"{name}, vacuum"] = F, half_empty(LINE), 10.0
        found[f"{name}, spike"] = F, spike(LINE), 10.0
    return found


def measured(name: str, stepper: Any, F: Any, state: wf.Density, t_end: float, tol: float) -> dict[str, Any]:
    """One row."""
    result = wf.run(F, state, t_end=t_end, tol=tol, stepper=stepper, save="ends", max_steps=5000)
    steps = len(result.steps["time"])
    rejected, fallbacks = (float(result.steps.get(key, np.zeros(1)).sum()) for key in ("rejections", "fallbacks"))
    energy = result.steps["energy"]
    rise = np.diff(energy[np.isfinite(energy)]).max(initial=0.0)
    return {
        "problem": name, "stepper": str(result.info["stepper"]), "default": stepper is None, "steps": steps,
        "rejected %": f"{100.0 * rejected / max(1, steps + rejected):.2f}",
        "fallbacks %": f"{100.0 * fallbacks / max(1, steps + rejected):.2f}", "rise": f"{rise:.1e}",
        "status": result.status.value,
    }  # fmt: skip


def main(tol: float = 1e-3, only: str = "", out: str = "data/benchmark_rejections.csv") -> dict[str, float]:
    """Print the table, write it to `out`, and return the rejected and the fallen-back steps in per cent by problem."""
    rows = []
    for name, (F, state, t_end) in problems().items():
        if only not in name:
            continue
        for stepper in (None, wf.steppers.TRBDF2(), wf.steppers.RKL2()):
            if isinstance(stepper, wf.steppers.RKL2) and not name.startswith(("Fokker", "drift", "heat", "Orn", "Bar")):
                continue
            rows.append(measured(name, stepper, F, state, t_end, tol))
            print("  ".join(f"{value}" for value in rows[-1].values()), flush=True)
    write_table(rows, out)
    return {
        f"{row['problem']}, {row['stepper']}": max(float(row["rejected %"]), float(row["fallbacks %"])) for row in rows
    }


if __name__ == "__main__":
    typer.run(main)
