"""Soft maxima over a lattice with the squared distance, and what entropic transport makes of them.

    soft(φ)(y) = log Σ_x Σ exp(φ(x) - |x̄ - y|²),   x and y the points of a product of axes, in units of √ε

x̄ is x and its images in the walls, half a step beyond the ends of each axis. With them the kernel is that of heat that
the walls keep in, which turns constants into constants and cosines into cosines: without, what happens at a wall is
wrong by a share that no grid makes small. It is a product over axes, so that a sum over all x is one over lines for
each axis, and only a window of each line counts: O(N w) for N points and windows of w, 18 for ε = 2 h² and smooth φ,
whatever the range of φ.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from wflow.arrays import Array
from wflow.kernels import windows
from wflow.linalg.anderson import Mixing

IMAGES = 40  # in a wall: an image of x adds less than exp(-4 x y) of x itself at y, both measured from the wall
DEPTH = 37.0  # terms exp(-37) of the largest are below its rounding

Axes = Sequence[Array]


def soft(logs: Array, axes: Axes) -> Array:
    """soft(φ) alone."""
    for axis, x in enumerate(axes):
        lines, places, pad = _mirrored(_lines(logs, axis)), *_beyond(x)
        low, high, top = _windows(lines, places, pad)
        sums = np.empty(top.shape)
        windows.sums(lines, places, pad, low, high, top, sums)
        logs = _back(sums, axis, logs.shape)
    return logs


class Soft:
    """soft(φ) as `value`, and the weights P(x|y) of its terms, which are its derivative."""

    def __init__(self, logs: Array, axes: Axes) -> None:
        self._stages = []
        for axis, x in enumerate(axes):
            stage = _Stage(_lines(logs, axis), x)
            self._stages.append(stage)
            logs = _back(stage.value, axis, logs.shape)
        self.value = logs

    def raised(self, by: float) -> "Soft":
        """soft(φ + a constant), whose weights are the same."""
        other = copy(self)
        other.value = self.value + by
        return other

    def mean(self, v: Array) -> Array:
        """Σ_x P(x|y) v(x)."""
        for axis, stage in enumerate(self._stages):
            v = _back(stage.mean(_lines(v, axis)), axis, v.shape)
        return v

    def spread(self, w: Array) -> Array:
        """Σ_y w(y) P(x|y), the adjoint of `mean`."""
        for axis, stage in reversed(list(enumerate(self._stages))):
            w = _back(stage.spread(_lines(w, axis)), axis, w.shape)
        return w


class _Stage:
    """The sums along the lines of one axis."""

    def __init__(self, logs: Array, x: Array) -> None:
        lines, places, pad = _mirrored(logs), *_beyond(x)
        self.low, self.high, top = _windows(lines, places, pad)
        ends = np.cumsum((self.high - self.low).ravel(), dtype=np.int64)
        self.first = np.concatenate(([0], ends[:-1])).reshape(top.shape)
        self.weights, self.value = np.empty(ends[-1]), np.empty(top.shape)
        windows.fill(lines, places, pad, self.low, self.high, top, self.first, self.weights, self.value)

    def mean(self, v: Array) -> Array:
        out = np.empty(v.shape)
        windows.gather(self.low, self.high, self.first, self.weights, _mirrored(v), out)
        return out

    def spread(self, w: Array) -> Array:
        n, pad = w.shape[1], _pad(w.shape[1])
        out = np.empty((len(w), n + 2 * pad))
        windows.scatter(self.low, self.high, self.first, self.weights, w, out)
        inner = out[:, pad : pad + n].copy()
        inner[:, :pad] += out[:, :pad][:, ::-1]
        inner[:, n - pad :] += out[:, pad + n :][:, ::-1]
        return inner


def _pad(n: int) -> int:
    return min(n, IMAGES)


def _mirrored(lines: Array) -> Array:
    pad = _pad(lines.shape[1])
    return np.concatenate([lines[:, :pad][:, ::-1], lines, lines[:, lines.shape[1] - pad :][:, ::-1]], axis=1)


def _beyond(x: Array) -> tuple[Array, int]:
    """The positions of points and their images, and how many images there are at either end."""
    pad, step = _pad(len(x)), float(x[1] - x[0]) if len(x) > 1 else 1.0
    return x[0] + step * np.arange(-pad, len(x) + pad), pad


def _windows(lines: Array, places: Array, pad: int) -> tuple[Any, Any, Array]:
    shape = (len(lines), len(places) - 2 * pad)
    low, high, top = (np.empty(shape, kind) for kind in (np.int32, np.int32, np.float64))
    windows.find(lines, places, pad, DEPTH, low, high, top)
    return low, high, top


def _lines(v: Array, axis: int) -> Array:
    """Values with an axis last, as lines."""
    moved = np.moveaxis(v, axis, -1)
    return np.ascontiguousarray(moved).reshape(-1, v.shape[axis])


def _back(lines: Array, axis: int, shape: tuple[int, ...]) -> Array:
    moved = lines.reshape([n for k, n in enumerate(shape) if k != axis] + [lines.shape[1]])
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis))


def logs_of(masses: Array) -> Array:
    """log of masses, -inf where there is none."""
    with np.errstate(divide="ignore"):
        return np.log(masses)


@dataclass(frozen=True, eq=False)
class SelfTransport:
    """The dual of the transport of masses to themselves, in units of ε: a potential, its image, what they differ by.

    The image is a potential also where there are no masses. The pair is feasible, so that Σ masses · `mean` is off from
    half the cost to second order only.
    """

    before: Array
    last: Array
    left: float

    @property
    def mean(self) -> Array:
        """Half of each."""
        return 0.5 * (self.before + self.last)


def lack(masses: Array, change: Array) -> float:
    """How far the marginals of a plan are off, of the mass, where its potential changes by so much."""
    return float(np.sum(masses * np.abs(np.expm1(np.clip(change, -50.0, 50.0)))) / masses.sum())


def self_transport(
    log_sums: Callable[[Array], Array], masses: Array, tol: float, start: Array | None = None, most: int = 100
) -> SelfTransport:
    """p = -log_sums(p + log masses), until marginals are off by no more than `tol`, or for `most` iterations.

    `log_sums` are those over the kernel. The mean of p and its image is mixed: some 5 to 20 iterations.
    """
    logs = logs_of(masses)
    p = -0.5 * np.maximum(logs, np.log(masses.sum()) - 700.0) if start is None else start
    memory = Mixing(masses)
    for number in range(most):
        image = -log_sums(p + logs)
        left = lack(masses, p - image)
        if left <= tol or number + 1 == most:
            break
        p = memory.mixed(p, 0.5 * (p + image))
    return SelfTransport(p, image, left)
