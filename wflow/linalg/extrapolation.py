"""Implicit Euler extrapolated to a high order: for linear flows with positive resolvents, over any range of values.

T_j1 is x after j steps of dt/j, and

    T_j,i+1 = T_ji + (T_ji - T_j-1,i)/(j/(j - i) - 1)

removes a power of dt with each column. Every T_j1 has as many digits in every entry as the resolvent has, so that
rounding costs four digits of the answer, not the ratio of the largest weight to the smallest as in norms of L2(1/p).
Source: Deuflhard, Hairer & Zugck, Numer. Math. 51 (1987) 501; Hairer & Wanner, Solving ODEs II, IV.9.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COLUMNS = 8  # of order 8: the weights of rows add up to 2e3 in absolute value
RESOLVENTS = COLUMNS * (COLUMNS + 1) // 2
SAFETY, SHRINK, GROW = 0.8, 0.2, 4.0


def extrapolated(resolvent: Callable[[Array, float], Array], x: Array, dt: float) -> tuple[Array, Array]:
    """x after dt, and how far the last column moved it; `resolvent(x, s)` is x after implicit Euler over s.

    >>> end, change = extrapolated(lambda x, s: x / (1.0 + s), np.ones(1), 0.5)
    >>> bool(abs(end[0] - np.exp(-0.5)) < abs(change[0]) < 1e-8)
    True
    """
    before: list[Array] = []
    for j in range(1, COLUMNS + 1):
        end = x
        for _ in range(j):
            end = resolvent(end, dt / j)
        row = [end]
        for i, one in enumerate(before, start=1):
            row.append(row[-1] + (row[-1] - one) * ((j - i) / i))
        before = row
    return row[-1], row[-1] - row[-2]


def resized(dt: float, error: float, allowed: float) -> float:
    """The next step after one that erred by so much, where errors grow as dt to the power `COLUMNS`; for steps of
    which `allowed` is a share, one power less."""
    factor = SAFETY * (allowed / max(error, 1e-300)) ** (1.0 / (COLUMNS - 1))
    return dt * float(np.clip(factor, SHRINK, GROW))
