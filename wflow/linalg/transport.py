"""Quadratic optimal transport between weighted points, densities on cells and Gaussians."""

import os

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

# POT looks for these libraries when it is imported, and importing one of them can take seconds.
for _name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW"):
    os.environ.setdefault(f"POT_BACKEND_DISABLE_{_name}", "1")

import ot  # noqa: E402

Array = NDArray[np.float64]

EXACT_PAIRS = 2000 * 2000
DIRECTIONS = 200


def wasserstein2_1d(x: Array, y: Array, x_weights: Array | None = None, y_weights: Array | None = None) -> float:
    """W2 between weighted points x (n,) and y (m,) on the line, by the coupling of quantiles.

    Weights are scaled to sum 1. Exact to rounding; cost O((n + m) log(n + m)). Source: Santambrogio, Optimal
    Transport for Applied Mathematicians (2015), ch. 2.

    >>> wasserstein2_1d(np.array([0.0, 1.0]), np.array([3.0, 2.0]))
    2.0
    """
    if x_weights is None and y_weights is None and x.size == y.size:
        return float(np.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2)))
    a, b = (np.ones(p.size) if w is None else w for p, w in ((x, x_weights), (y, y_weights)))
    i, j = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    return wasserstein2_pieces((x[i], x[i], a[i]), (y[j], y[j], b[j]))


def wasserstein2_cells(x_edges: Array, x_mass: Array, y_edges: Array, y_mass: Array) -> float:
    """W2 between two densities on the line, constant on cells.

    Edges (n + 1,) rise, masses (n,) are not negative. Masses are scaled to sum 1. Exact to rounding, empty
    cells included; cost O((n + m) log(n + m)).

    >>> edges = np.array([0.0, 1.0])
    >>> round(wasserstein2_cells(edges, np.ones(1), 2 * edges, np.ones(1)), 12)  # the square root of 1/3
    0.57735026919
    """
    return wasserstein2_pieces((x_edges[:-1], x_edges[1:], x_mass), (y_edges[:-1], y_edges[1:], y_mass))


def wasserstein2_pieces(a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]) -> float:
    """W2 between two measures made of pieces (left, right, mass) in rising order; left = right is a point.

    Both quantile functions are linear between the levels where either changes piece, so the integral of their
    squared difference is a finite sum: (d0^2 + d0 d1 + d1^2)/3 for each interval.

    >>> point = (np.array([0.5]), np.array([0.5]), np.ones(1))
    >>> cell = (np.array([0.0]), np.array([1.0]), np.ones(1))
    >>> round(wasserstein2_pieces(point, cell) ** 2 * 12, 12)
    1.0
    """
    share, (start_a, stop_a), (start_b, stop_b) = coupled_pieces(a, b)
    d0, d1 = start_a - start_b, stop_a - stop_b
    return float(np.sqrt(np.sum(share * (d0 * d0 + d0 * d1 + d1 * d1)) / 3.0))


def coupled_pieces(
    a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]
) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
    """The optimal coupling on the line: shares of mass (k,), and the (left, right) ends (k,) of each in a and in b."""
    levels_a, levels_b = _levels(a[2]), _levels(b[2])
    levels = np.sort(np.concatenate((levels_a, levels_b[1:-1])))
    lower, upper = levels[:-1], levels[1:]
    middle = 0.5 * (lower + upper)
    ends = (_quantiles(a, levels_a, lower, middle, upper), _quantiles(b, levels_b, lower, middle, upper))
    return upper - lower, ends[0], ends[1]


def _levels(mass: Array) -> Array:
    """Cumulative shares, from exactly 0 to exactly 1."""
    levels = np.concatenate((np.zeros(1), np.cumsum(mass / np.max(mass))))
    return levels / levels[-1]


def _quantiles(
    pieces: tuple[Array, Array, Array], levels: Array, lower: Array, middle: Array, upper: Array
) -> tuple[Array, Array]:
    """Quantiles at both ends of level intervals that lie each in one piece."""
    left, right, _ = pieces
    index = np.clip(np.searchsorted(levels, middle, side="right") - 1, 0, left.size - 1)
    width, length = levels[index + 1] - levels[index], right[index] - left[index]
    safe = np.where(width > 0, width, 1.0)
    # Places first: a length over a width of 1e-320 is no number.
    places = (np.clip((level - levels[index]) / safe, 0.0, 1.0) for level in (lower, upper))
    start, stop = (np.clip(left[index] + length * place, left[index], right[index]) for place in places)
    return start, stop


def bures(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """W2 between the Gaussians N(mean_a, cov_a) and N(mean_b, cov_b); means (d,), covariances (d, d), may be
    singular.

    W2^2 = |mean_a - mean_b|^2 + min over rotations Q of |A^(1/2) - B^(1/2) Q|_F^2, which keeps its digits
    where the two are close, as the usual difference of traces does not. Source: Bhatia, Jain, Lim, Expo.
    Math. 37 (2019) 165, Thm 1.

    >>> bures(np.zeros(2), np.eye(2), np.array([3.0, 0.0]), 9 * np.eye(2)) ** 2  # 9 + 2 (3 - 1)^2
    17.0
    """
    root_a, root_b = square_root(cov_a), square_root(cov_b)
    left, _, right = np.linalg.svd(root_b @ root_a)
    return float(np.hypot(np.linalg.norm(mean_a - mean_b), np.linalg.norm(root_a - root_b @ left @ right)))


def bures_map(cov_a: Array, cov_b: Array) -> Array:
    """The matrix (d, d) of the optimal map from N(0, cov_a) to N(0, cov_b); cov_a is not singular.

    A^(-1/2) (A^(1/2) B A^(1/2))^(1/2) A^(-1/2): symmetric, and T A T = B. Source: as `bures`.

    >>> bures_map(np.eye(2), 4 * np.eye(2))
    array([[2., 0.],
           [0., 2.]])
    """
    root = square_root(cov_a)
    inverse = np.linalg.inv(root)
    return np.asarray(inverse @ square_root(root @ cov_b @ root) @ inverse)


def coupling(
    x: Array, y: Array, x_weights: Array, y_weights: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """The optimal plan between weighted points x (n, d) and y (m, d): rows, columns and masses of its entries.

    By the network simplex of POT, exact to rounding, O(n^3) at worst. Weights sum to 1.
    """
    plan = ot.emd(x_weights, y_weights, cdist(x, y, "sqeuclidean"), numItermax=10_000_000)
    rows, columns = np.nonzero(plan)
    return rows, columns, plan[rows, columns]


def square_root(cov: Array) -> Array:
    """Of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def clouds(x: Array, y: Array, x_weights: Array | None = None, y_weights: Array | None = None) -> tuple[float, str]:
    """W2 between weighted points x (n, d) and y (m, d), and the method: "quantiles", "exact" or "sliced".

    d = 1 goes by quantiles; up to 2000 by 2000 points by the network simplex of POT, exact to rounding,
    O(n^3) at worst; beyond that `sliced`, a lower bound. Weights are scaled to sum 1.

    >>> clouds(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 1.0]]))
    (1.0, 'exact')
    """
    if x.shape[1] == 1:
        return wasserstein2_1d(x[:, 0], y[:, 0], x_weights, y_weights), "quantiles"
    if x.shape[0] * y.shape[0] > EXACT_PAIRS:
        return sliced(x, y, x_weights, y_weights), "sliced"
    a, b = (np.full(len(p), 1 / len(p)) if w is None else w / w.sum() for p, w in ((x, x_weights), (y, y_weights)))
    cost = ot.emd2(a, b, cdist(x, y, "sqeuclidean"), numItermax=10_000_000)
    return float(np.sqrt(max(cost, 0.0))), "exact"


def sliced(
    x: Array,
    y: Array,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    directions: int = DIRECTIONS,
) -> float:
    """Sliced W2 times sqrt(d): at most W2, and equal to it when y is a translate of x.

    The mean of the squared distances of the projections onto fixed directions, drawn in orthogonal frames
    from one seed: the same for every call, relative accuracy about directions^(-1/2). Cost O(directions (n +
    m) log(n + m)). Source: Bonneel, Rabin, Peyre, Pfister, J. Math. Imaging Vis. 51 (2015) 22.

    >>> x = np.random.default_rng(0).standard_normal((50, 3))
    >>> round(sliced(x, x + np.array([3.0, 0.0, 4.0])), 9)
    5.0
    """
    dim = x.shape[1]
    rng = np.random.default_rng(20151)
    total, frames = 0.0, -(-directions // dim)
    for _ in range(frames):
        frame = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
        for direction in frame:
            total += wasserstein2_1d(x @ direction, y @ direction, x_weights, y_weights) ** 2
    return float(np.sqrt(total / frames))
