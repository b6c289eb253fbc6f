"""Gradient descent and Newton's method on one small problem, against closed forms and printed tables."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from matplotlib.figure import Figure

import wflow as wf

START = (3.0, 3.0)
OBJECTIVE = wf.Potential("x**2 + y**4")
LOSS = wf.Potential("x**2 + y**2")
MAP = (wf.Potential("x"), wf.Potential("y**2"))
COLORS = ("#1F77B4", "#FF7F0E")
METHODS = {
    "gradient descent": (0.01, wf.metrics.Euclidean()),
    "Newton": (1.0 / 3.0, wf.metrics.Newton()),
}


def main(steps: int = 10, out: Path = Path("results/optimizers")) -> dict[str, Any]:
    """Minimise L(y(x)) with y(x) = (x0, x1²) and L(y) = |y|², from (3, 3).

    In x the objective is f = x0² + x1⁴, badly scaled at the start: ∇f = (6, 108), while the minimum is 3 away on
    both axes. Both methods are explicit Euler on a Point, in two metrics:

    gradient descent, η = 1/100: x ← x - η ∇f. Here x0 = 3 (1 - 2η)^k; x1 ← x1 - 4 η x1³ has no closed form.

    Newton, η = 1/3: x ← x - η H⁻¹ ∇f with H = diag(2, 12 x1²). Here x0 = 3 (1 - η)^k and x1 = 3 (1 - η/3)^k: slow in
    x1, where the minimum is degenerate.

    The first steps have nearly equal length; how far each points to the minimum at (0, 0) is its component along the
    diagonal, at most √2: 114/|(6, 108)| = 1.0539 and 4/√10 = 1.2649. Source of the problem and its tables: Holl &
    Thuerey, Physics-based Deep Learning, "Scale-invariance and inversion" (the third method of that chapter, the
    inverse simulator, belongs in this picture as well and is not in it yet).
    """
    out.mkdir(parents=True, exist_ok=True)
    report = {"derivatives": derivatives()}
    for name, value in report["derivatives"].items():
        print(f"{name:>12} {np.asarray(value).tolist()}")
    results = {}
    for name, (rate, metric) in METHODS.items():
        with stage(name):
            path = out / f"{name.replace(' ', '_')}.h5"
            results[name] = wf.run(
                OBJECTIVE, wf.Point(START), steps=steps, dt=rate, metric=metric, save="all", out=path
            )
        report[name] = summary(name, results[name])
        print_table(name, report[name])
    draw(results, out)
    print(f"pictures and files: {out}")
    return report


def derivatives() -> dict[str, Any]:
    """y, L, ∂L/∂y, the Jacobian ∂y/∂x, J⁻¹ (J x) and ∇ₓL at the start, all differentiated from the expressions."""
    x = np.array([START])
    y = np.array([[part.field.value(x)[0] for part in MAP]])
    jacobian = np.array([part.field.gradient(x)[0] for part in MAP])
    slope = LOSS.field.gradient(y)[0]
    return {
        "y": y[0],
        "L": float(LOSS.field.value(y)[0]),
        "dL/dy": slope,
        "dy/dx": jacobian,
        "J^-1 (J x)": np.linalg.solve(jacobian, jacobian @ x[0]),
        "dL/dx": jacobian.T @ slope,
        "f'": OBJECTIVE.field.gradient(x)[0],
    }


def summary(name: str, result: wf.Result) -> dict[str, Any]:
    """Iterates, error against the closed form, distance to the minimum and the first step along the diagonal."""
    rate = METHODS[name][0]
    x = np.array([state.x for state in result.states])
    closed = closed_form(name, rate, len(x) - 1)
    first = x[0] - x[1]
    return {
        "iterates": x[1:],
        "error": float(np.max(np.abs(x - closed))),
        "distance": float(np.hypot(*x[-1])),
        "first_step": float(np.hypot(*first)),
        "diagonal": float(first.sum() / np.hypot(*first)),
    }


def closed_form(name: str, rate: float, steps: int) -> np.ndarray:
    """The iterates (steps + 1, 2) by formula; gradient descent in x1 by its scalar recursion."""
    k = np.arange(steps + 1)
    if name == "Newton":
        return np.stack([START[0] * (1 - rate) ** k, START[1] * (1 - rate / 3) ** k], axis=1)
    second = [START[1]]
    for _ in range(steps):
        second.append(second[-1] - 4 * rate * second[-1] ** 3)
    return np.stack([START[0] * (1 - 2 * rate) ** k, second], axis=1)


def print_table(name: str, numbers: dict[str, Any]) -> None:
    """The iterates row by row, then the summary."""
    print(f"\n{name}: step, x0, x1")
    for k, (x0, x1) in enumerate(numbers["iterates"], start=1):
        print(f"{k:4d} {x0:12.8f} {x1:12.8f}")
    print(f"distance to the minimum {numbers['distance']:.6f}; largest error {numbers['error']:.1e}")
    print(f"first step: length {numbers['first_step']:.7f}, along the diagonal {numbers['diagonal']:.6f}\n")


def draw(results: dict[str, wf.Result], out: Path) -> None:
    """The iterates as dots, first those of gradient descent, then both; and both ways over the objective."""
    for count, file in ((1, "gradient_descent.png"), (2, "both.png")):
        figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
        ax = figure.subplots()
        for (name, result), color in zip(list(results.items())[:count], COLORS, strict=False):
            x = np.array([state.x for state in result.states])
            ax.scatter(x[:, 0], x[:, 1], s=22, color=color, label=name)
        ax.plot(0.0, 0.0, "kx", markersize=9, markeredgewidth=2, label="minimum")
        ax.set(xlim=(-0.2, 3.2), ylim=(-0.2, 3.2), aspect="equal", xlabel="$x_0$", ylabel="$x_1$")
        ax.legend(loc="upper left", frameon=False)
        figure.savefig(out / file)
    bounds = ((-0.5, 3.5), (-0.5, 3.5))
    wf.plot.trajectories(list(results.values()), OBJECTIVE, list(results), out / "paths.png", bounds)


if __name__ == "__main__":
    typer.run(main)
