"""Elimination of a network of cells inside a band, without a subtraction.

Node i of n is tied to node i + 1 + c by the conductance band[i, c] and to the ground by ground[i]. Every number stays
a sum or product of positive ones, so that each entry of the solution of a load ≥ 0 keeps its relative accuracy over
the whole range of float64: Grassmann, Taksar & Heyman, Oper. Res. 33 (1985) 1107.
"""

from numba import njit


@njit(cache=True)
def fill_band(first, second, conductance, band):
    """band (n, width) += the conductances between the nodes first < second, one entry an edge."""
    for e in range(first.size):
        band[first[e], second[e] - first[e] - 1] += conductance[e]


@njit(cache=True)
def eliminate(band, ground, pivot):
    """In place: rows of `band` become the shares handed on, `pivot` the reciprocal pivots, 0 where nothing is
    tied."""
    n, width = band.shape
    for i in range(n):
        reach = min(width, n - 1 - i)
        row = band[i]
        total = ground[i]
        for c in range(reach):
            total += row[c]
        pivot[i] = 1.0 / total if total > 1e-307 else 0.0
        for c in range(reach):
            share = row[c] * pivot[i]
            if share > 0.0:
                j = i + 1 + c
                ground[j] += share * ground[i]
                other, rest = band[j], row[c + 1 : reach]
                for e in range(rest.size):
                    other[e] += share * rest[e]
        for c in range(reach):
            row[c] *= pivot[i]


@njit(cache=True)
def substitute(band, pivot, load):
    """The solution in place of the load (n,)."""
    n, width = band.shape
    for i in range(n):
        x = load[i]
        for c in range(min(width, n - 1 - i)):
            load[i + 1 + c] += band[i, c] * x
    for i in range(n - 1, -1, -1):
        x = load[i] * pivot[i]
        for c in range(min(width, n - 1 - i)):
            x += band[i, c] * load[i + 1 + c]
        load[i] = x
