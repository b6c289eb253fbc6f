"""Explicit, stabilised and implicit steps of a stiff blob flow: what each costs, and what it errs.

∂q/∂t = Δq^m in the plane from Barenblatt's solution at t = 0.15 to 0.30, on the cells of a lattice, as the problem BLOB
in `particles.py`. `stiffness` is the step times the spectral radius of the start: above 2 an explicit Euler step grows.
`products` are velocities for an explicit stepper and Jacobian products for an implicit one, which cost about as much.
The error is the rms distance of the particles from where the exact flow takes them; blobs of this width err by 2.65e-3
however small the step. Times are of the processor, the best of a few runs.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
from tables import write_table

import wflow as wf
from wflow.exact import barenblatt, barenblatt_radius
from wflow.flows import make_flow

TABLE = Path(__file__).resolve().parent.parent.parent / "data" / "benchmark_blob_steps.csv"
COLUMNS = ("stepper", "steps", "stiffness", "newton", "products", "processor", "error")
START, END = 0.15, 0.3


def main(across: int = 60, m: float = 6.0, repeat: int = 3, out: Path = TABLE) -> list[dict[str, Any]]:
    """Run all steppers, print the table and write it."""
    radius = barenblatt_radius(START, m, 2)
    h = 2.0 * radius / across
    axis = h * (np.arange(across) - 0.5 * (across - 1))
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    x = x[np.sum(x**2, axis=1) < radius**2]
    start, F = wf.Particles(x, barenblatt(x, START, m)), wf.Blob(wf.PowerEntropy(m), h**0.95)
    end, stiffness = x * barenblatt_radius(END, m, 2) / radius, make_flow(F, start).spectral_radius(0.0, start)
    rows = []
    steppers = (wf.steppers.RKL2(), wf.steppers.TRBDF2(), wf.steppers.ImplicitEuler(), wf.steppers.BogackiShampine())
    for stepper in steppers:
        for steps in (1, 3, 12) if not isinstance(stepper, wf.steppers.BogackiShampine) else (48,):
            dt = (END - START) / steps
            rows.append(
                {"steps": steps, "stiffness": f"{dt * stiffness:.1f}", **cost(F, start, end, stepper, dt, repeat)}
            )
            print(*(f"{rows[-1][name]!s:>16}" for name in COLUMNS))
    write_table(rows, out, COLUMNS)
    return rows


def cost(F: Any, start: wf.Particles, end: np.ndarray, stepper: Any, dt: float, repeat: int) -> dict[str, Any]:
    """What one run takes, and how far from `end` it comes out."""
    best = np.inf
    for _ in range(repeat + 1):
        clock = time.process_time()
        result = wf.run(F, start, t_end=END - START, dt=dt, save="ends", stepper=stepper)
        best = min(best, time.process_time() - clock)
    moved = np.sum((result.final.positions - end) ** 2, axis=1)
    totals = {name: int(result.steps[name].sum()) for name in ("rates", "newton", "linear") if name in result.steps}
    return {
        "stepper": type(stepper).__name__,
        "newton": totals.get("newton", ""),
        "products": totals.get("linear", totals.get("rates", "")),
        "processor": f"{best:.4f}",
        "error": f"{np.sqrt(start.weights @ moved):.3e}",
    }


if __name__ == "__main__":
    typer.run(main)
