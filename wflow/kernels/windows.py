"""Sums of Gaussian weights over windows: log Σ_x exp(logs_x - rate (x - y)²) along lines, and means under the weights.

The terms of y that matter are those less than `depth` below the largest; they lie in one window [low, high) of x, whose
normalised weights stand from `first` on in one flat array. Shapes: logs, low, high, top, first (lines, n).
"""

import math

import numpy as np
from numba import njit

from wflow.kernels.sums import exp_block


@njit(cache=True)
def hull(line, rate, places, ends):
    """The x whose parabolas logs_x - rate (x - y)² make the upper envelope, and the y from which each does; how many.

    Felzenszwalb & Huttenlocher, Theory of Computing 8 (2012) 415. `places` (n,) and `ends` (n + 1,) are written.
    """
    k = -1
    for x in range(line.size):
        if line[x] == -np.inf:
            continue
        start = -np.inf
        while k >= 0:
            p = places[k]
            start = (line[p] - line[x]) / (2.0 * rate * (x - p)) + 0.5 * (x + p)
            if start > ends[k]:
                break
            k -= 1
            start = -np.inf
        k += 1
        places[k], ends[k] = x, start
    ends[k + 1] = np.inf
    return k + 1


@njit(cache=True)
def find(logs, rate, depth, low, high, top):
    """The window of every y and the largest term in it; an empty one where the whole line is -inf. O(n) a line.

    Both ends grow with y: a term that is too small beside a larger one on its right stays so as y moves right.
    """
    lines, n = logs.shape
    places, ends = np.empty(n, np.int64), np.empty(n + 1)
    for i in range(lines):
        line = logs[i]
        count = hull(line, rate, places, ends)
        if count == 0:
            low[i], high[i], top[i] = 0, 0, -np.inf
            continue
        k, a = 0, 0
        for y in range(n):
            while ends[k + 1] < y:
                k += 1
            most = line[places[k]] - rate * (places[k] - y) ** 2
            while line[a] - rate * (a - y) ** 2 < most - depth:
                a += 1
            low[i, y], top[i, y] = a, most
        b = n
        for y in range(n - 1, -1, -1):
            while line[b - 1] - rate * (b - 1 - y) ** 2 < top[i, y] - depth:
                b -= 1
            high[i, y] = b


@njit(cache=True)
def fill(logs, rate, low, high, top, first, weights, out):
    """The weights, and the logarithms of their sums in `out`."""
    lines, n = logs.shape
    for i in range(lines):
        for y in range(n):
            a, b, k = low[i, y], high[i, y], first[i, y]
            if a == b:
                out[i, y] = -np.inf
                continue
            block, terms = weights[k : k + b - a], logs[i, a:b]
            start = float(a - y)
            for j in range(terms.size):
                block[j] = terms[j] - rate * (start + j) * (start + j)
            exp_block(block, block.size, top[i, y])
            total = 0.0
            for j in range(block.size):
                total += block[j]
            share = 1.0 / total
            for j in range(block.size):
                block[j] *= share
            out[i, y] = top[i, y] + math.log(total)


@njit(cache=True, fastmath={"reassoc", "contract"})
def gather(low, high, first, weights, v, out):
    """out_y = Σ_x P(x|y) v_x."""
    lines, n = v.shape
    for i in range(lines):
        for y in range(n):
            a, b, k = low[i, y], high[i, y], first[i, y]
            block, terms = weights[k : k + b - a], v[i, a:b]
            total = 0.0
            for j in range(block.size):
                total += block[j] * terms[j]
            out[i, y] = total


@njit(cache=True)
def scatter(low, high, first, weights, v, out):
    """out_x = Σ_y v_y P(x|y)."""
    lines, n = v.shape
    for i in range(lines):
        out[i] = 0.0
        for y in range(n):
            a, b, k = low[i, y], high[i, y], first[i, y]
            block, terms, here = weights[k : k + b - a], out[i, a:b], v[i, y]
            for j in range(block.size):
                terms[j] += block[j] * here
