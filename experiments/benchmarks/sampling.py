"""Langevin particles beside NumPy, torchsde and diffrax, and a million paths of 252 steps.

LANGEVIN: dx = -∇V dt + √2 dW with V = (x² - 1)² + 2y², 10⁶ particles, float64 but for diffrax (float32, its default).
wflow is timed as a user sees it, by `wf.run`. The time of a step is that of a long run less that of a short one, over
the steps between, so that neither compilation nor the energies of the two frames count. PATHS: dx = -x dt + √2 dW in
one dimension, 10⁶ paths over t = 1 in 252 steps, everything counted; `memory` is by how much the process has grown.

Solvers run in alternation, warm; the table holds medians of the wall time and of the processor time of all threads,
which other work on the machine disturbs less; `ratio` is of the latter.
Every peer is used as its authors do: NumPy in place with its own generator and products, torchsde's `sdeint` with
"euler", diffrax's `Euler` over the unsafe Brownian path, its fast one for fixed steps, vmapped. The variance of y at
the end stands beside each: all must solve the same equation. A peer that is not installed is left out, and the program
says so.
"""

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import typer
from tables import write_table

import wflow as wf

V = "(x**2 - 1)**2 + 2*y**2"
Solver = Callable[[int], np.ndarray]


def wflow_solver(stepper: Any) -> Callable[[int, float], Solver]:
    """A whole `wf.run`."""

    def make(particles: int, dt: float) -> Solver:
        F, start = wf.Entropy() + wf.Potential(V), wf.Particles(np.tile([1.0, 0.0], (particles, 1)))

        def solve(steps: int) -> np.ndarray:
            result = wf.run(F, start, dt=dt, steps=steps, stepper=stepper, save="ends", progress=False)
            return np.asarray(result.final.positions)

        return solve

    return make


def numpy_solver(particles: int, dt: float) -> Solver:
    """Euler–Maruyama in place."""

    def solve(steps: int) -> np.ndarray:
        rng, scale = np.random.default_rng(0), np.sqrt(2.0 * dt)
        x, y = np.ones(particles), np.zeros(particles)
        noise, slope = np.empty(particles), np.empty(particles)
        for _ in range(steps):
            np.multiply(x, x, out=slope)
            slope -= 1.0
            slope *= x
            slope *= -4.0 * dt
            x += slope
            y *= 1.0 - 4.0 * dt
            for axis in (x, y):
                rng.standard_normal(out=noise)
                noise *= scale
                axis += noise
        return np.stack([x, y], axis=1)

    return solve


def torchsde_solver(particles: int, dt: float) -> Solver:
    """`torchsde.sdeint`, float64."""
    import torch
    import torchsde

    class Equation(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Any, y: Any) -> Any:
            x = y[:, :1]
            return torch.cat([-4.0 * x * (x * x - 1.0), -4.0 * y[:, 1:]], dim=1)

        def g(self, t: Any, y: Any) -> Any:
            return torch.full_like(y, 2.0**0.5)

    def solve(steps: int) -> np.ndarray:
        start = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(particles, 1)
        ends = torch.tensor([0.0, steps * dt], dtype=torch.float64)
        with torch.no_grad():
            return np.asarray(torchsde.sdeint(Equation(), start, ends, method="euler", dt=dt)[-1])

    return solve


def diffrax_solver(particles: int, dt: float) -> Solver:
    """diffrax, vmapped over the particles, float32, its default."""
    import diffrax
    import jax
    import jax.numpy as jnp

    def drift(t: Any, y: Any, args: Any) -> Any:
        return jnp.array([-4.0 * y[0] * (y[0] * y[0] - 1.0), -4.0 * y[1]])

    def one(key: Any, end: Any) -> Any:
        path = diffrax.UnsafeBrownianPath(shape=(2,), key=key)
        noise = diffrax.ControlTerm(lambda t, y, args: 2.0**0.5 * jnp.eye(2), path)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), noise)
        start = jnp.array([1.0, 0.0])
        how = {"max_steps": None, "adjoint": diffrax.ForwardMode()}
        found = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, end, dt, start, **how)
        return found.ys[-1]

    many = jax.jit(jax.vmap(one, in_axes=(0, None)))
    return lambda steps: np.asarray(many(jax.random.split(jax.random.key(0), particles), steps * dt))


SOLVERS = {
    "wflow Leimkuhler–Matthews": wflow_solver(wf.steppers.Langevin()),
    "wflow Euler–Maruyama": wflow_solver(wf.steppers.Langevin("euler-maruyama")),
    "wflow underdamped": wflow_solver(wf.steppers.UnderdampedLangevin()),
    "wflow MALA": wflow_solver(wf.steppers.MALA(warmup=3)),
    "numpy": numpy_solver,
    "torchsde": torchsde_solver,
    "diffrax": diffrax_solver,
}


def main(
    particles: int = 1_000_000,
    steps: int = 100,
    paths: int = 1_000_000,
    repeats: int = 5,
    out: str = "data/benchmark_sampling.csv",
) -> dict[str, float]:
    """Print the table, write it to `out`, and return the nanoseconds of each solver and the seconds of PATHS."""
    rows = [*langevin(particles, steps, repeats), one_million_paths(paths, repeats)]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_table(rows, out, [*rows[0], "memory MB"])
    return {row["solver"]: float(row["wall"]) for row in rows}


def langevin(particles: int, steps: int, repeats: int, dt: float = 0.01) -> list[dict[str, Any]]:
    """Nanoseconds of a particle and step."""
    solvers: dict[str, Solver] = {}
    for name, make in SOLVERS.items():
        try:
            solvers[name] = make(particles, dt)
        except ImportError:
            print(f"{name} is not installed: its row is left out (pip install {name})")
    short = max(1, steps // 10)
    for solve in solvers.values():
        solve(short)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in solvers}
    variance = {}
    for _ in range(repeats):
        for name, solve in solvers.items():
            brief, (wall, processor, end) = timed(solve, short), timed(solve, steps)
            scale = 1e9 / particles / (steps - short)
            found[name].append(((wall - brief[0]) * scale, (processor - brief[1]) * scale))
            variance[name] = float(end[:, 1].var())
    first = median(processor for _, processor in found["wflow Leimkuhler–Matthews"])
    rows = []
    for name, times in found.items():
        wall, processor = (median(column) for column in zip(*times, strict=True))
        rows.append({
            "solver": name, "n": particles, "unit": "ns a particle and step", "wall": f"{wall:.2f}",
            "processor": f"{processor:.2f}", "ratio": f"{processor / first:.1f}",
            "variance of y": f"{variance[name]:.4f}",
        })  # fmt: skip
    return rows


def timed(solve: Solver, steps: int) -> tuple[float, float, np.ndarray]:
    """Wall seconds, processor seconds, and the answer."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = solve(steps)
    return time.perf_counter() - wall, time.process_time() - processor, answer


def one_million_paths(paths: int, repeats: int) -> dict[str, Any]:
    """Seconds of PATHS as a whole, and the memory it takes beyond the start."""
    F, start = wf.Entropy() + wf.Potential("x**2/2"), wf.Particles(np.zeros((paths, 1)))

    def solve(steps: int) -> np.ndarray:
        result = wf.run(
            F, start, dt=1.0 / 252, steps=steps, stepper=wf.steppers.Langevin(), save="ends", progress=False
        )
        return np.asarray(result.final.positions)

    solve(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [timed(solve, 252) for _ in range(repeats)]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    wall, processor = (median(time[k] for time in times) for k in (0, 1))
    return {
        "solver": "PATHS", "n": paths, "unit": "s for 252 steps", "wall": f"{wall:.2f}",
        "processor": f"{processor:.2f}", "ratio": "",
        "variance of y": f"{times[-1][2].var():.4f}", "memory MB": f"{grown:.0f}",
    }  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
