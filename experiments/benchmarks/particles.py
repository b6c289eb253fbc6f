"""Kernel density estimates beside finufft, scikit-learn and KDEpy, and the blob method beside dense sums.

KDE: density and score at the particles of a 2-D standard normal, bandwidth σ = n^(-1/8). Errors against the exact sum
at 2000 of the particles: largest relative one of the density, rms one of the score times σ.

BLOB: ∂q/∂t = Δq⁵ in the plane from Barenblatt's solution at t = 0.15 to 0.30, on the cells of a square lattice of
spacing h that its disc holds (about 13 849 particles, each with the mass of its cell), mollified with σ = h^0.95 as
in Carrillo, Craig & Patacchini (2019), section 6. The error is a bound on W2 to the exact solution at the end: the
rms distance of the particles from where the exact flow takes them, plus that of a lattice to what it stands for, λ
h/√6 with λ the growth of the radius. To stand still errs 0.038. The peer is the same energy by dense sums in NumPy,
timed on one velocity and multiplied by sixteen, one for each step of the published code.

Solvers run in alternation, warm. Times are medians of the wall clock and of the processor, which other work on the
machine disturbs less; `ratio` is of the latter. Waiting threads count as work, so compare with one thread for all:
NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1. A row whose peer is not installed says so and is skipped.
"""

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import typer
from tables import write_table

import wflow as wf
from wflow.estimators import Kernel, direct_log_density
from wflow.exact import barenblatt, barenblatt_radius

TABLE = Path(__file__).resolve().parent.parent.parent / "data" / "particles.csv"
COLUMNS = ("problem", "solver", "n", "wall", "processor", "ratio", "density", "score")
M, START, END, ACROSS = 5.0, 0.15, 0.3, 132.9


def main(largest: int = 10_000_000, repeat: int = 5, out: Path = TABLE) -> list[dict[str, Any]]:
    """Run both problems, print the table and write it."""
    rows = [row for n in (100_000, 1_000_000, largest) if n <= largest for row in kde(n, repeat)] + blob(repeat)
    for row in rows:
        print(*(f"{row.get(name, '')!s:>14}" for name in COLUMNS))
    write_table(rows, out, COLUMNS)
    return rows


def module(name: str) -> Any:
    """A peer, or None with a word about it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: its row is skipped")
        return None


def timed(solvers: dict[str, Callable[[], Any]], repeat: int) -> dict[str, tuple[float, float, Any]]:
    """Median wall and processor seconds of each solver, in alternation, and its last answer."""
    answers = {name: solver() for name, solver in solvers.items()}
    walls: dict[str, list[float]] = {name: [] for name in solvers}
    works: dict[str, list[float]] = {name: [] for name in solvers}
    for _ in range(repeat):
        for name, solver in solvers.items():
            wall, work = time.perf_counter(), time.process_time()
            answers[name] = solver()
            walls[name].append(time.perf_counter() - wall)
            works[name].append(time.process_time() - work)
    return {name: (median(walls[name]), median(works[name]), answers[name]) for name in solvers}


def table(problem: str, n: int, found: dict[str, tuple[float, float, Any]], errors: Any) -> list[dict[str, Any]]:
    """Rows with processor times over that of wflow."""
    own = next(iter(found.values()))[1]
    return [
        {
            "problem": problem,
            "solver": name,
            "n": n,
            "wall": f"{wall:.4f}",
            "processor": f"{work:.4f}",
            "ratio": f"{work / own:.1f}",
            **errors(answer),
        }
        for name, (wall, work, answer) in found.items()
    ]


def kde(n: int, repeat: int) -> list[dict[str, Any]]:
    """Density and score at n particles by wflow and finufft; densities alone by the other two."""
    x = np.random.default_rng(0).standard_normal((n, 2))
    width = n ** (-1 / 8)
    some = np.random.default_rng(1).permutation(n)[:2000]
    logs, score = direct_log_density(x[some], x, None, width)
    kernel = Kernel(width)

    def errors(answer: Any) -> dict[str, str]:
        density, slopes = answer
        off = {} if slopes is None else {"score": f"{rms((slopes[some] - score) * width):.1e}"}
        return off if density is None else {"density": f"{np.abs(density[some] / np.exp(logs) - 1).max():.1e}", **off}

    def own() -> Any:
        estimate = kernel(x)
        return estimate.density, estimate.score

    solvers: dict[str, Callable[[], Any]] = {"wflow": own}
    if n <= 1_000_000 and (finufft := module("finufft")):
        solvers["finufft"] = gauss_transform(finufft, x, width)
    if n <= 1_000_000 and (kdepy := module("KDEpy")):
        # On a grid of 256², by linear binning: no values at the particles, so no error of them.
        solvers["KDEpy, 256² grid only"] = lambda: (kdepy.FFTKDE(bw=width).fit(x).evaluate((256, 256)) and None, None)
    rows = table("KDE", n, timed(solvers, repeat), errors)
    if n == 100_000 and (neighbors := module("sklearn.neighbors")):
        # A thousand particles of them, by the same tree: the rest costs as much each.
        tree = neighbors.KernelDensity(bandwidth=width, rtol=1e-4).fit(x)
        clock = time.process_time()
        tree.score_samples(x[some[:1000]])
        work = (time.process_time() - clock) * n / 1000
        ratio = f"{work / float(rows[0]['processor']):.0f}"
        rows.append(
            {
                "problem": "KDE",
                "solver": "scikit-learn, density only",
                "n": n,
                "processor": f"{work:.1f}",
                "ratio": ratio,
            }
        )
    return rows


def rms(rows: np.ndarray) -> float:
    """Root of the mean squared length."""
    return float(np.sqrt(np.mean(np.sum(rows**2, axis=1))))


def gauss_transform(finufft: Any, x: np.ndarray, width: float, tolerance: float = 1e-4) -> Callable[[], Any]:
    """A fast Gauss transform: one transform of type 1 and two of type 2, density and one slope packed in a complex
    one.

    The period leaves 8 bandwidths between images, and modes reach to where the Gaussian is 2e-5.
    """
    n = len(x)
    low, high = x.min(axis=0), x.max(axis=0)
    period = (high - low).max() + 8.0 * width
    modes = 2 * int(np.ceil(4.65 * period / (2.0 * np.pi * width)))
    wave = 2.0 * np.pi / period * (np.arange(modes) - modes // 2)
    damping = np.exp(-0.5 * (width * wave) ** 2)
    both = damping[:, None] * damping / (n * period**2)

    def solve() -> Any:
        a, b = (np.ascontiguousarray((x[:, k] - 0.5 * (low[k] + high[k])) * (2.0 * np.pi / period)) for k in (0, 1))
        ones = np.ones(n, dtype=np.complex128)
        found = finufft.nufft2d1(a, b, ones, (modes, modes), eps=tolerance, isign=-1) * both
        # Both fields are real, so their transforms can be told apart: value + i slope.
        first = finufft.nufft2d2(a, b, found * (1.0 + 1j * (1j * wave[:, None])), eps=tolerance, isign=1)
        second = finufft.nufft2d2(a, b, found * (1j * wave), eps=tolerance, isign=1)
        density = first.real
        return density, np.stack([first.imag, second.real], axis=1) / density[:, None]

    return solve


def blob(repeat: int) -> list[dict[str, Any]]:
    """The default stepper, and one, two and sixteen steps of RKL2, beside sixteen dense velocities."""
    radius = barenblatt_radius(START, M, 2)
    h = 2.0 * radius / ACROSS
    axis = h * (np.arange(-80, 80) + 0.5)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    x = x[np.sum(x**2, axis=1) < radius**2]
    start = wf.Particles(x, barenblatt(x, START, M))
    width, growth = h**0.95, barenblatt_radius(END, M, 2) / radius
    F = wf.Blob(wf.PowerEntropy(M), width)

    def run(**options: Any) -> Callable[[], Any]:
        return lambda: wf.run(F, start, t_end=END - START, save="ends", **options).final.positions

    def errors(final: Any) -> dict[str, str]:
        if final is None:
            return {}
        moved = np.sqrt(start.weights @ np.sum((final - growth * x) ** 2, axis=1))
        return {"density": f"W2 {moved + growth * h / np.sqrt(6.0):.2e}"}

    fixed = {f"wflow, {steps} steps": run(stepper=wf.steppers.RKL2(), dt=(END - START) / steps) for steps in (1, 2, 16)}
    found = timed({"wflow": run(), **fixed}, repeat)
    wall, work = time.perf_counter(), time.process_time()
    dense_velocity(start.positions, start.weights, width)
    found["dense, 16 velocities"] = 16 * (time.perf_counter() - wall), 16 * (time.process_time() - work), None
    return table("BLOB", len(x), found, errors)


def dense_velocity(x: np.ndarray, weights: np.ndarray, width: float, block: int = 500) -> np.ndarray:
    """The velocity of the blob energy over all pairs, in rows of bounded memory."""
    starts = range(0, len(x), block)

    def kernel(i: int) -> tuple[np.ndarray, np.ndarray]:
        between = x[i : i + block, None] - x
        return np.exp(np.sum(between**2, axis=2) / (-2.0 * width**2)) / (2.0 * np.pi * width**2), between

    density = np.concatenate([kernel(i)[0] @ weights for i in starts])
    slope = density ** (M - 2.0)
    parts = []
    for i in starts:
        k, between = kernel(i)
        both = (slope[i : i + block, None] + slope) * weights * k
        parts.append(np.einsum("ij,ijk->ik", both, between) / width**2)
    return np.concatenate(parts)


if __name__ == "__main__":
    typer.run(main)
