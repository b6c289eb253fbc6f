"""Sums of exponentials along a line."""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def exponential_sums(x, masses):
    """Sums of m_j exp(-|x_i - x_j|) and their derivatives, (n,) each, for sorted x.

    Coincident points exert no slope on each other: what lies strictly to the right pulls up, to the left down.
    """
    n = len(x)
    value, slope = np.empty(n), np.empty(n)
    first, carried = 0, 0.0
    while first < n:
        last, here = first, 0.0
        while last < n and x[last] == x[first]:
            here += masses[last]
            last += 1
        for i in range(first, last):
            value[i] = carried + here
            slope[i] = -carried
        if last < n:
            carried = (carried + here) * math.exp(x[first] - x[last])
        first = last
    stop, carried = n, 0.0
    while stop > 0:
        start, here = stop, 0.0
        while start > 0 and x[start - 1] == x[stop - 1]:
            start -= 1
            here += masses[start]
        for i in range(start, stop):
            value[i] += carried
            slope[i] += carried
        if start > 0:
            carried = (carried + here) * math.exp(x[start - 1] - x[stop - 1])
        stop = start
    return value, slope
