"""The particle mesh against exact sums: the table `data/mesh_accuracy.csv`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer
from tables import write_table

from wflow.estimators import Box, direct_log_density, mesh_error, mesh_estimate

TABLE = Path(__file__).resolve().parent.parent.parent / "data" / "mesh_accuracy.csv"
COLUMNS = ("cloud", "d", "order", "ratio", "density", "score", "expected")
ORDERS, RATIOS = (4, 6), (1.5, 2.0, 3.0, 4.0, 6.0)


def main(n: int = 1500, seed: int = 0, out: Path = TABLE) -> list[dict[str, object]]:
    """Largest relative error of the density, and rms error of the score times the bandwidth, at the particles.

    n particles in 1 to 3 dimensions: standard normal (bandwidth 0.35); exp of 0.8 times a normal (0.3), skewed, with
    lonely particles; half of them in lumps of width 0.02 on a lattice of whole numbers, the others in one lump
    (0.05); squares of uniforms between walls (0.07). `ratio` is bandwidth over mesh spacing; `expected` is
    `mesh_error`, by which a mesh is chosen from a requested accuracy. The reference is the exact sum over pairs.
    """
    rows = []
    for d in (1, 2, 3):
        for name, x, bandwidth, box in clouds(n, d, seed):
            logs, score = direct_log_density(x, x, None, bandwidth, box)
            for order in ORDERS:
                for ratio in RATIOS:
                    density, gradient = mesh_estimate(x, None, bandwidth, box, order, ratio)
                    off = (gradient / density[:, None] - score) * bandwidth
                    rows.append(
                        {
                            "cloud": name,
                            "d": d,
                            "order": order,
                            "ratio": ratio,
                            "density": f"{np.abs(density / np.exp(logs) - 1.0).max():.1e}",
                            "score": f"{np.sqrt(np.mean(np.sum(off**2, axis=1))):.1e}",
                            "expected": f"{mesh_error(order, ratio, d):.1e}",
                        }
                    )
                    print(*rows[-1].values())
    write_table(rows, out, COLUMNS)
    return rows


def clouds(n: int, d: int, seed: int) -> Iterator[tuple[str, np.ndarray, float, Box | None]]:
    """Name, positions, bandwidth and box of the clouds of the table."""
    rng = np.random.default_rng(seed)
    yield "normal", rng.standard_normal((n, d)), 0.35, None
    yield "skewed", np.exp(0.8 * rng.standard_normal((n, d))), 0.3, None
    lumps = 0.02 * rng.standard_normal((n, d))
    lumps[::2] += rng.integers(-1, 2, (len(lumps[::2]), d))
    yield "clustered", lumps, 0.05, None
    yield "walls", rng.random((n, d)) ** 2, 0.07, Box(np.zeros(d), np.ones(d), ("no-flux",) * d)


if __name__ == "__main__":
    typer.run(main)
