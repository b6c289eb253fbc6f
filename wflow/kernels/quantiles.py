"""Mass of a reference between nodes on a line of cells, and mass between nodes given back to cells.

In a cell with s from 0 to 1 the reference is exp(a + d s + c s (1 - s)): rows (a, d, c) of `table`. Masses are sums of
eight-point Gauss rules over the pieces into which the cells cut an interval, and over parts of them on which the
exponent turns by no more than 3: to rounding, so that masses have the derivatives they are said to have.
"""

import math

import numpy as np
from numba import njit

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)
POINTS, WEIGHTS = 0.5 * (_POINTS + 1.0), 0.5 * _WEIGHTS
STEEP = 3.0


@njit(cache=True)
def log_piece(row, low, high):
    """log of the integral over s from `low` to `high`."""
    a, d, c = row[0], row[1], row[2]
    top = a + max(d * low, d * high) + 0.25 * max(c, 0.0)
    parts = max(1, math.ceil((abs(d) + abs(c)) * (high - low) / STEEP))
    size, total = (high - low) / parts, 0.0
    for part in range(parts):
        for k in range(POINTS.size):
            s = low + size * (part + POINTS[k])
            total += WEIGHTS[k] * math.exp(a + d * s + c * s * (1.0 - s) - top)
    return top + math.log(total * size)


@njit(cache=True)
def add_logs(one, other):
    """log(exp(one) + exp(other))."""
    high, low = max(one, other), min(one, other)
    return high if low == -np.inf else high + math.log1p(math.exp(low - high))


@njit(cache=True)
def locate(y, cells):
    """Cell and place in it of y, in units of cells."""
    cell = min(max(int(math.floor(y)), 0), cells - 1)
    return cell, min(max(y - cell, 0.0), 1.0)


@njit(cache=True)
def log_masses(nodes, table, out):
    """log of the mass between successive nodes (n + 1,), which rise and are in units of cells: out (n,)."""
    cells = table.shape[0]
    cell, place = locate(nodes[0], cells)
    for i in range(out.size):
        last, end = locate(nodes[i + 1], cells)
        total = -np.inf
        while cell < last:
            if place < 1.0:
                total = add_logs(total, log_piece(table[cell], place, 1.0))
            cell, place = cell + 1, 0.0
        if end > place:
            total = add_logs(total, log_piece(table[cell], place, end))
        place = end
        out[i] = total


@njit(cache=True)
def log_values(nodes, table, value, slope):
    """log of the reference at the nodes and its derivative, per cell; at an edge that of the cell to the right."""
    cells = table.shape[0]
    for k in range(nodes.size):
        cell, s = locate(nodes[k], cells)
        value[k] = table[cell, 0] + table[cell, 1] * s + table[cell, 2] * s * (1.0 - s)
        slope[k] = table[cell, 1] + table[cell, 2] * (1.0 - 2.0 * s)


@njit(cache=True)
def deposit(nodes, masses, table, out):
    """Add each mass to the cells (m,) it lies in, spread over its interval as the reference is."""
    cells = table.shape[0]
    for i in range(masses.size):
        if masses[i] == 0.0:
            continue
        first, start = locate(nodes[i], cells)
        last, end = locate(nodes[i + 1], cells)
        if first == last or end + (last - first) - start <= 0.0:
            out[first] += masses[i]
            continue
        top = -np.inf
        for cell in range(first, last + 1):
            low, high = start if cell == first else 0.0, end if cell == last else 1.0
            if high > low:
                top = max(top, log_piece(table[cell], low, high))
        total = 0.0
        for turn in range(2):
            for cell in range(first, last + 1):
                low, high = start if cell == first else 0.0, end if cell == last else 1.0
                if high > low:
                    share = math.exp(log_piece(table[cell], low, high) - top)
                    if turn == 0:
                        total += share
                    else:
                        out[cell] += masses[i] * share / total
