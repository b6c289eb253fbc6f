"""Differences of all pairs in blocks, and forces at them summed over sources: for W that only a function knows."""

from numba import njit


@njit(cache=True)
def fill(points, sources, periods, out):
    """out[i, j] = points[i] - sources[j], (m, n, d); to the nearest image on axes with a period above 0."""
    m, n, d = out.shape
    for k in range(d):
        period = periods[k]
        for i in range(m):
            here = points[i, k]
            if period > 0.0:
                for j in range(n):
                    apart = here - sources[j, k]
                    out[i, j, k] = apart - period * round(apart / period)
            else:
                for j in range(n):
                    out[i, j, k] = here - sources[j, k]


@njit(cache=True)
def sum_forces(forces, apart, weights, out):
    """out[i] = Σⱼ wⱼ forces[i, j], (m, d), without the pairs at distance 0."""
    m, n, d = forces.shape
    for i in range(m):
        for k in range(d):
            out[i, k] = 0.0
        for j in range(n):
            together = True
            for k in range(d):
                together = together and apart[i, j, k] == 0.0
            if not together:
                for k in range(d):
                    out[i, k] += weights[j] * forces[i, j, k]
