"""What it costs to stream every step to a file: the three runs of the geyser experiment, with and without.

Each run is made with `save="all"`, in memory and with `out`, in alternation; what is counted is the processor time of
the process, all threads together, as the machine may be busy, and the median over the repeats is taken. Both make the
same frames with the same diagnostics, so the difference is that of the file: rows, checksums and two flushes a frame,
files that grow, checkpoints, and the packing at the end. Bytes are those of the finished file.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import typer

import wflow as wf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from geyser import standardised


def main(
    particles: int = 20_000,
    cells: int = 128,
    t_end: float = 4.0,
    dt: float = 0.01,
    repeats: int = 3,
    out: str = "data/benchmark_streaming.csv",
) -> list[dict[str, str]]:
    """Print seconds with and without a file for each run, write them to `out`, return the rows."""
    F = wf.FDivergence("reverse-kl", wf.KernelDensity(standardised(), bandwidth="scott"))
    start = wf.Gaussian([1.5, -1.5], 0.4)
    cloud = wf.Particles(start.sample(particles, rng=0))
    runs = {
        "grid": (wf.Density(wf.Grid([-4.0, -4.5], [4.5, 4.0], cells), start), {}),
        "particles, ODE": (cloud, {"estimator": 0.12}),
        "particles, Langevin": (cloud, {"stepper": wf.steppers.Langevin(), "dt": dt, "estimator": 0.12}),
    }
    rows = []
    for name, (state, extra) in runs.items():
        wf.run(F, state, t_end=2 * dt, save="all", **extra)
        plain, streamed = [], []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.h5"
            for _ in range(repeats):
                for seconds, where in ((plain, None), (streamed, path)):
                    begin = time.process_time()
                    result = wf.run(F, state, t_end=t_end, save="all", out=where, **extra)
                    seconds.append(time.process_time() - begin)
            size = path.stat().st_size
        a, b = float(np.median(plain)), float(np.median(streamed))
        rows.append(
            {
                "run": name,
                "frames": str(len(result.times)),
                "megabytes": f"{size / 1e6:.1f}",
                "seconds in memory": f"{a:.2f}",
                "seconds with a file": f"{b:.2f}",
                "milliseconds a frame": f"{1e3 * (b - a) / len(result.times):.2f}",
                "share": f"{b / a - 1:.3f}",
            }
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if out:
        with Path(out).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return rows


if __name__ == "__main__":
    typer.run(main)
