"""Twelve optimizers on one small problem: gradient descent, Newton, the inverse simulator, Adam and kin."""

from pathlib import Path
from typing import Any

import numpy as np
import typer
from common import stage
from matplotlib.figure import Figure
from scipy.optimize import minimize

import wflow as wf

START = (3.0, 3.0)
LOSS = wf.Potential("x**2 + y**2")
MAP = (wf.Potential("x"), wf.Potential("y**2"))
OBJECTIVE = wf.Potential("x**2 + y**2", inner=["x", "y**2"])
COLORS = ("#1F77B4", "#FF7F0E", "#D62728")
ARC = np.linspace(0.0, 2.0 * np.pi, 200)
OTHERS = ("natural gradient", "momentum", "Nesterov", "Adam", "AdaGrad", "RMSProp")


def scipy_inverse(y: np.ndarray, near: np.ndarray) -> np.ndarray:
    """y⁻¹ by L-BFGS-B with its default tolerances and gradients by differences."""
    return minimize(lambda x: np.sum((images(x[None])[0] - y) ** 2), near, method="L-BFGS-B").x


def images(x: np.ndarray) -> np.ndarray:
    """y at positions (n, 2): (n, 2), by the map that the objective keeps."""
    return OBJECTIVE.image(x)


def pulled_back(x: np.ndarray) -> np.ndarray:
    """Jᵀ H_L J, the metric of y-space in x."""
    return 2.0 * np.diag([1.0, 4.0 * x[1] ** 2])


FIELDS = tuple(part.field for part in MAP)
CHART = wf.metrics.Chart(FIELDS, lambda y, near: np.array([y[0], np.copysign(np.sqrt(y[1]), near[1])]))
MAIN = ("gradient descent", "Newton", "inverse simulator")
# Learning rate, and the metric or the stepper.
METHODS: dict[str, tuple[float, dict[str, Any]]] = {
    "gradient descent": (0.01, {}),
    "Newton": (1.0 / 3.0, {"metric": wf.metrics.Newton()}),
    "inverse simulator": (0.3, {"metric": CHART}),
    "numerical inverse": (0.3, {"metric": wf.metrics.Chart(FIELDS, scipy_inverse)}),
    "natural gradient": (0.3, {"metric": wf.metrics.Natural(fisher=pulled_back)}),
    "momentum": (0.01, {"stepper": wf.steppers.Momentum()}),
    "Nesterov": (0.01, {"stepper": wf.steppers.Nesterov()}),
    "Adam": (0.3, {"stepper": wf.steppers.Adam()}),
    "AdaGrad": (0.75, {"stepper": wf.steppers.AdaGrad()}),
    "RMSProp": (0.075, {"stepper": wf.steppers.RMSProp()}),
    "signs": (0.3, {"metric": wf.metrics.Norm(np.inf)}),
    "unit steps": (0.3, {"stepper": wf.steppers.NormalizedGradient()}),
}


def main(steps: int = 10, out: Path = Path("results/optimizers")) -> dict[str, Any]:
    """Minimise L(y(x)) with y(x) = (x0, x1²) and L(y) = |y|², from (3, 3).

    In x the objective is f = x0² + x1⁴, badly scaled at the start: ∇f = (6, 108), while the minimum is 3 away on
    both axes. The first three are explicit Euler on a Point, in three metrics:

    gradient descent, η = 1/100: x ← x - η ∇f. Here x0 = 3 (1 - 2η)^k; x1 ← x1 - 4 η x1³ has no closed form.

    Newton, η = 1/3: x ← x - η H⁻¹ ∇f with H = diag(2, 12 x1²). Here x0 = 3 (1 - η)^k and x1 = 3 (1 - η/3)^k: slow in
    x1, where the minimum is degenerate.

    inverse simulator, η = 0.3: y ← y - η H_L⁻¹ ∇L, x ← y⁻¹(y). Here y = (1 - η)^k (3, 9), a straight line in y-space;
    x0 = 3 (1 - η)^k and x1 = 3 (1 - η)^(k/2). With y⁻¹ by a default L-BFGS-B the error is 1e-6: where that stops.

    The natural gradient in the metric Jᵀ H_L J is the same flow, in steps straight in x. The others are PyTorch's
    optimizers, the signs of the gradient, and steps of one length.

    The first steps have nearly equal length; how far each points to the minimum at (0, 0) is its component along the
    diagonal, at most √2: 114/|(6, 108)| = 1.0539, 4/√10 = 1.2649 and 1.3564. Source of the problem and its tables:
    Holl & Thuerey, Physics-based Deep Learning, "Scale-invariance and inversion".
    """
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"derivatives": derivatives()}
    for name, value in report["derivatives"].items():
        print(f"{name:>12} {np.asarray(value).tolist()}")
    results = {}
    for name, (rate, how) in METHODS.items():
        with stage(name):
            path = out / f"{name.replace(' ', '_')}.h5"
            results[name] = wf.run(OBJECTIVE, wf.Point(START), steps=steps, dt=rate, save="all", out=path, **how)
        report[name] = summary(name, results[name])
        print_table(name, report[name])
    report["mean_absolute_error"] = mean_error(results)
    print(f"numerical against analytic inverse: mean absolute error {report['mean_absolute_error']:.2e}")
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


def positions(result: wf.Result) -> np.ndarray:
    """The iterates (steps + 1, 2), the start included."""
    return np.array([state.x for state in result.states])


def mean_error(results: dict[str, wf.Result]) -> float:
    """Of the iterates with the numerical inverse, the start included, against those with the analytic one."""
    return float(np.mean(np.abs(positions(results["numerical inverse"]) - positions(results["inverse simulator"]))))


def summary(name: str, result: wf.Result) -> dict[str, Any]:
    """Iterates, error against the closed form where there is one, distance to the minimum, first step."""
    x = positions(result)
    closed = closed_form(name, METHODS[name][0], len(x) - 1)
    first = x[0] - x[1]
    return {
        "iterates": x[1:],
        "in_y": images(x)[1:],
        "error": np.nan if closed is None else float(np.max(np.abs(x - closed))),
        "distance": float(np.hypot(*x[-1])),
        "first_step": float(np.hypot(*first)),
        "diagonal": float(first.sum() / np.hypot(*first)),
    }


def closed_form(name: str, rate: float, steps: int) -> np.ndarray | None:
    """The iterates (steps + 1, 2) by formula; gradient descent in x1 by its scalar recursion."""
    k = np.arange(steps + 1)
    if name == "Newton":
        return np.stack([START[0] * (1 - rate) ** k, START[1] * (1 - rate / 3) ** k], axis=1)
    if name in ("inverse simulator", "numerical inverse"):
        return np.stack([START[0] * (1 - rate) ** k, START[1] * (1 - rate) ** (k / 2)], axis=1)
    if name == "natural gradient":
        return np.stack([START[0] * (1 - rate) ** k, START[1] * (1 - rate / 2) ** k], axis=1)
    if name != "gradient descent":
        return None
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
    """Five pictures of dots: one, two and three methods in x; the third and all three in y; then the ways over the
    objective in x, and those of the others in y."""
    x = {name: positions(results[name]) for name in MAIN}
    y = {name: images(points) for name, points in x.items()}
    for count, file in ((1, "gradient_descent.png"), (2, "both.png"), (3, "three.png")):
        scatter({name: x[name] for name in MAIN[:count]}, out / file, "x", 3.2)
    scatter({MAIN[2]: y[MAIN[2]]}, out / "y_inverse_simulator.png", "y", 9.6)
    scatter(y, out / "y_three.png", "y", 9.6)
    lines({name: images(positions(results[name])) for name in OTHERS}, out / "y_others.png")
    first, others = (
        (*MAIN, "natural gradient", "signs"),
        ("momentum", "Nesterov", "Adam", "AdaGrad", "RMSProp", "unit steps"),
    )
    for names, low, file in ((first, -0.5, "paths.png"), (others, -3.5, "paths_others.png")):
        bounds = ((-0.5, 3.5), (low, 3.5))
        wf.plot.trajectories([results[name] for name in names], OBJECTIVE, names, out / file, bounds)


def lines(ways: dict[str, np.ndarray], path: Path) -> None:
    """Ways in y over the circles of L."""
    figure = Figure(figsize=(6, 6), dpi=100, layout="constrained")
    ax = figure.subplots()
    for radius in range(1, 12):
        ax.plot(*radius * np.array([np.cos(ARC), np.sin(ARC)]), color="#CCCCCC", linewidth=0.8)
    for (name, points), marker in zip(ways.items(), "osD^vPX", strict=False):
        ax.plot(*points.T, marker=marker, markersize=4, linewidth=1.4, label=name)
    ax.plot(0.0, 0.0, "k*", markersize=12, label="minimum")
    ax.set(xlim=(-0.6, 3.3), ylim=(-0.4, 9.6), xlabel="$y_0$", ylabel="$y_1$")
    ax.legend(loc="upper left", frameon=False)
    figure.savefig(path)


def scatter(ways: dict[str, np.ndarray], path: Path, letter: str, top: float) -> None:
    """Iterates as dots, 4 by 4 inches at 100 dots each."""
    figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
    ax = figure.subplots()
    for name, points in ways.items():
        ax.scatter(*points.T, s=22, color=COLORS[MAIN.index(name)], label=name)
    ax.plot(0.0, 0.0, "kx" if letter == "x" else "k*", markersize=9, markeredgewidth=2, label="minimum")
    low = -0.06 * top
    ax.set(xlim=(low, 3.2), ylim=(low, top), xlabel=f"${letter}_0$", ylabel=f"${letter}_1$")
    ax.legend(loc="upper left", frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
