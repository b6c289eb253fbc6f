"""Sums of Gaussian weights over windows: log Σᵢ exp(logsᵢ - (xᵢ - xⱼ)²) along lines, and means under the weights.

The terms of j that matter are those less than `depth` below the largest; they lie in one window [low, high) of i, whose
normalised weights stand from `first` on in one flat array. Sums are wanted at all but `pad` of the positions at either
end. Shapes: x (n,), ascending; logs (lines, n); low, high, top and first (lines, n - 2 pad).
"""

import math

import numpy as np
from numba import njit

from wflow.kernels.sums import exp_block


@njit(cache=True)
def hull(line, x, places, ends):
    """The i whose parabolas logsᵢ - (xᵢ - y)² make the upper envelope, and the y from which each does; how many.

    Felzenszwalb & Huttenlocher, Theory of Computing 8 (2012) 415. `places` (n,) and `ends` (n + 1,) are written.
    """
    k = -1
    for i in range(line.size):
        if line[i] == -np.inf:
            continue
        start = -np.inf
        while k >= 0:
            p = places[k]
            start = 0.5 * ((line[p] - line[i]) / (x[i] - x[p]) + x[i] + x[p])
            if start > ends[k]:
                break
            k -= 1
            start = -np.inf
        k += 1
        places[k], ends[k] = i, start
    ends[k + 1] = np.inf
    return k + 1


@njit(cache=True)
def find(logs, x, pad, depth, low, high, top):
    """The window of every j and the largest term in it; an empty one where the whole line is -inf. O(n) a line.

    Both ends grow with j: a term that is too small beside a larger one on its right stays so as j moves right.
    """
    lines, n = logs.shape
    places, ends = np.empty(n, np.int64), np.empty(n + 1)
    for i in range(lines):
        line = logs[i]
        count = hull(line, x, places, ends)
        if count == 0:
            low[i], high[i], top[i] = 0, 0, -np.inf
            continue
        k, a = 0, 0
        for j in range(low.shape[1]):
            y = x[pad + j]
            while ends[k + 1] < y:
                k += 1
            most = line[places[k]] - (x[places[k]] - y) ** 2
            while line[a] - (x[a] - y) ** 2 < most - depth:
                a += 1
            low[i, j], top[i, j] = a, most
        b = n
        for j in range(low.shape[1] - 1, -1, -1):
            while line[b - 1] - (x[b - 1] - x[pad + j]) ** 2 < top[i, j] - depth:
                b -= 1
            high[i, j] = b


@njit(cache=True)
def exponentials(logs, x, y, top, block):
    """The terms of one y, over that of `top`, and their sum."""
    for k in range(block.size):
        block[k] = logs[k] - (x[k] - y) * (x[k] - y)
    exp_block(block, block.size, top)
    total = 0.0
    for k in range(block.size):
        total += block[k]
    return total


@njit(cache=True)
def sums(logs, x, pad, low, high, top, out):
    """The logarithms of the sums alone."""
    scratch = np.empty(x.size)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a, b = low[i, j], high[i, j]
            out[i, j] = -np.inf
            if a < b:
                total = exponentials(logs[i, a:b], x[a:b], x[pad + j], top[i, j], scratch[: b - a])
                out[i, j] = top[i, j] + math.log(total)


@njit(cache=True)
def fill(logs, x, pad, low, high, top, first, weights, out):
    """The weights, and the logarithms of their sums in `out`."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a, b, start = low[i, j], high[i, j], first[i, j]
            out[i, j] = -np.inf
            if a < b:
                block = weights[start : start + b - a]
                total = exponentials(logs[i, a:b], x[a:b], x[pad + j], top[i, j], block)
                out[i, j] = top[i, j] + math.log(total)
                share = 1.0 / total
                for k in range(block.size):
                    block[k] *= share


@njit(cache=True, fastmath={"reassoc", "contract"})
def gather(low, high, first, weights, v, out):
    """outⱼ = Σᵢ P(i|j) vᵢ."""
    for i in range(v.shape[0]):
        for j in range(out.shape[1]):
            a, b, start = low[i, j], high[i, j], first[i, j]
            block, terms = weights[start : start + b - a], v[i, a:b]
            total = 0.0
            for k in range(block.size):
                total += block[k] * terms[k]
            out[i, j] = total


@njit(cache=True)
def scatter(low, high, first, weights, v, out):
    """outᵢ = Σⱼ vⱼ P(i|j)."""
    for i in range(v.shape[0]):
        out[i] = 0.0
        for j in range(v.shape[1]):
            a, b, start = low[i, j], high[i, j], first[i, j]
            block, terms, here = weights[start : start + b - a], out[i, a:b], v[i, j]
            for k in range(block.size):
                terms[k] += block[k] * here
