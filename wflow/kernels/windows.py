"""Sums of Gaussian weights over windows: log Σ_x exp(logs_x - rate (x - y)²) along lines, and means under the weights.

The terms of y that matter are those less than `depth` below the largest; they lie in one window [low, high) of x, whose
normalised weights stand from `first` on in one flat array. Shapes: logs, low, high, top, first (lines, n).
"""

import math

import numpy as np
from numba import njit

from wflow.kernels.sums import exp_block


@njit(cache=True)
def find(logs, rate, depth, low, high, top):
    """The window of every y and the largest term in it; an empty one where the whole line is -inf."""
    lines, n = logs.shape
    for i in range(lines):
        line = logs[i]
        best = -np.inf
        for x in range(n):
            best = max(best, line[x])
        for y in range(n):
            if best == -np.inf:
                low[i, y], high[i, y], top[i, y] = y, y, -np.inf
                continue
            # What lies farther than this is more than `depth` below the term of y itself.
            far = (best - line[y] + depth) / rate
            reach = n if not far < n * n else int(math.sqrt(max(far, 0.0))) + 1
            a, b = max(0, y - reach), min(n, y + reach + 1)
            most = -np.inf
            for x in range(a, b):
                most = max(most, line[x] - rate * (x - y) * (x - y))
            while line[a] - rate * (a - y) * (a - y) < most - depth:
                a += 1
            while line[b - 1] - rate * (b - 1 - y) * (b - 1 - y) < most - depth:
                b -= 1
            low[i, y], high[i, y], top[i, y] = a, b, most


@njit(cache=True)
def fill(logs, rate, low, high, top, first, weights, out):
    """The weights, and the logarithms of their sums in `out`."""
    lines, n = logs.shape
    for i in range(lines):
        for y in range(n):
            a, k, size = low[i, y], first[i, y], high[i, y] - low[i, y]
            if size == 0:
                out[i, y] = -np.inf
                continue
            block = weights[k : k + size]
            for j in range(size):
                block[j] = logs[i, a + j] - rate * (a + j - y) * (a + j - y)
            exp_block(block, size, top[i, y])
            total = 0.0
            for j in range(size):
                total += block[j]
            for j in range(size):
                block[j] /= total
            out[i, y] = top[i, y] + math.log(total)


@njit(cache=True)
def gather(low, high, first, weights, v, out):
    """out_y = Σ_x P(x|y) v_x."""
    lines, n = v.shape
    for i in range(lines):
        for y in range(n):
            a, k = low[i, y], first[i, y]
            total = 0.0
            for j in range(high[i, y] - a):
                total += weights[k + j] * v[i, a + j]
            out[i, y] = total


@njit(cache=True)
def scatter(low, high, first, weights, v, out):
    """out_x = Σ_y v_y P(x|y)."""
    lines, n = v.shape
    for i in range(lines):
        out[i] = 0.0
        for y in range(n):
            a, k = low[i, y], first[i, y]
            for j in range(high[i, y] - a):
                out[i, a + j] += weights[k + j] * v[i, y]
