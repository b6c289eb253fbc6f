"""What the experiments share: a line for each stage, and the fitted rate of a decay."""

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from wflow.errors import InterruptionWarning

# Ctrl-C ends the experiment, not only the run that is going on; `wflow resume` goes on with it.
warnings.simplefilter("error", InterruptionWarning)


@contextmanager
def stage(text: str) -> Iterator[None]:
    """Print a stage of an experiment when it begins, and the seconds it took when it ends."""
    print(f"{text} ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    yield
    print(f"{text}: {time.perf_counter() - start:.1f} s", flush=True)


def fitted_rate(times: ArrayLike, values: ArrayLike, start: float) -> float:
    """The rate k of values ≈ c exp(-k t) from a straight line through log(values) at times from `start` on.

    >>> round(fitted_rate([0.0, 1.0, 2.0], np.exp([0.0, -3.0, -6.0]), start=0.0), 12)
    3.0
    """
    t, v = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    late = (t >= start) & (v > 0.0)
    return -float(np.polyfit(t[late], np.log(v[late]), 1)[0])
