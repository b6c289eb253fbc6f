"""What it costs to stream every step to a file: the three runs of the geyser experiment.

Each run is made once with `save="all"` and `out`. Everything that concerns the file (opening it, rows, checksums,
counters, growing, checkpoints, packing at the end) goes through the methods of one class, whose processor time, all
threads together, is added up and held against the rest of the run. One run on a busy machine varies by a fifth from
the next, so that a difference of two runs would say nothing. Bytes are those of the finished file.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

import wflow as wf
from wflow.store import Writer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from geyser import standardised
from tables import write_table

METHODS = ("__init__", "frame", "step", "checkpoint", "leave", "close")


class Clock:
    """Processor time inside the methods of `Writer`, from the outermost call on."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.depth = 0

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, its time counted."""

        def call(*args: Any, **kwargs: Any) -> Any:
            begin, self.depth = time.process_time(), self.depth + 1
            try:
                return method(*args, **kwargs)
            finally:
                self.depth -= 1
                self.spent += (time.process_time() - begin) * (self.depth == 0)

        return call


def main(
    particles: int = 20_000,
    cells: int = 128,
    t_end: float = 4.0,
    dt: float = 0.01,
    out: str = "data/benchmark_streaming.csv",
) -> list[dict[str, str]]:
    """Print the seconds of each run and of its file, write them to `out`, return the rows."""
    F = wf.FDivergence("reverse-kl", wf.KernelDensity(standardised(), bandwidth="scott"))
    start = wf.Gaussian([1.5, -1.5], 0.4)
    cloud = wf.Particles(start.sample(particles, rng=0))
    runs = {
        "grid": (wf.Density(wf.Grid([-4.0, -4.5], [4.5, 4.0], cells), start), {}),
        "particles, ODE": (cloud, {"estimator": 0.12}),
        "particles, Langevin": (cloud, {"stepper": wf.steppers.Langevin(), "dt": dt, "estimator": 0.12}),
    }
    clock = Clock()
    for name in METHODS:
        setattr(Writer, name, clock.timed(getattr(Writer, name)))
    rows, total, files = [], 0.0, 0.0
    for name, (state, extra) in runs.items():
        wf.run(F, state, t_end=2 * dt, save="all", **extra)
        with tempfile.TemporaryDirectory() as folder:
            path, clock.spent, begin = Path(folder) / "run.h5", 0.0, time.process_time()
            result = wf.run(F, state, t_end=t_end, save="all", out=path, **extra)
            rest = time.process_time() - begin - clock.spent
            rows.append(row(name, len(result.times), path.stat().st_size, rest, clock.spent))
        total, files = total + rest, files + clock.spent
    rows.append(row("all three", 0, 0, total, files))
    write_table(rows, out)
    return rows


def row(name: str, frames: int, size: int, rest: float, spent: float) -> dict[str, str]:
    """A row of the table, printed."""
    found = {
        "run": name,
        "frames": str(frames or ""),
        "megabytes": f"{size / 1e6:.1f}" if size else "",
        "seconds without the file": f"{rest:.2f}",
        "seconds of the file": f"{spent:.2f}",
        "milliseconds a frame": f"{1e3 * spent / frames:.2f}" if frames else "",
        "share": f"{spent / rest:.3f}",
    }
    print("  ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    return found


if __name__ == "__main__":
    typer.run(main)
