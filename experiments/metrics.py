"""One objective, eight geometries: steepest descent from one point in eight metrics, in one picture."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage

import wflow as wf

MAP = ("x - 1", "y - x**2/4")
OBJECTIVE = wf.Potential("x**2 + 4*y**2", inner=list(MAP))
START = (-1.6, 2.4)
SHEAR = [[2.0, 0.8], [0.8, 1.0]]


def inverse(y: np.ndarray, near: np.ndarray) -> np.ndarray:
    """x with y(x) = y."""
    return np.array([y[0] + 1.0, y[1] + (y[0] + 1.0) ** 2 / 4.0])


def pulled_back(x: np.ndarray) -> np.ndarray:
    """Jᵀ H_L J: the metric of y-space, in x."""
    J = np.array([[1.0, 0.0], [-0.5 * x[0], 1.0]])
    return J.T @ np.diag([2.0, 8.0]) @ J


METRICS: dict[str, wf.metrics.Metric] = {
    "Euclidean": wf.metrics.Euclidean(),
    "preconditioned": wf.metrics.Preconditioned(SHEAR),
    "l1": wf.metrics.Norm(1),
    "l∞": wf.metrics.Norm(np.inf),
    "mirror, cosh": wf.metrics.Mirror("cosh(1.5*x) + cosh(1.5*y)"),
    "Newton, damped": wf.metrics.Newton(damping=5.0),
    "natural": wf.metrics.Natural(fisher=pulled_back),
    "chart": wf.metrics.Chart(MAP, inverse, "x**2 + 4*y**2"),
}


def main(dt: float = 0.005, steps: int = 4000, out: Path = Path("results/metrics")) -> dict[str, Any]:
    """Minimise L(y(x)), L = y0² + 4 y1², y = (x0 - 1, x1 - x0²/4), a bent valley, from (-1.6, 2.4).

    "Steepest" depends on the metric: the direction is argmin ∇f · u + |u|²/2 in its norm.

    Euclidean: -∇f, across the contours. Preconditioned: -P⁻¹∇f. l1: the one steepest coordinate; l∞: the signs of the
    gradient; both with steps of one length, so that they stop within dt of the minimum. Mirror: dθ/dt = -∇f with θ =
    ∇ψ(x), ψ = Σ cosh(1.5 xᵢ), slow where ψ is strongly curved. Newton: -(H + 5)⁻¹∇f, damped since f is not convex.
    Natural: -G⁻¹∇f with G = Jᵀ H_L J. Chart: Newton's step in y, taken back to x.

    The last two are the same flow, since G is the metric of y-space: dy/dt = -y, a straight line in y, a parabola in
    x. Their paths differ by O(dt). All follow the metric by explicit Euler; none has a stepper of its own.
    """
    out.mkdir(parents=True, exist_ok=True)
    results, report = {}, {}
    for name, metric in METRICS.items():
        with stage(name):
            results[name] = wf.run(OBJECTIVE, wf.Point(START), steps=steps, dt=dt, metric=metric, save=steps // 20 + 1)
        way = np.array([s.x for s in results[name].states])
        in_y = OBJECTIVE.image(way)
        energy = results[name].diagnostics["energy"]
        report[name] = {
            "end": way[-1],
            "energy": float(energy[-1]),
            "length": float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum()),
            "bend_in_y": bend(in_y),
        }
    print(f"{'metric':>16} {'f at the end':>13} {'length of the way':>18} {'bend in y':>10}")
    for name, row in report.items():
        print(f"{name:>16} {row['energy']:13.2e} {row['length']:18.4f} {row['bend_in_y']:10.2e}")
    ways = [np.array([s.x for s in results[name].states]) for name in ("natural", "chart")]
    report["natural_against_chart"] = float(np.abs(ways[0] - ways[1]).max())
    print(f"natural against chart: {report['natural_against_chart']:.1e} apart at most")
    bounds = ((-2.2, 1.9), (-0.9, 2.8))
    wf.plot.trajectories(list(results.values()), OBJECTIVE, list(results), out / "metrics.png", bounds)
    print(f"picture: {out / 'metrics.png'}")
    return report


def bend(y: np.ndarray) -> float:
    """The largest distance of a way from the straight line between its start and 0, in shares of that line."""
    ray = y[0] / np.linalg.norm(y[0])
    return float(np.abs(y[:, 0] * ray[1] - y[:, 1] * ray[0]).max() / np.linalg.norm(y[0]))


if __name__ == "__main__":
    typer.run(main)
