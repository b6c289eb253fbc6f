"""Runs killed at random instants and gone on with, until they end: every file must be that of an uninterrupted run.

A child process runs one of four small flows with a checkpoint after every step and is killed by SIGKILL at an instant
drawn uniformly from the time that a whole run takes. After each kill the file must open with all that was committed
and no damage in it; then another child goes on with the file, and is killed in turn. In the end frames, diagnostics,
per-step series and what is said about the run are compared bit for bit with a run that nothing disturbed.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer

import wflow as wf
from wflow.loop import recorder
from wflow.store import verify

MIXTURE = wf.GaussianMixture([[-1.0], [1.5]], 0.5)
TARGET = wf.Gaussian(np.zeros(4), 1.0)
KL = wf.FDivergence("reverse-kl", MIXTURE)


def density(out: Path) -> wf.Result:
    """TR-BDF2 on a grid, adaptive, every step a frame, so that the file grows."""
    start = wf.Density(wf.Grid(-4, 4, 40), wf.Gaussian([0.3], 0.5))
    return wf.run(KL, start, t_end=0.7, tol=1e-4, save="all", out=out, resume=True)


def langevin(out: Path) -> wf.Result:
    """Noise, and a memory of it. In four dimensions, where no density is estimated: its kernels do not survive a
    fork."""
    cloud = wf.Particles(TARGET.sample(64, rng=1) + 2.0)
    F = wf.FDivergence("reverse-kl", TARGET)
    return wf.run(F, cloud, steps=200, dt=0.01, save=51, stepper=wf.steppers.Langevin(), out=out, resume=True)


def gaussian(out: Path) -> wf.Result:
    """Coordinates that are not in the frames."""
    return wf.run(KL, wf.Gaussian([2.0], 0.4), t_end=4.0, tol=1e-7, save=40, out=out, resume=True)


def optimizer(out: Path) -> wf.Result:
    """Adam, whose memory is all."""
    well = wf.Potential("(x**2 - 1)**2/4 + x*y + y**2")
    return wf.run(
        well, wf.Point([1.7, 1.0]), steps=300, dt=0.02, save=60, stepper=wf.steppers.Adam(), out=out, resume=True
    )


FLOWS: dict[str, Callable[[Path], wf.Result]] = {f.__name__: f for f in (density, langevin, gaussian, optimizer)}


def child(name: str, out: Path) -> None:
    """Run a flow, or go on with it, with a checkpoint after every step."""
    recorder.PERIOD = recorder.SPARSE = 0.0
    FLOWS[name](out)


def main(kills: int = 100, flows: str = "density,langevin,gaussian,optimizer", seed: int = 0) -> dict[str, int]:
    """Kill so many times, shared out over the flows; print and return what was counted."""
    # Forked from a process that has compiled everything, so that a kill falls into the run and not into its beginning.
    context = multiprocessing.get_context("fork")
    counts = {"kills": 0, "before the first frame": 0, "while frames came": 0, "runs": 0, "damaged": 0, "unequal": 0}
    draw, names = np.random.default_rng(seed), flows.split(",")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for k, name in enumerate(names):
            FLOWS[name](place / f"{name} whole.h5")
            begin = time.perf_counter()
            launch(context, name, place / f"{name} timed.h5").join()
            whole, goal = time.perf_counter() - begin, kills * (k + 1) // len(names)
            while counts["kills"] < goal:
                counts["runs"] += 1
                chain(lambda out, name=name: launch(context, name, out), name, place, whole, draw, counts, goal)
    print("  ".join(f"{key} {value}" for key, value in counts.items()))
    return counts


def launch(context: Any, name: str, out: Path) -> Any:
    """A child at work."""
    process = context.Process(target=child, args=(name, out))
    process.start()
    return process


def chain(
    start: Callable[[Path], Any],
    name: str,
    place: Path,
    whole: float,
    draw: np.random.Generator,
    counts: dict[str, int],
    goal: int,
) -> None:
    """One run from its start to its end, killed again and again until the goal is reached or it ends by itself."""
    out = place / f"{name}.h5"
    out.unlink(missing_ok=True)
    while counts["kills"] < goal:
        process = start(out)
        process.join(draw.uniform(0.0, whole))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        counts["kills"] += 1
        if out.exists():
            found = wf.load(out)
            counts["while frames came"] += found.status is wf.Status.RUNNING and len(found.times) > 0
            counts["damaged"] += bool(verify(out))
        counts["before the first frame"] += not out.exists() or not len(found.times)
    FLOWS[name](out)
    one, other = wf.load(out), wf.load(place / f"{name} whole.h5")
    for result in (one, other):
        result.info.pop("created")
    counts["unequal"] += one != other or bool(verify(out))


if __name__ == "__main__":
    typer.run(main)
