"""Soft minima over a lattice with the squared distance, and what entropic transport makes of them.

    soft(φ)(y) = log Σ_x exp(φ(x) - Σₐ rateₐ (xₐ - yₐ)²),   rateₐ = hₐ²/ε, x and y in units of cells

The kernel is a product over axes, so that a sum over all x is one over lines for each axis, and only a window of each
line counts: O(N w) for N cells and windows of w cells, 18 for ε = 2 h² and smooth φ, whatever the range of φ.
"""

from collections.abc import Callable

import numpy as np

from wflow.arrays import Array
from wflow.kernels import windows
from wflow.linalg.anderson import Mixing

DEPTH = 37.0  # terms exp(-37) of the largest are below its rounding


class Soft:
    """soft(φ), as `value`, and the weights P(x|y) of its terms, which are its derivative."""

    def __init__(self, logs: Array, rates: Array) -> None:
        self._stages = []
        for axis, rate in enumerate(rates):
            stage = _Stage(_lines(logs, axis), float(rate))
            self._stages.append(stage)
            logs = _back(stage.value, axis, logs.shape)
        self.value = logs

    def mean(self, v: Array) -> Array:
        """Σ_x P(x|y) v(x)."""
        for axis, stage in enumerate(self._stages):
            v = _back(stage.product(windows.gather, _lines(v, axis)), axis, v.shape)
        return v

    def spread(self, w: Array) -> Array:
        """Σ_y w(y) P(x|y), the adjoint of `mean`."""
        for axis, stage in reversed(list(enumerate(self._stages))):
            w = _back(stage.product(windows.scatter, _lines(w, axis)), axis, w.shape)
        return w


class _Stage:
    """The sums along the lines of one axis."""

    def __init__(self, logs: Array, rate: float) -> None:
        self.low, self.high = (np.empty(logs.shape, np.int32) for _ in range(2))
        top, self.value = np.empty(logs.shape), np.empty(logs.shape)
        windows.find(logs, rate, DEPTH, self.low, self.high, top)
        ends = np.cumsum((self.high - self.low).ravel(), dtype=np.int64)
        self.first = np.concatenate(([0], ends[:-1])).reshape(logs.shape)
        self.weights = np.empty(ends[-1])
        windows.fill(logs, rate, self.low, self.high, top, self.first, self.weights, self.value)

    def product(self, kernel: Callable[..., None], v: Array) -> Array:
        out = np.empty(v.shape)
        kernel(self.low, self.high, self.first, self.weights, v, out)
        return out


def _lines(v: Array, axis: int) -> Array:
    """Values with an axis last, as lines."""
    moved = np.moveaxis(v, axis, -1)
    return np.ascontiguousarray(moved).reshape(-1, v.shape[axis])


def _back(lines: Array, axis: int, shape: tuple[int, ...]) -> Array:
    moved = lines.reshape([n for k, n in enumerate(shape) if k != axis] + [shape[axis]])
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis))


def logs_of(masses: Array) -> Array:
    """log of masses, -inf where there is none."""
    with np.errstate(divide="ignore"):
        return np.log(masses)


def self_potential(masses: Array, rates: Array, tol: float, start: Array | None = None, most: int = 100) -> Array:
    """The potential of the entropic transport of masses to themselves, p = -soft(p + log masses), also where there are
    none, to `tol` in the mean over the masses. The mean of p and its image is mixed: some 5 to 20 soft minima."""
    logs, total = logs_of(masses), float(masses.sum())
    p = -0.5 * np.maximum(logs, np.log(total) - 700.0) if start is None else start
    memory = Mixing(masses)
    for _ in range(most):
        image = -Soft(p + logs, rates).value
        if float(np.sum(masses * np.abs(image - p))) <= tol * total:
            break
        p = memory.mixed(p, 0.5 * (p + image))
    return image
