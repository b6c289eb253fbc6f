"""W2 between two clouds of as many particles: by an auction over a tree, beside POT's network simplex and SciPy.

Clouds of n draws: two of one standard normal density, in the plane and in space, two with tails as heavy as Cauchy's,
and one of two peaks against a normal one, where most of the mass moves far. The peers are given the matrix of costs,
whose making is counted; they are exact, so `excess` is the relative error of the auction. Times are of the processor:
the median of a few runs of the auction, and of one run of the peers beyond 2000. `gigabytes` is the matrix.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import ot
import typer
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from tables import write_table

from wflow.linalg.assignment import assignment

TABLE = Path(__file__).resolve().parent.parent.parent / "data" / "benchmark_pairing.csv"
COLUMNS = ("clouds", "solver", "n", "processor", "ratio", "W2", "excess", "gigabytes")
SIZES = (1000, 4000, 10_000, 20_000)
MOST = {"POT": 10_000, "SciPy": 4000}  # particles for the peers


def main(largest: int = 20_000, repeat: int = 3, out: Path = TABLE) -> list[dict[str, Any]]:
    """Run all, print the table and write it."""
    assignment(*np.random.default_rng(0).random((2, 20, 2)))
    rows = [row for n in SIZES if n <= largest for name, x, y in clouds(n) for row in solved(name, x, y, repeat)]
    for row in rows:
        print(*(f"{row.get(name, '')!s:>18}" for name in COLUMNS))
    write_table(rows, out, COLUMNS)
    return rows


def clouds(n: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Pairs of clouds with their names."""
    rng = np.random.default_rng(n)
    side = np.where(rng.random((n, 1)) < 0.5, -2.0, 2.0)
    return [
        ("normal, 2-D", *rng.standard_normal((2, n, 2))),
        ("normal, 3-D", *rng.standard_normal((2, n, 3))),
        ("Cauchy, 2-D", *rng.standard_cauchy((2, n, 2))),
        ("two peaks, 2-D", side + 0.3 * rng.standard_normal((n, 2)), rng.standard_normal((n, 2))),
    ]


def solved(name: str, x: np.ndarray, y: np.ndarray, repeat: int) -> list[dict[str, Any]]:
    """A row for each solver."""
    n, equal = len(x), np.full(len(x), 1.0 / len(x))
    solvers: dict[str, Callable[[], Any]] = {"wflow": lambda: assignment(x, y)[1] ** 2}
    if n <= MOST["POT"]:
        solvers["POT"] = lambda: ot.emd2(equal, equal, cdist(x, y, "sqeuclidean"), numItermax=10**8)
    if n <= MOST["SciPy"]:
        solvers["SciPy"] = lambda: lapjv(cdist(x, y, "sqeuclidean"))
    found = {}
    for solver, solve in solvers.items():
        times = []
        for _ in range(repeat if solver == "wflow" or n <= 2000 else 1):
            clock = time.process_time()
            squared = float(solve())
            times.append(time.process_time() - clock)
        found[solver] = median(times), squared
    exact = found.get("POT", (0.0, np.nan))[1]
    return [
        {
            "clouds": name,
            "solver": solver,
            "n": n,
            "processor": f"{seconds:.3f}",
            "ratio": f"{seconds / found['wflow'][0]:.1f}",
            "W2": f"{np.sqrt(squared):.6f}",
            "excess": f"{np.sqrt(squared / exact) - 1.0:.1e}" if solver == "wflow" and "POT" in found else "",
            "gigabytes": "" if solver == "wflow" else f"{8e-9 * n * n:.2f}",
        }
        for solver, (seconds, squared) in found.items()
    ]


def lapjv(costs: np.ndarray) -> float:
    """Mean cost of the best assignment."""
    return float(costs[linear_sum_assignment(costs)].mean())


if __name__ == "__main__":
    typer.run(main)
