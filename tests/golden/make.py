"""How the golden files were made: `PYTHONPATH=. python tests/golden/make.py FOLDER` where their schema is written.

A file is added for every schema and never made again: what it holds is stated in tests/test_golden.py.
"""

import sys
from pathlib import Path

import numpy as np

import wflow as wf
from wflow.loop import recorder


class Killed(BaseException):
    """The end of a process."""


def kill_at(time, state):
    """What leaves a file unfinished."""
    if time > 0.45 and ARMED:
        raise Killed
    return False


ARMED = [True]


def unfinished(out, **more):
    """A run of Adam from (1, 2), killed after five of ten steps."""
    F = wf.Potential("x**2 + y**2")
    return wf.run(F, wf.Point([1.0, 2.0]), steps=10, dt=0.1, stepper=wf.steppers.Adam(), stop=kill_at, out=out, **more)


def complete(folder):
    """One file of each kind of state."""
    line = wf.Density(wf.Grid(0.0, 1.0, 8, "periodic"), lambda x: 1.0 + 0.5 * np.sin(2.0 * np.pi * x[:, 0]))
    wf.run(wf.Entropy(), line, t_end=0.01, save=3, out=folder / "density.h5")
    cloud = wf.Particles([[0.0, 1.0], [2.0, 3.0]], weights=[1.0, 3.0])
    wf.run(
        wf.Potential("x**2/2 + y**2/2"),
        cloud,
        steps=2,
        dt=0.5,
        stepper=wf.steppers.ExplicitEuler(),
        out=folder / "particles.h5",
    )
    target = wf.FDivergence("reverse-kl", wf.Gaussian([0.0], 1.0))
    wf.run(target, wf.Gaussian([1.0], 4.0), t_end=1.0, tol=1e-9, save=2, out=folder / "gaussian.h5")


def main(folder):
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    complete(folder)
    recorder.PERIOD = recorder.SPARSE = 0.0
    try:
        unfinished(folder / "unfinished.h5")
    except Killed:
        print("killed, as it should be")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
