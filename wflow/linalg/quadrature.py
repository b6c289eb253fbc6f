"""Expectations under a standard normal distribution by weighted sums over nodes."""

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORDER = 20


def gauss_hermite(dim: int, order: int | None = None) -> tuple[Array, Array]:
    """Nodes (m, dim) and weights (m,), summing to 1, with E f(X) = sum of weights * f(nodes) for X ~ N(0, I).

    With `order`, and for dim <= 3 (order 20), the tensor rule with order^dim nodes and positive weights:
    exact for polynomials of degree 2 order - 1 in each variable. For larger dim the rule of degree 5 with
    dim^2 + 3 dim + 3 nodes of Lu and Darmofal, SIAM J. Sci. Comput. 26 (2004) 613: exact for total
    degree 5; some weights are negative for dim >= 8, the sum of their absolute values stays below 3.

    >>> nodes, weights = gauss_hermite(2)
    >>> nodes.shape, round(float(weights @ (nodes[:, 0] ** 4 * nodes[:, 1] ** 2)), 12)
    ((400, 2), 3.0)
    """
    if order is None and dim > 3:
        return _simplex_rule(dim)
    line, weight = hermegauss(ORDER if order is None else order)
    weight = weight / weight.sum()
    nodes = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    weights = np.ones(1)
    for _ in range(dim):
        weights = np.multiply.outer(weights, weight).ravel()
    return nodes, weights


def _simplex_rule(dim: int) -> tuple[Array, Array]:
    """Centre, vertices of a regular simplex, midpoints of its edges put on the sphere, and their opposites."""
    n = dim
    corners = _simplex(n)
    first, second = np.triu_indices(n + 1, 1)
    middles = np.sqrt(n / (2 * (n - 1))) * (corners[first] + corners[second])
    shell = np.sqrt(n + 2) * np.concatenate((corners, -corners, middles, -middles))
    scale = ((n + 1) * (n + 2)) ** 2
    corner, middle = n**2 * (7 - n) / (2 * scale), 2 * (n - 1) ** 2 / scale
    weights = np.repeat([2 / (n + 2), corner, middle], [1, 2 * (n + 1), n * (n + 1)])
    return np.concatenate((np.zeros((1, n)), shell)), weights


def _simplex(n: int) -> Array:
    """The n + 1 vertices of a regular simplex on the unit sphere of n dimensions, (n + 1, n)."""
    corners = np.zeros((n + 1, n))
    for k in range(n):
        corners[k, k] = np.sqrt((n + 1) * (n - k) / (n * (n - k + 1)))
        corners[k + 1 :, k] = -np.sqrt((n + 1) / (n * (n - k) * (n - k + 1)))
    return corners
